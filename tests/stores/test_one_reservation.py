"""One reservation by its id, whatever became of it."""

import pytest

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import State
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.verbs import START_MS, finalize, release, reserve


async def test_of_an_id_that_nobody_used_nothing_is_known(store: Store):
    assert await store.reservation("r1") is None


@pytest.mark.parametrize(
    ("end", "state", "actual"),
    [
        (None, State.PENDING, "0"),
        (finalize("r1", "0.25"), State.FINALIZED, "0.25"),
        (release("r1"), State.RELEASED, "0"),
    ],
)
async def test_it_is_known_when_it_was_made_on_what_and_how_it_ended(
    store: Store, clock: MovableClock, end, state, actual
):
    asked = reserve("r1", "0.60")
    await store.reserve(asked)
    clock.advance(s=1)
    if end is not None:
        await (store.finalize(end) if state is State.FINALIZED else store.release(end))
    found = await store.reservation("r1")
    assert found is not None
    assert (found.id, found.state, found.created_ms, found.actual.usd) == (
        "r1",
        state,
        START_MS,
        nanos_from_usd(actual),
    )
    assert [target.counter for target in found.targets] == [target.counter for target in asked.targets]
