"""Heartbeats for the holds of this process, and the sweep of everybody's leases that are over."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field

from budget_middleware.event_loops import PerEventLoop
from budget_middleware.ledger.hold import Hold
from budget_middleware.stores.base import StoreRefused, StoreUnavailable

EXTENDED_AT_ONCE = 32

_log = logging.getLogger("budget_middleware")


@dataclass(slots=True)
class _Kept:
    holds: dict[str, Hold] = field(default_factory=dict)
    beat: "asyncio.Task[None] | None" = None

    def let_go(self, beat: "asyncio.Task[None]") -> None:
        # A task holds its loop, and what is kept for a loop must not.
        if self.beat is beat:
            self.beat = None


class LeaseKeeper:
    """Extends the kept holds and sweeps, every ``every_s`` seconds; it starts with the first hold of an event loop.

    ``extend`` answers whether the hold is still to be kept.
    """

    def __init__(
        self,
        *,
        every_s: float,
        extend: Callable[[Hold], Awaitable[bool]],
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._every_s = every_s
        self._extend = extend
        self._sweep = sweep
        self._kept = PerEventLoop(_Kept)

    def keep(self, hold: Hold) -> None:
        self._kept.here().holds[hold.id] = hold
        self.start()

    def start(self) -> None:
        """Begin to beat in this event loop, if that has not begun."""
        kept = self._kept.here()
        if kept.beat is None:
            # In a context of its own: the first request's span is not the parent of all that expires later.
            kept.beat = asyncio.get_running_loop().create_task(self._beat_forever(kept), context=Context())
            kept.beat.add_done_callback(kept.let_go)

    def drop(self, hold: Hold) -> None:
        self._kept.here().holds.pop(hold.id, None)

    def oldest_s(self) -> float:
        """For how long the oldest of the kept holds has been one, 0 if there is none; any thread may ask."""
        firsts = [hold for kept in self._kept.values() for hold in list(kept.holds.values())[:1]]
        return max((time.monotonic() - hold.since_s for hold in firsts), default=0.0)

    async def stop(self) -> None:
        """Let no beat of this event loop come any more."""
        kept = self._kept.here()
        beat, kept.beat = kept.beat, None
        if beat is not None:
            beat.cancel()
            await asyncio.wait({beat})

    async def _beat_forever(self, kept: _Kept) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            # A cancellation alone may be swallowed by a driver that is cleaning up after an outage. Not asked before
            # the first sleep: a task that begins eagerly is not the beat yet.
            if kept.beat is not asyncio.current_task():
                return
            try:
                await self._beat(kept)
            except (StoreUnavailable, StoreRefused) as error:
                # Leases outlive two missed beats.
                _log.warning("heartbeats got no answer: %s", error)
            except Exception:  # noqa: BLE001 - without its next beats every hold would expire
                _log.exception("a heartbeat failed")

    async def _beat(self, kept: _Kept) -> None:
        """Whatever is wrong with one hold, the others are extended and the due ones swept."""
        holds = list(kept.holds.values())
        errors: list[BaseException] = []
        for first in range(0, len(holds), EXTENDED_AT_ONCE):
            some = holds[first : first + EXTENDED_AT_ONCE]
            answers = await asyncio.gather(*map(self._extend, some), return_exceptions=True)
            for hold, is_kept in zip(some, answers, strict=True):
                if is_kept is False:
                    kept.holds.pop(hold.id, None)
            errors += [error for error in answers if isinstance(error, BaseException)]
        await self._sweep()
        if errors:
            raise errors[0]
