"""Operations on many counters let others have their turn: they may run in a gateway's event loop."""

import asyncio
from collections.abc import Awaitable

import pytest

from budget_middleware.operations.counter_snapshot import read_snapshot
from budget_middleware.operations.pieces import in_pieces
from budget_middleware.stores.base import Store
from tests.operations.conftest import OpenContext
from tests.stores.verbs import adjust, target


async def turns_during(work: Awaitable[object]) -> int:
    """How often another task has its turn meanwhile."""
    turns, is_over = 0, False

    async def take_turns() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    await work
    is_over = True
    await other
    return turns


async def sizes(n_things: int) -> list[int]:
    return [len(piece) async for piece in in_pieces(range(n_things), 2)]


async def test_pieces_are_all_things_in_their_order():
    assert [list(piece) async for piece in in_pieces("abcde", 2)] == [["a", "b"], ["c", "d"], ["e"]]
    assert await sizes(0) == []


async def test_others_have_their_turn_after_each_full_piece():
    assert await turns_during(sizes(7)) - await turns_during(sizes(1)) == 3


# While one waits for a server others have any number of turns.
@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_each_step_to_a_snapshot_lets_others_have_their_turn(open_context: OpenContext, base: Store):
    context = open_context(limits="key=10/month")
    few = await turns_during(read_snapshot(context))
    await asyncio.gather(*(base.adjust(adjust(f"{n:032x}", "1", target(f"key:{n}"))) for n in range(1_000)))
    # In two pieces each: views are gathered, summed up, chosen, parted by account, sorted, ranked.
    assert await turns_during(read_snapshot(context)) - few >= 6 * 2
