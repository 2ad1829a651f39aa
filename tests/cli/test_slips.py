"""What an operator has to confirm before money is booked where nobody looks for it."""

from pathlib import Path

import pytest

from budget_middleware.core.model import Target
from budget_middleware.core.windows import Period
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli
from tests.stores.verbs import adjust, figures, target

KNOWN, UNKNOWN = "key:abcabc0000000000", "key:abcabc0000000001"
REASON = ("--reason", "x")


async def nothing_changed(store: RedisStore) -> bool:
    return (await store.head()).seq <= 1 and not (await store.limits()).limits


@pytest.mark.parametrize(
    "words", [("adjust", KNOWN, "1", *REASON), ("limit", "set", KNOWN, "1/day"), ("limit", "set", "key", "1/day")]
)
async def test_an_empty_namespace_asks_for_new(cli: RunCli, store: RedisStore, namespace: str, words: tuple[str, ...]):
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(
        f"budget-middleware: namespace '{namespace}' has 0 counters and nothing was ever booked in it"
    )
    assert ran.err.endswith(": check BUDGET_NAMESPACE and BUDGET_STORE_URL, or add --new\n")
    assert await nothing_changed(store)
    assert cli(*words, "--new").code == 0


@pytest.mark.parametrize("words", [("adjust", UNKNOWN, "1", *REASON), ("limit", "set", UNKNOWN, "1/day")])
async def test_an_account_that_nobody_used_asks_for_new(
    cli: RunCli, store: RedisStore, month: Target, namespace: str, words: tuple[str, ...]
):
    await store.adjust(adjust("a1", "3", month))
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"budget-middleware: {UNKNOWN} has no counter and no limit of its own (counters in namespace"
        f" '{namespace}': 1): check its spelling, or add --new\n"
    )
    assert await nothing_changed(store)
    assert cli(*words, "--new").code == 0
    # From now on it is known.
    again = cli(*words)
    assert again.code == 0, again.err


async def test_what_is_known(cli: RunCli, store: RedisStore, month: Target, tmp_path: Path):
    await store.adjust(adjust("a1", "3", month))
    accounts = tmp_path / "accounts.toml"
    accounts.write_text('[keys."00000000000000ff"]\nteam = "search"\n')
    settings = {"BUDGET_ACCOUNTS_FILE": str(accounts), "BUDGET_LIMITS": "user:ann=1/day"}
    for account in (KNOWN, "key:00000000000000ff", "team:search", "user:ann", "global", "key", "key+model:*+o3"):
        ran = cli("limit", "set", account, "1/day", **settings)
        assert ran.code == 0, ran.err
    for account in ("key:00000000000000fe", "team:serach", "taem", "model:gtp-4o", f"key+model:{KNOWN[4:]}+o3"):
        ran = cli("limit", "set", account, "1/day", **settings)
        assert (ran.code, "or add --new" in ran.err) == (2, True), account


@pytest.mark.parametrize(
    ("amount", "limits", "is_asked"),
    [
        ("-3", "", False),
        ("-3.000000001", "", True),
        ("3.01", "", True),
        ("-5000", "key=100/month", True),
        ("-100", "key=100/month", False),
        ("100.01", "key=100/month", True),
        # The larger of two counters decides.
        ("-50", "key=10/day; key=100/month", False),
        ("-50", "key=100/day; key=10/month", False),
        ("-101", "key=100/day; key=10/month", True),
    ],
)
async def test_an_amount_above_the_size_of_its_counters_asks_for_yes(
    cli: RunCli, store: RedisStore, month: Target, *, amount: str, limits: str, is_asked: bool
):
    await store.adjust(adjust("a1", "3", month))
    ran = cli("adjust", KNOWN, amount, *REASON, BUDGET_LIMITS=limits)
    assert (ran.code, "add --yes" in ran.err) == ((2, True) if is_asked else (0, False))
    assert (await figures(store, month) == ("3.00", "0.00")) == is_asked
    if is_asked:
        assert cli("adjust", KNOWN, amount, *REASON, "--yes", BUDGET_LIMITS=limits).code == 0


async def test_what_was_spent_counts_whatever_its_sign(cli: RunCli, store: RedisStore, month: Target):
    await store.adjust(adjust("a1", "-50", month))
    assert cli("adjust", KNOWN, "50", *REASON).code == 0
    assert await figures(store, month) == ("0.00", "0.00")


async def test_a_named_window_has_a_size_of_its_own(cli: RunCli, store: RedisStore, month: Target, now_ms: int):
    await store.adjust(adjust("a1", "3", month))
    past = target(KNOWN, period=Period.HOUR, at_ms=now_ms - 7_200_000)
    words = ("adjust", KNOWN, "1", *REASON, "--window", f"hour:{past.window.id}")
    ran = cli(*words)
    assert (ran.code, "(at most 0.00 USD)" in ran.err) == (2, True)
    assert cli(*words, "--yes").code == 0
    assert await figures(store, past) == ("1.00", "0.00")


async def test_a_new_account_under_a_limit_asks_for_both(cli: RunCli, store: RedisStore, month: Target):
    await store.adjust(adjust("a1", "3", month))
    words = ("adjust", UNKNOWN, "-11", *REASON, "--new")
    assert "add --yes" in cli(*words, BUDGET_LIMITS="key=10/day").err
    assert cli(*words, "--yes", BUDGET_LIMITS="key=10/day").code == 0
