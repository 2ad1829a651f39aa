"""`doctor` tells how many answers outgrew their hold."""

import pytest

from budget_middleware.operations.doctor.estimates import growth_finding
from budget_middleware.operations.doctor.finding import Health
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock
from tests.stores.verbs import finalize, grow, release, reserve


async def answer(store: MemoryStore, id_: str, *, grows: int = 0) -> None:
    await store.reserve(reserve(id_, "0.01"))
    for times in range(grows):
        await store.grow(grow(id_, f"0.0{times + 2}"))
    await store.finalize(finalize(id_, "0.01"))


async def answers(*, grown: int, of: int) -> MemoryStore:
    store = MemoryStore(clock_ms=MovableClock())
    for number in range(of):
        await answer(store, f"r{number}", grows=2 if number < grown else 0)
    return store


@pytest.mark.parametrize(
    ("grown", "of", "health", "says"),
    [
        (0, 0, Health.OK, "no answer was booked yet"),
        (1, 8, Health.OK, "12.5 % of answers outgrew their hold in the last 8 (usual: 2 to 6)"),
        (8, 8, Health.OK, "100.0 % of answers outgrew"),
        (15, 100, Health.OK, "15.0 % of answers outgrew their hold in the last 100 "),
        (16, 100, Health.WARN, "16.0 % of answers outgrew"),
    ],
)
async def test_answers_that_outgrew_their_hold_are_counted_once_each(grown, of, health, says):
    found = await growth_finding(await answers(grown=grown, of=of))
    assert (found.status, found.message[: len(says)]) == (health, says)
    assert bool(found.fix) == (health is Health.WARN)


async def test_only_the_last_thousand_answers_count():
    store = await answers(grown=100, of=1_100)
    assert (await growth_finding(store)).message.startswith("0.0 % of answers outgrew their hold in the last 1,000")


async def test_what_came_to_nothing_is_no_answer():
    store = MemoryStore(clock_ms=MovableClock())
    await store.reserve(reserve("r1", "0.01"))
    await store.grow(grow("r1", "0.02"))
    await store.release(release("r1"))
    assert (await growth_finding(store)).message == "no answer was booked yet"
