"""What goes wrong before or around a command: one line, an exit code, never a traceback or a secret."""

import os
import subprocess

import pytest

from budget_middleware.core.model import Target
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import COMMAND, RunCli
from tests.stores.verbs import adjust

REASON = ("--reason", "x")
NO_STATE = (
    "budget-middleware: BUDGET_STORE_URL is memory://: the counters live in the gateway's process, and no other"
    " sees them; set it to the store that the gateways share\n"
)


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("holds",),
        ("journal",),
        ("audit",),
        ("limit", "list"),
        ("adjust", "key:a", "1", *REASON),
        ("release", "r1", *REASON),
    ],
)
def test_commands_on_state_need_a_store_that_is_shared(cli: RunCli, words: tuple[str, ...]):
    ran = cli(*words, BUDGET_STORE_URL="")
    assert (ran.code, ran.out, ran.err) == (2, "", NO_STATE)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            (),
            "budget-middleware: the following arguments are required: COMMAND; see budget-middleware --help",
        ),
        (
            ("adjust", "key:abc", "0", *REASON),
            "budget-middleware adjust: argument USD: '0' changes nothing; accepted is an amount in USD such as -5"
            " or 0.25; see budget-middleware adjust --help",
        ),
        (
            ("adjust", "key:abc", "-5"),
            "budget-middleware adjust: the following arguments are required: --reason; see budget-middleware"
            " adjust --help",
        ),
        (
            ("adjust", "key:abc", "-5", "--reason", " "),
            "budget-middleware adjust: argument --reason: an empty reason explains nothing; accepted is any text;"
            " see budget-middleware adjust --help",
        ),
        (
            ("adjust", "key:abc", "-5", *REASON, "--window", "fortnight"),
            "budget-middleware: 'fortnight' is not a period; accepted are hour, day, week, month, year, total",
        ),
        (
            ("adjust", "key:abc", "-5", *REASON, "--window", "month:2026-13"),
            "budget-middleware: '2026-13' is not the id of a window of period month in UTC; accepted is the form"
            " 2026-11",
        ),
        (
            ("status", "key:*"),
            "budget-middleware status: argument ACCOUNT: 'key:*' does not name one account; accepted is a subject"
            " for each kind; see budget-middleware status --help",
        ),
        (
            ("journal", "--limit", "-5"),
            "budget-middleware journal: argument --limit: '-5' is not a count; accepted are whole numbers from 1"
            " to 1000000000; see budget-middleware journal --help",
        ),
        (
            ("limit", "set", "global", "5"),
            "budget-middleware: '5' is not a limit; accepted are USD/PERIOD from 0 upwards, none/PERIOD and none,"
            " with a period of hour, day, week, month, year, total",
        ),
        (
            ("limit", "set", "global", ""),
            "budget-middleware: no amount is named; accepted are USD/PERIOD from 0 upwards, none/PERIOD and none",
        ),
    ],
)
def test_wrong_input(cli: RunCli, words: tuple[str, ...], line: str):
    ran = cli(*words)
    assert (ran.code, ran.out, ran.err) == (2, "", f"{line}\n")


def test_a_wrong_setting(cli: RunCli):
    ran = cli("status", BUDGET_EXHAUSTED_STATUS="418")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "budget-middleware: BUDGET_EXHAUSTED_STATUS='418': accepted: 429, 402\n"


@pytest.mark.parametrize("words", [("status",), ("adjust", "key:abc", "1", *REASON)])
def test_a_store_that_gives_no_answer(cli: RunCli, words: tuple[str, ...]):
    ran = cli(*words, BUDGET_STORE_URL="redis://user:canary@127.0.0.1:1/0")
    assert (ran.code, ran.out) == (2, "")
    start, end = (
        "budget-middleware: no answer from BUDGET_STORE_URL=redis://***@127.0.0.1:1/0 (ConnectionError: ",
        "); check that the server runs, that this machine reaches it, and its password\n",
    )
    assert ran.err.splitlines()[-1].startswith(start)
    assert ran.err.endswith(end)
    assert "canary" not in ran.err


async def test_a_reader_that_goes_away(environment: dict[str, str], store: RedisStore, month: Target):
    for number in range(500):
        await store.adjust(adjust(f"a{number}", "1", month))
    with subprocess.Popen(
        [*COMMAND, "journal", "--json", "--limit", "500"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as journal:
        assert journal.stdout is not None
        assert journal.stderr is not None
        journal.stdout.readline()
        journal.stdout.close()
        assert journal.stderr.read() == b""
    assert journal.returncode == 141


def test_help_tells_every_command(cli: RunCli):
    ran = cli("--help")
    assert (ran.code, ran.err) == (0, "")
    for command in (
        "status",
        "holds",
        "journal",
        "audit",
        "limit",
        "adjust",
        "release",
        "price",
        "key-id",
        "doctor",
    ):
        assert f"\n    {command}" in ran.out
