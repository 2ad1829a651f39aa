"""The journal of the memory store: a record for each step of a verb, made into entries for those who read them."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

from budget_middleware.core.model import Entry, Op, Status
from budget_middleware.stores.packing import unpack_targets

_PER_COUNTER = 4

_last_seq = itemgetter(0)


class Step(NamedTuple):
    """What one step wrote, as texts and numbers alone: many are kept, and a full garbage collection looks at each other
    object of theirs.

    For each of the targets there are four figures: what it gained of *spent* and of *reserved*, and both after it.
    """

    last_seq: int
    time_ms: int
    op: str
    reservation_id: str
    status: str
    trace: str
    reserve_trace: str
    reason: str
    targets: str
    figures: tuple[int, ...]

    def entries(self) -> Iterator[Entry]:
        """One for each counter, oldest first."""
        targets, op, status = unpack_targets(self.targets), Op(self.op), Status(self.status)
        rows = zip(targets, zip(*[iter(self.figures)] * _PER_COUNTER, strict=True), strict=True)
        for seq, (target, figures) in enumerate(rows, start=self.last_seq - len(targets) + 1):
            spent_delta_nanos, reserved_delta_nanos, spent_nanos, reserved_nanos = figures
            yield Entry(
                seq=seq,
                time_ms=self.time_ms,
                op=op,
                reservation_id=self.reservation_id,
                counter=target.counter,
                spent_delta_nanos=spent_delta_nanos,
                reserved_delta_nanos=reserved_delta_nanos,
                spent_nanos=spent_nanos,
                reserved_nanos=reserved_nanos,
                limit_nanos=target.limit_nanos,
                status=status,
                trace=self.trace,
                reserve_trace=self.reserve_trace,
                reason=self.reason,
            )


class Journal:
    """The last ``at_most`` entries."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        # Each is a Step as a plain tuple: at those of texts and numbers the garbage collector looks but once.
        self._steps: deque[tuple[Any, ...]] = deque()

    def append(self, step: Step) -> None:
        self._steps.append(tuple(step))
        while self._steps and _last_seq(self._steps[0]) <= step.last_seq - self._at_most:
            self._steps.popleft()

    def after(self, seq: int) -> Iterator[Entry]:
        """Those after an entry, oldest first."""
        after_seq = max(seq, self._trimmed_seq)
        first = bisect_right(self._steps, after_seq, key=_last_seq)
        for step in map(Step._make, islice(self._steps, first, None)):
            yield from (entry for entry in step.entries() if entry.seq > after_seq)

    def backwards(self) -> Iterator[Entry]:
        """All of them, the last one first."""
        trimmed_seq = self._trimmed_seq
        for step in map(Step._make, reversed(self._steps)):
            yield from (entry for entry in reversed([*step.entries()]) if entry.seq > trimmed_seq)

    @property
    def _trimmed_seq(self) -> int:
        """The last entry that is kept no more; of a step that wrote several some may be."""
        return _last_seq(self._steps[-1]) - self._at_most if self._steps else 0
