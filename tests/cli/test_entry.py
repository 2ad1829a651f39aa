"""What goes wrong before or around a command: one line, an exit code, never a traceback or a secret."""

import asyncio
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from budget_middleware.core.limits.arguments import ACCEPTED_CHOICES
from budget_middleware.core.model import Target
from budget_middleware.core.windows import ACCEPTED_PERIODS, Period
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import COMMAND, RunCli
from tests.stores.verbs import adjust, target

REASON = ("--reason", "x")
AMOUNTS = "accepted are AMOUNT[UNIT]/PERIOD, Ninflight and none, each with !MODE behind it"
NO_STATE = (
    "budget-middleware: BUDGET_STORE_URL is memory://: the counters live in the gateway's process, and no"
    " other sees them; set it to the store that the gateways share\n"
)


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("holds",),
        ("journal",),
        ("audit",),
        ("explain", "key:aaaaaa0000000000"),
        ("explain", "0" * 32),
        ("limit", "list"),
        ("adjust", "key:aaaaaa0000000000", "1", *REASON),
        ("transfer", "team:a", "team:b", "1", *REASON),
        ("release", "r1", *REASON),
    ],
)
def test_commands_on_state_need_a_store_that_is_shared(cli: RunCli, words: tuple[str, ...]):
    ran = cli(*words, BUDGET_STORE_URL="memory://")
    assert (ran.code, ran.out, ran.err) == (2, "", NO_STATE)


def test_a_file_that_is_not_there_is_not_made(cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    ran = cli("status", BUDGET_STORE_URL="")
    assert (ran.code, ran.out) == (2, "")
    assert f"there is no file {tmp_path}/budget.db; set BUDGET_STORE_URL as the gateway has it; if" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--json"),
        ("holds",),
        ("journal",),
        ("audit",),
        ("explain", "key:abcabc0000000000"),
        ("limit", "list"),
        ("adjust", "key:abcabc0000000000", "-5"),
        ("release", "0" * 32, *REASON),
        ("key-id",),
        ("price", "gpt-4o", "1000", "500"),
        ("prices", "explain", "gpt-4o"),
    ],
    ids=lambda words: words[0],
)
async def test_a_process_of_its_own_prints_the_same(
    cli: RunCli, process: RunCli, forked: RunCli, *, store: RedisStore, words: tuple[str, ...]
):
    """Nearly all other tests ask commands in the process of the tests. What `doctor` finds hangs on its process.

    Two of them, of which one asks the store, start as an operator's: with an interpreter that has imported nothing.
    Those are on the machine's clock: what both show has no window that ends.
    """
    run = process if words[0] in ("status", "price") else forked
    await store.adjust(adjust("a1", "1", target("key:abcabc0000000000", period=Period.TOTAL)))
    await store.set_limit("key:abcabc0000000000", period=Period.TOTAL, limit_nanos=10**9)
    here, there = cli(*words, stdin="sk-one"), run(*words, stdin="sk-one")
    assert (here.code, _without_times(here.out), here.err) == (there.code, _without_times(there.out), there.err)
    assert here.out or here.err


def _without_times(text: str) -> str:
    return re.sub(r"\d+(\.\d+)? ?(ms|s)\b", "a time", text)


# Words, the command that complains, its complaint.
PARSED = [
    ((), "", "the following arguments are required: COMMAND"),
    (
        ("adjust", "key:abcabc0000000000", "0", *REASON),
        " adjust",
        "argument USD: '0' changes nothing; accepted is an amount in USD such as -5 or 0.25",
    ),
    (("adjust", "key:abcabc0000000000", "-5"), " adjust", "the following arguments are required: --reason"),
    (
        ("adjust", "key:abcabc0000000000", "-5", "--reason", " "),
        " adjust",
        "argument --reason: an empty reason explains nothing; accepted is any text",
    ),
    (
        ("status", "key:*"),
        " status",
        (
            "argument ACCOUNT: 'key:*' does not name one account; accepted are KIND:SUBJECT, such as team:search,"
            " global, and of an API key what `budget-middleware key-id` prints"
        ),
    ),
    (
        ("journal", "--limit", "-5"),
        " journal",
        "argument --limit: '-5' is not a count; accepted are whole numbers from 1 to 1000000000",
    ),
]
CARRIED_OUT = [
    (
        ("adjust", "key:abcabc0000000000", "-5", *REASON, "--window", "fortnight"),
        f"'fortnight' is not a period; accepted are {ACCEPTED_PERIODS}",
    ),
    (
        ("adjust", "key:abcabc0000000000", "-5", *REASON, "--window", "month:2026-13"),
        "'2026-13' is not the id of a window of period month in UTC; accepted is the form 2026-11",
    ),
    (("limit", "set", "global", "5"), f"limit '5', column 2: the period is missing; {AMOUNTS}"),
    (("limit", "set", "global", "+5/day"), "limit set: an increase such as +50/month needs --until DATE"),
    (
        ("limit", "set", "global", "+5/day", "5/month", "--until", "2027-01-01"),
        "limit set: --until goes with increases such as +50/month alone",
    ),
    (
        ("limit", "set", "global", "+5/day", "--until", "tomorrow"),
        "'tomorrow' is not a time; accepted is YYYY-MM-DD or YYYY-MM-DD HH:MM, in BUDGET_TIMEZONE",
    ),
    (
        ("limit", "set", "global", "+5/day!carry=50%", "--until", "2027-01-01", "00:00"),
        "'+5/day!carry=50%' is no increase; accepted is +AMOUNT[UNIT]/PERIOD, with !soft or !shadow",
    ),
    (("limit", "clear", "global", "fortnight"), f"'fortnight' names no limit; accepted are {ACCEPTED_CHOICES}"),
    (("limit", "set", "global", ""), f"no amount is named; {AMOUNTS}"),
]


@pytest.mark.parametrize(("words", "command", "complaint"), PARSED)
def test_words_that_no_command_takes(cli: RunCli, words: tuple[str, ...], command: str, complaint: str):
    ran = cli(*words)
    program = f"budget-middleware{command}"
    assert (ran.code, ran.out, ran.err) == (2, "", f"{program}: {complaint}; see {program} --help\n")


@pytest.mark.parametrize(("words", "complaint"), CARRIED_OUT)
def test_words_that_mean_nothing_here(cli: RunCli, words: tuple[str, ...], complaint: str):
    ran = cli(*words)
    assert (ran.code, ran.out, ran.err) == (2, "", f"budget-middleware: {complaint}\n")


def test_a_wrong_setting(cli: RunCli):
    ran = cli("status", BUDGET_EXHAUSTED_STATUS="418")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "budget-middleware: BUDGET_EXHAUSTED_STATUS='418': accepted: 429, 402\n"


@pytest.mark.parametrize("words", [("status",), ("adjust", "key:abcabc0000000000", "1", *REASON)])
def test_a_store_that_gives_no_answer(cli: RunCli, words: tuple[str, ...]):
    ran = cli(*words, BUDGET_STORE_URL="redis://user:canary@127.0.0.1:1/0")
    assert (ran.code, ran.out) == (2, "")
    start, end = (
        "budget-middleware: no answer from BUDGET_STORE_URL=redis://***@127.0.0.1:1/0 (",
        "); check that the server runs, that this machine reaches it, and its password\n",
    )
    assert ran.err.splitlines()[-1].startswith(start)
    assert ran.err.endswith(end)
    assert "Connect call failed ('127.0.0.1', 1)" in ran.err
    assert "canary" not in ran.err


async def test_a_reader_that_has_gone(environment: dict[str, str], store: RedisStore, month: Target):
    await store.adjust(adjust("a1", "1", month))
    read, write = os.pipe()
    os.close(read)
    journal = await asyncio.create_subprocess_exec(
        *COMMAND,
        "journal",
        env={**os.environ, **environment},
        stdout=write,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(write)
    _, told = await journal.communicate()
    assert (journal.returncode, told) == (141, b"")


def test_a_source_tree_that_is_not_installed_has_no_version(cli: RunCli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metadata, "version", refuse_version)
    ran = cli("--version")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "budget-middleware (a source tree that is not installed has no version)\n"


def refuse_version(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


def test_help_and_documentation_tell_every_command(cli: RunCli):
    assert cli("--version").out == f"budget-middleware {metadata.version('budget-middleware')}\n"
    ran = cli("--help")
    documentation = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    commands = re.findall(r"^    ([a-z-]+) ", ran.out, re.MULTILINE)
    assert (ran.code, ran.err, len(commands)) == (0, "", 24)
    for command in commands:
        assert f"\n## `{command}" in documentation


def test_demo_is_told_how(cli: RunCli, monkeypatch: pytest.MonkeyPatch):
    asked: list[dict[str, object]] = []

    def run_demo(**how: object) -> int:
        asked.append(how)
        return 0

    monkeypatch.setitem(sys.modules, "budget_middleware.demo", SimpleNamespace(run_demo=run_demo))
    assert cli("demo", "--plain", "--seconds", "3").code == 0
    assert asked == [{"plain": True, "as_json": False, "seconds": 3.0}]


def test_a_bug_is_told_in_one_line(cli: RunCli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("budget_middleware.cli.pricing.bill_of_usage", lambda *_: 1 // 0)
    ran = cli("price", "gpt-4o", "--input", "1", "--output", "1")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("budget-middleware: unexpected ZeroDivisionError: ")
    assert ran.err.endswith("; please report it\n")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("statsu",), "budget-middleware: 'statsu' is no command; closest: status"),
        (("limit", "st"), "budget-middleware limit: 'st' is no command; closest: set"),
        (("sk-secret-of-alice",), "budget-middleware: that is no command"),
    ],
)
def test_a_word_that_is_no_command_is_repeated_only_if_it_is_like_one(cli: RunCli, words: tuple[str, ...], told: str):
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"{told}; see budget-middleware")
