"""The figures by which a worker goes on while the store is away, against those that the store would have."""

import time
from collections.abc import Callable

import pytest

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Balance, Target
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import ROLLING_BUCKETS, Period
from budget_middleware.ledger import Hold, local_ledger
from budget_middleware.ledger.local_ledger import LocalLedger
from budget_middleware.testing import MovableClock
from tests.ledger.conftest import hold
from tests.stores.verbs import START_MS, target

LEASE_MS = 60_000
LIMIT = "1.00"


@pytest.fixture
def pass_s(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for the worker."""
    clock = MovableClock()
    monkeypatch.setattr(time, "monotonic", lambda: clock() / 1000)
    return lambda seconds: clock.advance(ms=round(seconds * 1000))


@pytest.fixture
def local() -> LocalLedger:
    return LocalLedger(lease_ms=LEASE_MS)


def budget(account: str = "key:a") -> Target:
    return target(account, limit=LIMIT)


def asking(amount: str, *targets: Target) -> Hold:
    held = hold(amount)
    held.targets = targets or (budget(),)
    return held


def saw(local: LocalLedger, spent: str, reserved: str = "0", *, of: Target | None = None) -> None:
    local.record((of or budget(),), (Balance(nanos_from_usd(spent), nanos_from_usd(reserved)),))


def admits(local: LocalLedger, amount: str, *targets: Target) -> bool:
    return local.reserve(asking(amount, *targets)) is None


def test_a_spent_key_stays_refused(local: LocalLedger):
    saw(local, "1.00")
    rejection = local.reserve(asking("0.01"))
    assert rejection is not None
    assert not rejection.is_held


def test_a_key_has_what_was_left_to_the_nano_dollar(local: LocalLedger):
    saw(local, "0.40", "0.10")
    assert not admits(local, "0.500000001")
    assert admits(local, "0.50")
    assert not admits(local, "0.000000001")


def test_what_is_admitted_here_is_held_until_it_costs_what_it_costs(local: LocalLedger):
    first = asking("0.60")
    assert local.reserve(first) is None
    assert not admits(local, "0.60")
    local.end(first, first.targets, Amounts(usd=nanos_from_usd("0.10")))
    assert admits(local, "0.60")


def test_a_release_gives_all_of_it_back(local: LocalLedger):
    first = asking("0.60")
    assert local.reserve(first) is None
    local.end(first, first.targets, Amounts())
    assert admits(local, "1.00")


def test_a_reservation_of_the_store_that_ends_meanwhile_is_not_counted_twice(local: LocalLedger):
    saw(local, "0", "0.60")
    held = asking("0.60")
    local.end(held, held.targets, Amounts(usd=nanos_from_usd("0.10")))
    assert not admits(local, "0.900000001")
    assert admits(local, "0.90")


def test_once_the_store_has_booked_it_its_figures_count_alone(local: LocalLedger):
    first = asking("0.60")
    assert local.reserve(first) is None
    local.end(first, first.targets, Amounts(usd=nanos_from_usd("0.60")))
    local.record((), (), acknowledged=first.id)
    saw(local, "0.60")
    assert not admits(local, "0.400000001")
    assert admits(local, "0.40")


def test_one_of_several_accounts_refuses_and_none_is_held(local: LocalLedger):
    team = budget("team:t")
    saw(local, "0.95", of=team)
    assert not admits(local, "0.10", budget(), team)
    assert admits(local, "1.00", budget())


def test_what_others_reserved_is_believed_for_a_lease(local: LocalLedger, pass_s: Callable[[float], None]):
    saw(local, "0.40", "0.50")
    pass_s(LEASE_MS / 1000 - 1)
    assert not admits(local, "0.20")
    pass_s(2)
    assert admits(local, "0.60")
    assert not admits(local, "0.10"), "what was spent stays spent"


def test_of_very_many_counters_the_latest_are_known(local: LocalLedger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local_ledger, "FIGURES_MAX", 16)
    for number in range(100):
        saw(local, "1.00", of=budget(f"key:{number}"))
        saw(local, "1.00", of=budget("key:often"))
    assert len(local._seen) <= 16
    assert not admits(local, "0.01", budget("key:often"))
    assert not admits(local, "0.01", budget("key:99"))


def test_what_is_lost_is_remembered_in_sum_alone(local: LocalLedger):
    """So many endings wait that this one does not: its cost was spent all the same."""
    first = asking("0.60")
    assert local.reserve(first) is None
    local.end(first, first.targets, Amounts(usd=nanos_from_usd("0.60")))
    local.forget(first.id)
    assert not local._owed
    assert not admits(local, "0.60")


def test_strangers_do_not_push_out_a_key_that_was_spent(local: LocalLedger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local_ledger, "FIGURES_MAX", 16)
    saw(local, "1.00", of=budget("key:spent"))
    for number in range(100):
        saw(local, "0", of=budget(f"key:{number}"))
    assert not admits(local, "0.01", budget("key:spent"))


# Rolling limits.


def at_minute(minute: int) -> Target:
    """A bucket of a limit for the last hour."""
    return target("key:a", limit=LIMIT, period=Period("1h"), at_ms=START_MS + 60_000 * minute)


def read(local: LocalLedger, spent: str, of: Target) -> None:
    """An entry of the journal: it has what its own bucket shows."""
    nanos = nanos_from_usd(spent)
    entry = Entry(1, START_MS, Op.FINALIZE, "r1", of.counter, nanos, 0, nanos, 0, of.limit, Status.FINALIZED)
    local.record_entries([entry])


def test_an_entry_of_a_bucket_does_not_hide_what_others_have(local: LocalLedger):
    saw(local, "1.00", of=at_minute(0))
    read(local, "0.40", of=at_minute(0))
    assert not admits(local, "0.01", at_minute(0))


def test_a_spent_rolling_limit_stays_spent_in_the_next_buckets(local: LocalLedger, pass_s: Callable[[float], None]):
    saw(local, "1.00", of=at_minute(0))
    pass_s(60 * ROLLING_BUCKETS)
    assert not admits(local, "0.01", at_minute(ROLLING_BUCKETS))
    pass_s(60)
    assert admits(local, "1.00", at_minute(ROLLING_BUCKETS + 1))


def test_what_has_left_a_rolling_limit_is_free_again(local: LocalLedger, pass_s: Callable[[float], None]):
    oldest = at_minute(-ROLLING_BUCKETS)
    read(local, "0.60", of=oldest)
    saw(local, "1.00", of=at_minute(0))
    assert not admits(local, "0.01", at_minute(0))
    pass_s(60)
    assert not admits(local, "0.600000001", at_minute(1))
    assert admits(local, "0.60", at_minute(1))


def test_buckets_that_are_known_count_together(local: LocalLedger):
    read(local, "0.60", of=at_minute(-30))
    read(local, "0.30", of=at_minute(-10))
    assert not admits(local, "0.100000001", at_minute(0))
    assert admits(local, "0.10", at_minute(0))


def test_what_is_admitted_here_counts_in_the_next_buckets(local: LocalLedger):
    saw(local, "0.30", of=at_minute(0))
    assert admits(local, "0.60", at_minute(0))
    assert not admits(local, "0.100000001", at_minute(5))
    assert admits(local, "0.10", at_minute(5))


def test_of_a_rolling_limit_a_reservation_that_ends_is_not_counted_twice(local: LocalLedger):
    saw(local, "0", "0.60", of=at_minute(0))
    held = asking("0.60", at_minute(0))
    local.end(held, held.targets, Amounts(usd=nanos_from_usd("0.10")))
    assert not admits(local, "0.900000001", at_minute(0))
    assert admits(local, "0.90", at_minute(0))
