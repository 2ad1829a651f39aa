"""`doctor` tells how far back the journal reaches in time."""

from budget_middleware.operations.doctor.finding import Health
from budget_middleware.operations.doctor.journal import DAY_MS, journal_finding
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.stores.verbs import adjust, release, reserve


async def test_f57_a_journal_that_keeps_less_than_a_day_is_told_with_its_setting():
    clock = MovableClock()
    store = MemoryStore(Retention(journal_max=2_000), clock_ms=clock)
    empty = await journal_finding(store, journal_max=2_000)
    assert (empty.status, empty.message) == (Health.OK, "no entry yet")
    for number in range(3_000):
        clock.advance(s=6)
        await store.adjust(adjust(f"a{number}", "0.01"))
    found = await journal_finding(store, journal_max=2_000)
    assert found.status is Health.WARN
    assert found.message.startswith("it reaches back to 2026-11-")
    assert found.message.endswith(
        "(seq 1001 of 3000); at the rate of the last 1,000 entries, 2,000 reach back 3.3 hours"
    )
    assert found.fix.startswith("set BUDGET_JOURNAL_MAX=15000 for a day")


async def test_a_journal_that_reaches_back_far_enough_is_in_order():
    clock = MovableClock()
    store = MemoryStore(clock_ms=clock)
    for number in range(3):
        clock.advance(ms=DAY_MS)
        await store.adjust(adjust(f"a{number}", "0.01"))
    found = await journal_finding(store, journal_max=100_000)
    assert (found.status, found.fix) == (Health.OK, "")
    assert (
        "(seq 1 of 3), and has the first booking; at the rate of the last 3 entries, 100,000 reach back"
        in found.message
    )


async def test_a_journal_of_which_all_came_to_nothing():
    clock = MovableClock()
    store = MemoryStore(clock_ms=clock)
    await store.reserve(reserve("r1", "0.60"))
    await store.release(release("r1"))
    clock.advance(ms=DAY_MS)
    await store.head()
    found = await journal_finding(store, journal_max=100_000)
    assert (found.status, found.message) == (Health.OK, "nothing was booked yet")
