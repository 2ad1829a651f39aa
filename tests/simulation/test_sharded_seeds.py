"""Seeds over shards: whoever dies between the parts of a reservation, every shard keeps every promise."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from budget_middleware.stores.sharded import asking, parts
from budget_middleware.stores.sharded.store import ShardedStore
from tests.simulation.__main__ import Summary
from tests.simulation.drawing import draw
from tests.simulation.plan import Kind, Plan
from tests.simulation.run import simulate
from tests.simulation.sharded_world import ShardedWorld

SPANS = [range(1, 21), range(21, 41)]
REFUSED_UNDOS, SHOWN_LATE = (107, 134, 153, 154), (67, 168)

_LOSES_STATE = frozenset({Kind.EMPTIED, Kind.FAILOVER})
"""What becomes of what one shard has lost is in `tests/ledger/test_sharded_ledger.py`."""


def plan_of(seed: int) -> Plan:
    plan = draw(seed)
    return replace(plan, jobs=(), events=tuple(event for event in plan.events if event.kind not in _LOSES_STATE))


@pytest.mark.proves("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10")
@pytest.mark.parametrize("seeds", SPANS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_every_promise_is_kept_on_every_shard(seeds: range):
    summary = Summary()
    for seed in seeds:
        outcome = simulate(plan_of(seed), world_of=ShardedWorld)
        assert not outcome.violation, f"seed {seed}: {outcome.violation}"
        summary.add(outcome)
    assert summary.requests > 200
    assert summary.faults.total() > 200


@pytest.mark.proves("I8", "I9")
@pytest.mark.parametrize("seed", REFUSED_UNDOS)
def test_an_undo_that_a_shard_refuses_leaves_a_hold_with_its_owner(seed: int):
    assert not simulate(plan_of(seed), world_of=ShardedWorld).violation


@pytest.mark.proves("I9")
@pytest.mark.parametrize("seed", SHOWN_LATE)
def test_a_part_that_one_shard_shows_later_has_its_span(seed: int):
    assert not simulate(plan_of(seed), world_of=ShardedWorld).violation


# It finds what was planted.


def leave_parts_of_refused_ones_held(patch: pytest.MonkeyPatch) -> None:
    """What a refused reserve held on its first shard is not given back."""

    async def undo_nothing(*_: object) -> list[object]:
        return []

    patch.setattr(ShardedStore, "_undo", undo_nothing)


def end_the_first_part_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(parts.Routes, "get", lambda self, id_: None if id_ not in self._routes else _first(self._routes[id_]))


def _first(route: parts.Route) -> parts.Route:
    return parts.Route(route.parts[:1], route.targets)


def call_it_refused_where_a_part_was_applied(patch: pytest.MonkeyPatch) -> None:
    """An error says that nothing was applied, and one shard has booked."""

    async def first_error(asked: list) -> list:
        replies = await asking.asyncio.gather(*asked, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    for module in ("store", "reads", "reserving", "asking"):
        patch.setattr(f"budget_middleware.stores.sharded.{module}.all_of", first_error, raising=False)


@pytest.mark.parametrize(
    "plant",
    [leave_parts_of_refused_ones_held, end_the_first_part_only, call_it_refused_where_a_part_was_applied],
    ids=lambda plant: plant.__name__,
)
def test_a_slip_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    assert any(simulate(plan_of(seed), world_of=ShardedWorld).violation for seed in range(1, 20))
