"""The live holds of this process: their heartbeats, their longest life, and the wait for their ends at a shutdown.

A hold is live from its reserve to its ending, also while the store is away or has already expired it. A heartbeat
extends the leases of live holds and sweeps everybody's leases that are over. Before that it asks two questions of each
hold: is it older than BUDGET_MAX_HOLD_S, and has its request waited for the client for BUDGET_IDLE_HOLD_S? Such a hold
is ended by its owner's abort rule. One timer does all of this for an event loop; a request adds nothing to it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context

from budget_middleware.core.costs.charges import End
from budget_middleware.core.units import format_amounts
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.ledger.holds.hold import Hold, LiveHolds
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.telemetry.traceparent import log_ids

EXTENDED_AT_ONCE = 32

_log = logging.getLogger("budget_middleware")


class LeaseKeeper:
    """Extends live holds and sweeps, every ``every_s`` seconds; it starts with the first hold of an event loop.

    ``extend`` returns whether the hold still has its lease. A hold that is older than ``max_hold_s``, or has waited
    for its client for ``idle_hold_s``, is ended at the next beat.
    """

    def __init__(
        self,
        *,
        every_s: float,
        extend: Callable[[Hold], Awaitable[bool]],
        sweep: Callable[[], Awaitable[None]],
        max_hold_s: float = math.inf,
        idle_hold_s: float = math.inf,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        # Holds are not to outlive their bounds by much, however long leases are.
        self._every_s = min(every_s, max_hold_s / 2, idle_hold_s / 2)
        self._max_hold_s = max_hold_s
        self._idle_hold_s = idle_hold_s
        self._clock_s = clock_s
        self._extend = extend
        self._sweep = sweep
        self._live = PerEventLoop(LiveHolds)

    def add(self, hold: Hold) -> None:
        """A hold is live from now on; whether there is a lease to extend is not known yet."""
        live = hold.live_among = self._live.current()
        live.holds[hold.id] = hold

    def start_extending(self, hold: Hold) -> None:
        """A live hold has a lease: extend it from now on."""
        hold.is_leased = True
        live = hold.live_among = hold.live_among or self._live.current()
        live.holds[hold.id] = hold
        if live.beat is None:
            self._start(live)

    def start(self) -> None:
        """Begin to beat in this event loop, if that has not begun."""
        live = self._live.current()
        if live.beat is None:
            self._start(live)

    def _start(self, live: LiveHolds) -> None:
        # In a context of its own: the first request's span is not the parent of all that expires later.
        live.beat = asyncio.get_running_loop().create_task(self._beat_forever(live), context=Context())
        live.beat.add_done_callback(live.forget_beat)

    def drop(self, hold: Hold) -> None:
        """A hold is not live any more: its ending has begun, or nothing was reserved."""
        live = hold.live_among
        if live is None:
            return
        live.holds.pop(hold.id, None)
        if live.all_ended is not None and not live.holds:
            live.all_ended.set()

    def report(self, *, because: str) -> None:
        """Log each live hold of this event loop, where none can be waited for."""
        for hold in self._live.current().holds.values():
            _log.warning(
                "%s of %s is in flight; if it is cut off, it is held until its lease expires: %s",
                hold.id,
                format_amounts(hold.held),
                because,
                extra=log_ids(hold.id, hold.reserve_trace),
            )

    async def end_all(self, *, timeout_s: float) -> None:
        """Wait until the live holds of this event loop have ended, then end the rest by their abort rules."""
        live = self._live.current()
        try:
            if live.holds:
                live.all_ended = asyncio.Event()
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await live.all_ended.wait()
        finally:
            # Also if the server cancels the wait.
            live.all_ended = None
            for hold in list(live.holds.values()):
                live.holds.pop(hold.id, None)
                _end(hold, End.SHUTDOWN, because=f"still in flight {timeout_s:g} s after the shutdown began")

    def oldest_s(self) -> float:
        """The age of the oldest live hold, 0 if there is none; any thread may ask."""
        firsts = [hold for live in self._live.values() for hold in list(live.holds.values())[:1]]
        return max((time.monotonic() - hold.since_s for hold in firsts), default=0.0)

    async def stop(self) -> None:
        """Stop the heartbeat of this event loop."""
        live = self._live.current()
        beat, live.beat = live.beat, None
        if beat is not None:
            beat.cancel()
            await asyncio.wait({beat})

    async def _beat_forever(self, live: LiveHolds) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            # A cancellation alone may be swallowed by a driver that is cleaning up after an outage. Not asked before
            # the first sleep: a task that begins eagerly is not the beat yet.
            if live.beat is not asyncio.current_task():
                return
            try:
                await self._beat(live)
            except (StoreUnavailable, StoreRefused) as error:
                # Leases outlive two missed beats.
                _log.warning("heartbeats got no answer: %s", error)
            except Exception:  # noqa: BLE001 - without its next beats every hold would expire
                _log.exception("a heartbeat failed")

    async def _beat(self, live: LiveHolds) -> None:
        """Whatever is wrong with one hold, the others are extended and the due ones swept."""
        self._end_overdue(live)
        holds = [hold for hold in live.holds.values() if hold.is_leased]
        errors: list[BaseException] = []
        for first in range(0, len(holds), EXTENDED_AT_ONCE):
            some = holds[first : first + EXTENDED_AT_ONCE]
            answers = await asyncio.gather(*map(self._extend, some), return_exceptions=True)
            for hold, is_kept in zip(some, answers, strict=True):
                if is_kept is False:
                    # Its request goes on, and its ending is still owed.
                    hold.is_leased = False
            errors += [error for error in answers if isinstance(error, BaseException)]
        await self._sweep()
        if errors:
            raise errors[0]

    def _end_overdue(self, live: LiveHolds) -> None:
        now_s = self._clock_s()
        for hold in list(live.holds.values()):
            is_too_old = now_s - hold.since_s >= self._max_hold_s
            if is_too_old and (hold.is_leased or hold.abort is not None):
                # Without an owner to end it, it comes back with its lease.
                hold.is_leased = False
                _end(hold, End.TOO_LONG, because=f"older than BUDGET_MAX_HOLD_S={self._max_hold_s:g}")
            elif _waited_s(hold, now_s) >= self._idle_hold_s:
                _end(hold, End.IDLE, because=f"its client took and sent nothing for {self._idle_hold_s:g} s")


def _waited_s(hold: Hold, now_s: float) -> float:
    """For how long its client has been waited for; less than nothing if it is not."""
    since_s = hold.client_waited_for_since_s
    return -math.inf if since_s is None else now_s - since_s


def _end(hold: Hold, end: End, *, because: str) -> None:
    """End a hold by its owner's abort rule, and say so; a hold without such a rule is left to its lease."""
    ids = log_ids(hold.id, hold.reserve_trace)
    amount = format_amounts(hold.held)
    if hold.abort is None:
        _log.error(
            "%s of %s has no owner that could end it, so it is held until its lease expires: %s",
            hold.id,
            amount,
            because,
            extra=ids,
        )
        return
    _log.warning("%s of %s is ended by its abort rule: %s", hold.id, amount, because, extra=ids)
    try:
        hold.abort(end)
    except Exception:  # noqa: BLE001 - the others are still to be ended
        _log.exception("%s of %s could not be ended", hold.id, amount, extra=ids)
