"""Extend: a lease is renewed by its owner, and by nothing else."""

from collections.abc import Awaitable, Callable

import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Extend, Grow
from budget_middleware.stores.base import Store
from budget_middleware.testing import MovableClock
from tests.stores.verbs import START_MS, adjust, figures, finalize, grow, reserve


async def test_extend_counts_from_now_and_only_for_its_own_reservation(store: Store, clock: MovableClock):
    await store.reserve(reserve("r1", "0.10"))
    await store.reserve(reserve("r2", "0.10"))
    clock.advance(s=40)
    await store.extend(Extend("r1", lease_ms=60_000))
    deadlines = {held.id: held.deadline_ms - START_MS for held in await store.holds()}
    assert deadlines == {"r1": 100_000, "r2": 60_000}
    clock.advance(s=59)
    assert [held.id for held in await store.holds()] == ["r1"]
    assert (await store.extend(Extend("r2", lease_ms=60_000))).status is Status.ALREADY_EXPIRED


@pytest.mark.parametrize("renewal", [Extend("r1", lease_ms=1000), grow("r1", "0.70", lease_s=1)])
async def test_a_renewal_that_comes_late_ends_no_lease_sooner(
    store: Store, clock: MovableClock, renewal: Extend | Grow
):
    await store.reserve(reserve("r1", "0.60"))
    await store.extend(Extend("r1", lease_ms=86_400_000))
    clock.advance(s=1)
    await (store.extend(renewal) if isinstance(renewal, Extend) else store.grow(renewal))
    clock.advance(s=86_398)
    assert [held.deadline_ms - START_MS for held in await store.holds()] == [86_400_000]
    clock.advance(s=1)
    assert await store.holds() == []
    assert await figures(store) == ("0.00", "0.00")


@pytest.mark.parametrize(
    "neighbour",
    [
        lambda store: store.reserve(reserve("r2", "0.10")),
        lambda store: store.reserve(reserve("r1", "0.60")),
        lambda store: store.finalize(finalize("r2", "0.10")),
        lambda store: store.adjust(adjust("a1", "0.10")),
        lambda store: store.sweep(at_most=10),
    ],
)
async def test_no_other_verb_moves_a_deadline(
    store: Store, clock: MovableClock, neighbour: Callable[[Store], Awaitable[Answer]]
):
    await store.reserve(reserve("r1", "0.60"))
    clock.advance(s=59)
    await neighbour(store)
    (held,) = [held for held in await store.holds() if held.id == "r1"]
    assert held.deadline_ms == START_MS + 60_000
