"""What a store's answers tell besides their status: its time, whether it lost writes, and what spans are owed."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from budget_middleware.core.model import Answer
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable
from budget_middleware.telemetry import Attributes, Telemetry, VerbSpan

JOURNAL_PAGE = 1_000

_log = logging.getLogger("budget_middleware")


class Seen(NamedTuple):
    """How far the store was when it last answered."""

    generation: str = ""
    seq: int = 0


class StoreFollower:
    """Follows one store. ``on_loss`` is called when the store has lost writes that it had acknowledged."""

    def __init__(self, store: Store, *, telemetry: Telemetry, tasks: OwnedTasks, on_loss: Callable[[], None]) -> None:
        self._store = store
        self._telemetry = telemetry
        self._tasks = tasks
        self._on_loss = on_loss
        self._clock_offset_ms = 0
        self._untold: list[VerbSpan] = []
        self.seen = Seen()

    def time_ms(self) -> int:
        """The store's clock, as far as its answers told; this process's own before the first."""
        return time.time_ns() // 1_000_000 + self._clock_offset_ms

    def note(self, answer: Answer, span: VerbSpan, *, before: Seen) -> None:
        """Learn from an answer; ``before`` is ``seen`` as it was when the call was sent."""
        self._telemetry.tell(span, answer.entries)
        self._clock_offset_ms = answer.now_ms - time.time_ns() // 1_000_000
        if answer.generation != self.seen.generation:
            has_lost, seq = bool(self.seen.generation), answer.seq
        else:
            # Answers overtake each other: only a seq below what was known before the call tells of lost writes.
            has_lost = answer.generation == before.generation and answer.seq < before.seq
            seq = answer.seq if has_lost else max(answer.seq, self.seen.seq)
        self.seen = Seen(answer.generation, seq)
        if has_lost:
            _log.warning("the store lost writes (now generation %s, seq %d)", answer.generation, answer.seq)
            self._on_loss()
        if self._untold:
            untold, self._untold = self._untold, []
            self._tasks.own(self._tell_from_journal(untold))

    def finish(self, span: VerbSpan, status: str, attributes: Attributes | None = None, *, is_uncertain: bool) -> None:
        """End a verb's span. Uncertain: a call got no answer, so the journal may hold entries that nobody told."""
        self._telemetry.end(span, status, attributes=attributes)
        if is_uncertain:
            self.leave_untold(span)

    def leave_untold(self, span: VerbSpan) -> None:
        if span.is_recording:
            self._untold.append(span)

    async def _tell_from_journal(self, spans: Sequence[VerbSpan]) -> None:
        """Tell the entries of calls whose answer was lost, from the journal that has them all."""
        by_trace = {span.trace: span for span in spans}
        after_seq = min(self.seen.seq, *(span.since_seq for span in spans))
        try:
            while page := await self._store.journal(after_seq=after_seq, count=JOURNAL_PAGE):
                after_seq = page[-1].seq
                for trace in {entry.trace for entry in page} & by_trace.keys():
                    told = [entry for entry in page if entry.trace == trace]
                    self._telemetry.tell(by_trace[trace], told)
        except (StoreUnavailable, StoreRefused):
            self._untold += spans
