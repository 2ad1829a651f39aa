"""What a store's answers tell besides their status: its time, whether it lost writes, and what spans are owed."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from typing import NamedTuple

from budget_middleware.core.model import Answer, Entry, Op, Status
from budget_middleware.ledger.breaker import Breaker
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Telemetry, Told, VerbSpan

JOURNAL_PAGE = 1_000

SILENCE_S = 0.5
"""A store that is replaced by its replica gives no answer for at least so long."""

DOUBTED_MAX = 64

LATE_S = 60
"""A call that was given up may still be applied so long after; its entries are looked for until then."""

_MAY_BE_DROPPED = frozenset({Status.RESERVED, Status.RELEASED})
"""A released reservation leaves the journal early, so that its entries are gone proves no loss."""

_log = logging.getLogger("budget_middleware")


class Seen(NamedTuple):
    """How far the store was when it last answered."""

    generation: str = ""
    seq: int = 0


class Mark(NamedTuple):
    """The last entry that a call wrote: its seq, and its time, which one written after a failover will not have."""

    seq: int
    time_ms: int


class Call(NamedTuple):
    """A call to the store as it begins: what had been seen before, and when it was (on the monotonic clock)."""

    op: Op
    before: Seen
    began_s: float


class _Untold(NamedTuple):
    """A span whose entries are to be looked for in the journal, and since when (on the monotonic clock)."""

    span: VerbSpan
    since_s: float


class StoreFollower:
    """Follows one store. ``on_loss`` is called when the store has lost writes that it had acknowledged."""

    def __init__(self, store: Store, *, telemetry: Telemetry, tasks: OwnedTasks, on_loss: Callable[[], None]) -> None:
        self.breaker = Breaker()
        self._store = store
        self._telemetry = telemetry
        self._tasks = tasks
        self._on_loss = on_loss
        self._clock_offset_ms = 0
        self._lost_ns = 0
        self._told_s = 0.0
        self._latest: Mark | None = None
        self._may_have_lost = False
        # Those after which there was silence: no store falls back without one.
        self._doubted: deque[Mark] = deque(maxlen=DOUBTED_MAX)
        self._untold: list[_Untold] = []
        self._searched: list[_Untold] = []
        self.seen = Seen()

    def time_ms(self) -> int:
        """The store's clock, as far as its answers told; this process's own before the first."""
        return time.time_ns() // 1_000_000 + self._clock_offset_ms

    def call(self, op: Op) -> Call:
        """To be taken just before the store is asked. Heartbeats and sweeps are calls that may expire."""
        return Call(op, self.seen, time.monotonic())

    def note(self, answer: Answer, span: VerbSpan, call: Call) -> None:
        """Learn from the answer to a call."""
        now_s = time.monotonic()
        self._telemetry.metrics.count_call(call.op, seconds=now_s - call.began_s)
        self.breaker.note_answer()
        if answer.entries:
            self._telemetry.spans.tell(span, answer.entries)
        self._clock_offset_ms = answer.now_ms - time.time_ns() // 1_000_000
        if self._follow(answer, call.before):
            self._note_loss()
        if answer.written:
            self._remember(Mark(answer.seq, answer.now_ms), now_s, is_lasting=answer.status not in _MAY_BE_DROPPED)
        self.tell_untold()

    def _remember(self, mark: Mark, now_s: float, *, is_lasting: bool) -> None:
        if self._latest is not None and now_s - self._told_s > SILENCE_S and self._latest not in self._doubted:
            self._doubted.append(self._latest)
        self._latest, self._told_s = mark if is_lasting else self._latest, now_s

    def learn_latest(self, answer: Answer) -> None:
        """After an acknowledgement that told no entry: read the one that stood last, by which a loss can be known."""
        self._tasks.own(self._learn(answer.seq, answer.now_ms))

    async def _learn(self, seq: int, now_ms: int) -> None:
        page: Sequence[Entry] = ()
        with suppress(StoreUnavailable, StoreRefused):
            page = await self._store.journal(after_seq=seq - 1, count=1)
        if not page or page[0].time_ms > now_ms:
            # No answer, or what was written there since. What was acknowledged may be lost, and nothing else will tell.
            self._may_have_lost = True
        elif self._latest is None or page[0].seq > self._latest.seq:
            mark = Mark(page[0].seq, page[0].time_ms)
            self._remember(mark, time.monotonic(), is_lasting=page[0].may_book)

    async def look_for_loss(self) -> None:
        """See whether the entries that answers told are still in the journal: the last one before each silence.

        A store that fell back to what a replica had, and has been written to by others since, looks as before to
        every call. Raises StoreUnavailable or StoreRefused.
        """
        if self._may_have_lost:
            self._may_have_lost = False
            _log.info("the store may have lost writes")
            self._on_loss()
        for mark in (*self._doubted, self._latest):
            if mark is None:
                continue
            if not await self._is_kept(mark):
                self._note_loss()
                return
            if mark in self._doubted:
                self._doubted.remove(mark)

    async def _is_kept(self, mark: Mark) -> bool:
        page = await self._store.journal(after_seq=mark.seq - 1, count=1)
        # A later one is the oldest that is left: the journal was trimmed.
        return bool(page) and (page[0].seq > mark.seq or page[0].time_ms == mark.time_ms)

    def _note_loss(self) -> None:
        self._lost_ns = time.time_ns()
        self._latest = None
        self._doubted.clear()
        _log.warning("the store lost writes (now generation %s, seq %d)", self.seen.generation, self.seen.seq)
        # In a context of its own: the request that happened to notice is nobody's parent.
        Context().run(self._on_loss)

    def _follow(self, answer: Answer, before: Seen) -> bool:
        """Remember how far the store is; True: it has lost writes.

        A late answer of a generation that is over looks like another loss. So it is treated: what it
        acknowledged is gone too, and the next answer of the living one has it sent again.
        """
        seen = self.seen
        if answer.generation != seen.generation:
            self.seen = Seen(answer.generation, answer.seq)
            return bool(seen.generation)
        # Answers overtake each other: only a seq below what was known before the call tells of lost writes. What
        # this call itself wrote would hide them, so it does not count.
        found_seq = answer.seq - answer.written
        has_lost = found_seq < before.seq and found_seq < seen.seq and before.generation == seen.generation
        if answer.seq > seen.seq or has_lost:
            self.seen = Seen(seen.generation, answer.seq)
        return has_lost

    def finish(self, span: VerbSpan, status: str, told: Told = dict, *, is_uncertain: bool) -> None:
        """End a verb's span. Uncertain: a call got no answer, so the journal may hold entries that nobody told."""
        if span.is_recording:
            self._telemetry.spans.end(span, status, told=told)
        if is_uncertain:
            self.leave_untold(span)

    def leave_untold(self, span: VerbSpan) -> None:
        """Let the next answer, which shows that the store is there, have the journal searched for its entries."""
        if span.is_recording:
            self._untold.append(_Untold(span, time.monotonic()))

    def look_again(self) -> None:
        """Let the next answer have the journal searched for what was applied since, long after it was given up."""
        searched, self._searched = self._searched, []
        self._untold += searched

    def tell_untold(self) -> None:
        """Search the journal now, in a task of the ledger's own."""
        if self._untold:
            untold, self._untold = self._untold, []
            self._tasks.own(self._tell_from_journal(untold))

    async def _tell_from_journal(self, untold: Sequence[_Untold]) -> None:
        """Tell the entries of calls whose answer was lost, from the journal that has them all."""
        spans = [each.span for each in untold]
        found: dict[str, list[Entry]] = {span.trace: [] for span in spans}
        # A store that lost writes counts anew. Beyond what was seen no answer is owed: others write there.
        after_seq = min(0 if span.started_ns <= self._lost_ns else span.since_seq for span in spans)
        until_seq = self.seen.seq
        try:
            while after_seq < until_seq and (
                page := await self._store.journal(after_seq=after_seq, count=JOURNAL_PAGE)
            ):
                after_seq = page[-1].seq
                for entry in page:
                    found.get(entry.trace, []).append(entry)
        except (StoreUnavailable, StoreRefused):
            self._untold += untold
            return
        for span, since_s in untold:
            self._tell_late(span, found[span.trace])
            if not found[span.trace] and time.monotonic() - since_s < LATE_S:
                span.since_seq = until_seq
                self._searched.append(_Untold(span, since_s))

    def _tell_late(self, span: VerbSpan, entries: Sequence[Entry]) -> None:
        self._telemetry.spans.tell(span, entries)
        if span.op is Op.EXPIRE and entries:
            # Such a span is ended, and so exported, only if it did expire leases.
            self._telemetry.spans.link_expired(span, entries)
            self._telemetry.spans.end(span, Status.EXPIRED)
