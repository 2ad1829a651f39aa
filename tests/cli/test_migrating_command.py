"""`migrate`: what it prints, what it asks for, and what it never repeats."""

from pathlib import Path

import pytest

from budget_middleware.cli.migration_progress import MigrationProgress
from budget_middleware.core.model import Target
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.operations.migrating import Phase, Progress
from budget_middleware.operations.migrating import migration as moving
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli
from tests.stores.verbs import finalize, target

TOKEN = "sk-alice-0123456789"


@pytest.fixture(autouse=True)
def _quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "ROUND_S", 0.005)


@pytest.fixture
def words(server_url: str, namespace: str) -> tuple[str, ...]:
    return ("migrate", server_url, server_url, "--to-namespace", f"{namespace}-new", "--until-quiet", "0")


async def test_people_get_the_proof_and_what_to_do_next(
    cli: RunCli, words: tuple[str, ...], store: RedisStore, month: Target
):
    await store.finalize(finalize("r1", "0.10", month))
    ran = cli(*words)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "account               period  window   source_usd  own_usd  spent_usd  is_equal",
        f"key:abcabc0000000000  month   {month.window.id}        0.10     0.00       0.10      True",
        "1 of 1 counter equal, 0 patterns of limits",
        "next: nothing is copied any more. If a gateway may still use FROM_URL, start this command again",
        "      budget-middleware audit at TO_URL; then stop the old store, or delete its keys: docs/migrating.md",
    ]
    assert "budget-middleware: following: 1 entries of the source's journal, 0 pending there" in ran.err


async def test_scripts_get_one_object(cli: RunCli, words: tuple[str, ...], store: RedisStore, month: Target):
    await store.finalize(finalize("r1", "0.10", month))
    found = cli(*words, "--json").json
    [row] = found.pop("counters")
    assert (row["account"], row["source_usd"], row["own_usd"], row["is_equal"]) == (month.account, "0.10", "0.00", True)
    assert found == {
        "limits": 0,
        "unequal_limits": [],
        "unproved": 0,
        "unrenamed": [],
        "recounts": 0,
        "entries": 1,
    }


async def test_urls_may_stand_in_files(
    cli: RunCli, words: tuple[str, ...], store: RedisStore, month: Target, tmp_path: Path
):
    await store.finalize(finalize("r1", "0.10", month))
    (tmp_path / "url").write_text(f"{words[1]}\n")
    at = f"@{tmp_path / 'url'}"
    assert cli("migrate", at, at, *words[3:]).code == 0


async def test_keys_get_the_names_of_another_secret(
    cli: RunCli, words: tuple[str, ...], store: RedisStore, now_ms: int, tmp_path: Path
):
    old, new = key_id(TOKEN, secret="s" * 20), key_id(TOKEN, secret="t" * 20)
    await store.finalize(finalize("r1", "0.10", target(f"key:{old}", at_ms=now_ms)))
    secret, accounts = tmp_path / "secret", tmp_path / "accounts.toml"
    secret.write_text("t" * 20 + "\n")
    accounts.write_text(f'[keys."{old}"]\nteam = "search"\n')
    more = ("--to-secret", str(secret), "--tokens", "-", "--rewrite", str(accounts))
    ran = cli(*words, *more, stdin="", BUDGET_HASH_SECRET="s" * 20)
    assert ran.code == 2
    assert f"no token was given for key:{old}" in ran.err
    assert ran.err.endswith("(--keep-unknown-keys)\n")
    (tmp_path / "accounts.toml.new").unlink()
    ran = cli(*words, *more, stdin=f"{TOKEN}\n", BUDGET_HASH_SECRET="s" * 20)
    assert ran.code == 0
    assert f"key:{new}" in ran.out
    assert TOKEN not in ran.out + ran.err
    assert (tmp_path / "accounts.toml.new").read_text() == f'[keys."{new}"]\nteam = "search"\n'


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (("--tokens", "-"), "--to-secret and --tokens: accepted together"),
        (("--rewrite", "x"), "accepted with --to-secret and --tokens"),
        (("--tokens", TOKEN, "--to-secret", "{secret}"), "--tokens: No such file or directory; what was given is not"),
        (("--tokens", "-", "--to-secret", TOKEN), "--to-secret: No such file or directory; what was given is not"),
        (("--tokens", "-", "--to-secret", "{same}"), "--to-secret: it is the same as BUDGET_HASH_SECRET"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_wrong_words_are_refused_in_one_line(
    cli: RunCli, words: tuple[str, ...], more: tuple[str, ...], error: str, tmp_path: Path
):
    (tmp_path / "secret").write_text("t" * 20)
    (tmp_path / "same").write_text("s" * 20)
    named = [word.format(secret=tmp_path / "secret", same=tmp_path / "same") for word in more]
    ran = cli(*words, *named, BUDGET_HASH_SECRET="s" * 20)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert error in ran.err
    assert TOKEN not in ran.err


class Stream:
    def __init__(self, *, is_terminal: bool) -> None:
        self.is_terminal = is_terminal
        self.text = ""

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_a_terminal_has_a_bar_and_a_log_a_line_now_and_then():
    steps = [Progress(Phase.COPYING, done=done, total=4) for done in (2, 4)]
    steps += [Progress(Phase.FOLLOWING, entries=1200, holds=2, quiet_s=0.0)] * 3
    terminal, log = Stream(is_terminal=True), Stream(is_terminal=False)
    for stream in (terminal, log):
        progress = MigrationProgress(stream, clock=lambda: 0.0)  # type: ignore[arg-type]
        for step in steps:
            progress(step)
        progress.end()
    assert terminal.text.startswith(f"\r\x1b[Kcopying [{'#' * 15}{'.' * 15}] 2 of 4 counters\r")
    assert terminal.text.endswith("move the gateways now\n")
    assert log.text.count("\n") == 2
