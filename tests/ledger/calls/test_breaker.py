"""A store that is away is asked once a second, not by every request."""

import pytest

from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.calls.breaker import OUTAGES, PROBE_S, Breaker
from budget_middleware.stores.errors import StoreAway
from budget_middleware.stores.memory.store import MemoryStore
from tests.ledger.conftest import hold
from tests.ledger.faults import FaultyStore, request_lost


class _Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _away(clock: _Clock) -> Breaker:
    breaker = Breaker(clock_s=clock)
    for _ in range(OUTAGES):
        assert breaker.allows()
        breaker.record_outage(began_s=clock())
    return breaker


def test_it_asks_until_the_store_is_away():
    assert not _away(_Clock()).allows()


def test_an_answer_in_between_starts_the_count_anew():
    clock = _Clock()
    breaker = Breaker(clock_s=clock)
    for _ in range(3):
        for _ in range(OUTAGES - 1):
            clock.now_s += 1
            breaker.record_outage(began_s=clock())
            assert breaker.allows()
        breaker.record_answer(clock())
        clock.now_s += 1


def test_a_call_is_no_outage_if_others_were_answered_since_it_began():
    clock = _Clock()
    breaker = Breaker(clock_s=clock)
    breaker.record_answer(clock())
    for _ in range(2 * OUTAGES):
        breaker.record_outage(began_s=clock.now_s - 1)
    assert breaker.allows()


def test_while_away_one_call_in_a_while_finds_out():
    clock = _Clock()
    breaker = _away(clock)
    for _ in range(3):
        clock.now_s += PROBE_S
        assert [breaker.allows() for _ in range(3)] == [True, False, False]
        breaker.record_outage(began_s=clock())


def test_one_answer_and_it_is_back():
    clock = _Clock()
    breaker = _away(clock)
    clock.now_s += PROBE_S
    assert breaker.allows()
    breaker.record_answer(clock())
    assert breaker.allows()
    assert breaker.allows()


def test_calls_that_fail_side_by_side_are_one_outage():
    clock = _Clock()
    breaker = Breaker(clock_s=clock)
    for _ in range(OUTAGES):
        began_s = clock()
        clock.now_s += PROBE_S / 10
        assert breaker.allows(), "it needs so many rounds"
        for _ in range(100):
            breaker.record_outage(began_s=began_s)
    assert not breaker.allows()


async def test_an_ending_without_an_answer_tells_it_to_the_next_request():
    faults = FaultyStore(MemoryStore())
    ledger, held = Ledger(faults.store, store_timeout_s=5), hold()
    await ledger.reserve(held)
    faults.always["finalize"] = request_lost
    assert await ledger.finalize(held, actual=Amounts(usd=10_000_000)) is None
    assert faults.count("finalize") == OUTAGES
    with pytest.raises(StoreAway):
        await ledger.reserve(hold())
    faults.always.clear()
    # A loop that closes tries once more, whatever the breaker says.
    await ledger.drain(timeout_s=0)
    (view,) = await faults.inner.counters()
    assert (view.balance.spent, view.balance.reserved) == (10_000_000, 0)
