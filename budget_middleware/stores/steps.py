"""The journal of the memory store: a record for each step of a verb, made into entries for those who read them."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from budget_middleware.core.model import Entry, Op, Status, Target

Change = Target | int
"""In a row for each counter: its target, what it gained of *spent* and of *reserved*, and both figures after it."""

_PER_COUNTER = 5


class Step(NamedTuple):
    """What one step wrote. Flat, because many are kept, and the garbage collector looks at every object of each."""

    last_seq: int
    time_ms: int
    op: Op
    reservation_id: str
    status: Status
    trace: str
    reserve_trace: str
    reason: str
    changes: tuple[Change, ...]

    def entries(self) -> Iterator[Entry]:
        """One for each counter, oldest first."""
        rows = list(zip(*[iter(self.changes)] * _PER_COUNTER, strict=True))
        for seq, row in enumerate(rows, start=self.last_seq - len(rows) + 1):
            target, spent_delta_nanos, reserved_delta_nanos, spent_nanos, reserved_nanos = row
            yield Entry(
                seq=seq,
                time_ms=self.time_ms,
                op=self.op,
                reservation_id=self.reservation_id,
                counter=target.counter,
                spent_delta_nanos=spent_delta_nanos,
                reserved_delta_nanos=reserved_delta_nanos,
                spent_nanos=spent_nanos,
                reserved_nanos=reserved_nanos,
                limit_nanos=target.limit_nanos,
                status=self.status,
                trace=self.trace,
                reserve_trace=self.reserve_trace,
                reason=self.reason,
            )


class Journal:
    """The last ``at_most`` entries."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._steps: deque[Step] = deque()

    def append(self, step: Step) -> None:
        self._steps.append(step)
        while self._steps and self._steps[0].last_seq <= step.last_seq - self._at_most:
            self._steps.popleft()

    def after(self, seq: int) -> Iterator[Entry]:
        """Those after an entry, oldest first."""
        after_seq = max(seq, self._trimmed_seq)
        first = bisect_right(self._steps, after_seq, key=attrgetter("last_seq"))
        for step in islice(self._steps, first, None):
            yield from (entry for entry in step.entries() if entry.seq > after_seq)

    def backwards(self) -> Iterator[Entry]:
        """All of them, the last one first."""
        trimmed_seq = self._trimmed_seq
        for step in reversed(self._steps):
            yield from (entry for entry in reversed([*step.entries()]) if entry.seq > trimmed_seq)

    @property
    def _trimmed_seq(self) -> int:
        """The last entry that is kept no more; of a step that wrote several some may be."""
        return self._steps[-1].last_seq - self._at_most if self._steps else 0
