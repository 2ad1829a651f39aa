"""Reading what passes by without holding up the event loop, however much comes in one message."""

import asyncio
from collections.abc import Callable
from typing import Final

# A line may have two bytes, and reading it takes up to 5 us.
_PIECE_BYTES: Final = 4_096


async def feed_in_pieces(feed: Callable[[bytes], None], data: bytes) -> None:
    """Feed a reader piece by piece; others run in between."""
    for start in range(0, len(data), _PIECE_BYTES):
        if start:
            await asyncio.sleep(0)
        feed(data[start : start + _PIECE_BYTES])
