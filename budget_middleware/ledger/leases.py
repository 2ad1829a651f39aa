"""Heartbeats for the holds of this process, and the sweep of everybody's leases that are over."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from budget_middleware.ledger.hold import Hold
from budget_middleware.stores.base import StoreRefused, StoreUnavailable

EXTENDED_AT_ONCE = 32

_log = logging.getLogger("budget_middleware")


@dataclass(slots=True)
class _Kept:
    pid: int = field(default_factory=os.getpid)
    holds: dict[str, Hold] = field(default_factory=dict)
    beat: "asyncio.Task[None] | None" = None


class LeaseKeeper:
    """Extends the kept holds and sweeps, every ``every_s`` seconds; it starts with the first hold of an event loop."""

    def __init__(
        self,
        *,
        every_s: float,
        extend: Callable[[Hold], Awaitable[None]],
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._every_s = every_s
        self._extend = extend
        self._sweep = sweep
        self._kept: WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = WeakKeyDictionary()

    def keep(self, hold: Hold) -> None:
        kept = self._here()
        kept.holds[hold.id] = hold
        if kept.beat is None or kept.beat.done():
            kept.beat = asyncio.get_running_loop().create_task(self._beat_forever(kept))

    def drop(self, hold: Hold) -> None:
        self._here().holds.pop(hold.id, None)

    def stop(self) -> None:
        kept = self._here()
        if kept.beat is not None:
            kept.beat.cancel()
            kept.beat = None

    def _here(self) -> _Kept:
        loop = asyncio.get_running_loop()
        kept = self._kept.get(loop)
        if kept is None or kept.pid != os.getpid():
            kept = self._kept[loop] = _Kept()
        return kept

    async def _beat_forever(self, kept: _Kept) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._beat(list(kept.holds.values()))
            except (StoreUnavailable, StoreRefused) as error:
                # Leases outlive two missed beats.
                _log.warning("heartbeats got no answer: %s", error)
            except Exception:  # noqa: BLE001 - without its next beats every hold would expire
                _log.exception("a heartbeat failed")

    async def _beat(self, holds: list[Hold]) -> None:
        for first in range(0, len(holds), EXTENDED_AT_ONCE):
            await asyncio.gather(*map(self._extend, holds[first : first + EXTENDED_AT_ONCE]))
        await self._sweep()
