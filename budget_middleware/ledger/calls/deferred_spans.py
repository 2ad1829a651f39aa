"""Spans whose counter changes are still to be found: their calls got no answer, and the journal has what was applied.

A deferred span waits for any answer, which shows that the store is there. Then the journal is searched from where it
stood when the call began. What is not found may still be applied by a request that is on its way, so the search is
repeated (`retry`, at each heartbeat) until the call is `LATE_S` old.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.statuses import Op, Status
from budget_middleware.ledger.calls.monitor import StoreMonitor
from budget_middleware.ledger.calls.shard_monitors import Monitor
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Telemetry, VerbSpan

JOURNAL_PAGE = 1_000

LATE_S = 60
"""A call that was given up may still be applied so long after; its entries are looked for until then."""


class _Deferred(NamedTuple):
    """A span, and since when it is deferred (on the monotonic clock)."""

    span: VerbSpan
    since_s: float


class DeferredSpans:
    """Records the entries of deferred spans, so that each change of a counter is recorded once.

    ``waiting`` are those that the next answer is to have searched.
    """

    def __init__(self, *, monitor: Monitor, telemetry: Telemetry, tasks: OwnedTasks) -> None:
        self._monitor = monitor
        self._telemetry = telemetry
        self._tasks = tasks
        self.waiting: list[_Deferred] = []
        self._searched: list[_Deferred] = []

    def defer(self, span: VerbSpan) -> None:
        """Let the next answer have the journal searched for the span's entries."""
        if span.is_recording:
            self.waiting.append(_Deferred(span, time.monotonic()))

    def retry(self) -> None:
        """Let the next answer have the journal searched for what was applied since, long after it was given up."""
        searched, self._searched = self._searched, []
        self.waiting += searched

    def export(self) -> None:
        """Search the journal now, in a task of the ledger's own."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            self._tasks.spawn(self._export(waiting))

    async def _export(self, deferred: Sequence[_Deferred]) -> None:
        spans = [each.span for each in deferred]
        found: dict[str, list[Entry]] = {span.trace: [] for span in spans}
        seen = self._monitor.seen
        try:
            for shard, monitor in self._monitor.by_shard().items():
                await self._search(shard, monitor, spans, found)
        except (StoreUnavailable, StoreRefused):
            self.waiting += deferred
            return
        # Of a call to several shards one may show its part, and another only later.
        has_one_journal = "" in self._monitor.by_shard()
        for span, since_s in deferred:
            self._record(span, found[span.trace])
            if not (has_one_journal and found[span.trace]) and time.monotonic() - since_s < LATE_S:
                span.since = seen
                self._searched.append(_Deferred(span, since_s))

    async def _search(
        self, shard: str, monitor: StoreMonitor, spans: Sequence[VerbSpan], found: Mapping[str, list[Entry]]
    ) -> None:
        """Add what one journal has of these spans."""
        # A store that lost writes counts again. Beyond what was seen no answer is owed: others write there.
        lost_ns, until_seq = monitor.lost_ns, monitor.seen.seq
        after_seq = min(0 if span.started_ns <= lost_ns else span.since.seq_in(shard) for span in spans)
        while after_seq < until_seq and (page := await monitor.store.journal(after_seq=after_seq, count=JOURNAL_PAGE)):
            after_seq = page[-1].seq
            for entry in page:
                found.get(entry.trace, []).append(entry._replace(shard=shard) if shard else entry)

    def _record(self, span: VerbSpan, entries: Sequence[Entry]) -> None:
        self._telemetry.spans.record_entries(span, entries)
        if span.op is Op.EXPIRE and entries:
            # Such a span is ended, and so exported, only if it did expire leases.
            self._telemetry.spans.link_expired(span, entries)
            self._telemetry.spans.end(span, Status.EXPIRED)
