"""Long work in pieces: an operation may run in a gateway's event loop, which lets its requests through in between."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Final, TypeVar

_T = TypeVar("_T")

_PIECE: Final = 500
"""So many counters are a few milliseconds of work."""


async def in_pieces(things: Iterable[_T], size: int = _PIECE) -> AsyncIterator[Sequence[_T]]:
    """All of them in their order, ``size`` at a time; other tasks have their turn after each full piece."""
    left = iter(things)
    while piece := list(islice(left, size)):
        yield piece
        if len(piece) == size:
            await asyncio.sleep(0)
