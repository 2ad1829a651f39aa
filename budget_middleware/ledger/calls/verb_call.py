"""One call of one verb: what surrounds each call of the store (span, breaker, timing, clock), in one place.

Theory of operation. Reserve, finalize, release, adjust, extend, expire and sweep differ in what they ask, in how often
they try, and in what a failure means. What they have in common is a `VerbCall`:

    call = VerbCall(calls, op, ...)      the span begins; its trace goes into the verb
      await call.ask(store.verb(...))    one attempt, perhaps one of several
        no answer  ->  the call is uncertain: the store may have applied the attempt
        an answer  ->  the metric of the call, the breaker, the changes of counters for the span, the store's clock,
                       generation and seq for the monitor, and now deferred spans can be exported
    call.finish(status)                  the span ends; that of an uncertain call is deferred, until the journal is read
                                         which of its attempts was applied

Whether an attempt without an answer counts as an outage is the caller's to say (`report_outage`): a reserve counts one
for all its attempts, an ending one for each.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.limits.modes import Watch
from budget_middleware.core.statuses import Op, Status
from budget_middleware.ledger.calls.breaker import Breaker
from budget_middleware.ledger.calls.deferred_spans import DeferredSpans
from budget_middleware.ledger.calls.shard_monitors import Monitor
from budget_middleware.ledger.limits.watch import LimitWatch
from budget_middleware.ledger.waiting.room import WaitingRoom
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.telemetry import NO_PROVIDER, SILENT, LazyAttributes, ParentContext, Telemetry, VerbSpan

_EXPIRE = Op.EXPIRE


class VerbCalls:
    """What the calls of one ledger share."""

    def __init__(
        self, *, monitor: Monitor, deferred_spans: DeferredSpans, telemetry: Telemetry, waiting: WaitingRoom
    ) -> None:
        self.breaker = Breaker()
        self.monitor = monitor
        self.deferred_spans = deferred_spans
        self.telemetry = telemetry
        self.waiting = waiting
        self.limit_watch = LimitWatch(telemetry)
        # Hears of calls that have expired leases, with all that they have changed.
        self.on_expired: Callable[[Sequence[Entry]], None] = _do_nothing


class VerbCall:
    """One verb on its way to the store, in one attempt or in several.

    ``is_uncertain``: an attempt got no answer, so it may have been applied. ``began_s`` is when the last attempt began,
    on the monotonic clock; ``status`` what the last one that was answered got. ``watches``: whose alerts an ending may
    set off.
    """

    __slots__ = ("_calls", "began_s", "is_uncertain", "op", "span", "status", "watches")

    def __init__(
        self,
        calls: VerbCalls,
        op: Op,
        *,
        reservation_id: str = "",
        context: ParentContext = None,
        reserve_trace: str = "",
        attributes: LazyAttributes = dict,
    ) -> None:
        self.op = op
        self.span: VerbSpan = SILENT
        if context is not NO_PROVIDER:
            self.span = calls.telemetry.spans.start(
                op,
                reservation_id=reservation_id,
                since=calls.monitor.seen,
                context=context,
                reserve_trace=reserve_trace,
                attributes=attributes,
            )
        self.is_uncertain = False
        self.began_s = 0.0
        self.status: Status | None = None
        self.watches: tuple[Watch, ...] = ()
        self._calls = calls

    async def ask(self, reply: Awaitable[Answer]) -> Answer:
        """One attempt, which begins with this. Raises what the store raises."""
        calls = self._calls
        before, self.began_s = calls.monitor.seen, time.monotonic()
        try:
            answer = await reply
        except (StoreUnavailable, asyncio.CancelledError):
            self.is_uncertain = True
            raise
        now_s, self.status = time.monotonic(), answer.status
        metrics = calls.telemetry.metrics
        if metrics.is_received or (now_s >= metrics.look_at_s and metrics.look(now_s)):
            metrics.count_call(self.op, seconds=now_s - self.began_s)
        calls.breaker.record_answer(now_s)
        if answer.entries:
            calls.telemetry.spans.record_entries(self.span, answer.entries)
            calls.limit_watch.look_for_alerts(answer, self.span, watches=self.watches)
            for entry in answer.entries:
                if entry.op is _EXPIRE:
                    calls.on_expired(answer.entries)
                    break
        calls.monitor.record_reply(answer, before, now_s=now_s)
        if calls.deferred_spans.waiting:
            calls.deferred_spans.export()
        return answer

    def report_outage(self) -> None:
        """The last attempt got no answer from a store that can do the work."""
        self._calls.breaker.record_outage(began_s=self.began_s)

    def finish(self, status: str, attributes: LazyAttributes = dict, *, is_overtaken: bool = False) -> None:
        """End the span. ``is_overtaken``: a copy of the verb may have come first, whose entries nobody got."""
        if self.span.is_recording:
            self._calls.telemetry.spans.end(self.span, status, attributes=attributes)
            if self.is_uncertain or is_overtaken:
                self.defer_span()

    def defer_span(self) -> None:
        """Have the journal searched for what this call wrote, once the store is there."""
        self._calls.deferred_spans.defer(self.span)


def _do_nothing(entries: Sequence[Entry]) -> None:
    """Nobody wants to know."""
