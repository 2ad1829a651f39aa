"""The journal of the memory store: a record for each step of a verb, made into entries for those who read them."""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

from budget_middleware.core.model import Entry, Op, Status, may_book
from budget_middleware.stores.packing import booking_numbers, split_bill, unpack_targets

_PER_COUNTER = 4

_last_seq = itemgetter(0)
_entries_kept = itemgetter(-1)


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
    bookings: int
    entries_kept: int

    def entries(self) -> Iterator[Entry]:
        """One for each counter, oldest first."""
        targets, op, status = unpack_targets(self.targets), Op(self.op), Status(self.status)
        bookings = booking_numbers(op, status, len(targets), last=self.bookings)
        reason, bill = split_bill(self.reason)
        rows = zip(targets, zip(*[iter(self.figures)] * _PER_COUNTER, strict=True), bookings, strict=True)
        for seq, (target, figures, booking) in enumerate(rows, start=self.last_seq - len(targets) + 1):
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
                reason=reason,
                bookings=booking,
                bill=bill,
            )


class Journal:
    """The last ``at_most`` entries, and some of reservations that came to nothing.

    Whole steps are dropped, so some entries more are kept. A reservation that is released has changed no *spent*: its
    two steps leave the others for a short list of their own, ``voided``, so that whoever makes many of them pushes
    nothing else out.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        # Each is a Step as a plain tuple: at those of texts and numbers the garbage collector looks but once.
        self._steps: deque[tuple[Any, ...]] = deque()
        self._voided: deque[tuple[Any, ...]] = deque()
        self._voided_max = max(2, at_most // 20)
        self._seq = 0
        self._bookings = 0
        self._entries_kept = 0

    @property
    def last_seq(self) -> int:
        return self._seq

    def write(self, *, op: Op, status: Status, reserved_at: int | None = None, **told: Any) -> Step:
        """Append a step; a release names the last seq of its reserve, if that wrote a step."""
        count = len(told["figures"]) // _PER_COUNTER
        is_void = status is Status.RELEASED
        self._seq += count
        self._entries_kept += 0 if is_void else count
        self._bookings += count if may_book(op, status) else 0
        step = Step(
            last_seq=self._seq,
            op=op.value,
            status=status.value,
            bookings=self._bookings,
            entries_kept=self._entries_kept,
            **told,
        )
        if is_void:
            self._void(tuple(step), reserved_at)
        else:
            self._steps.append(tuple(step))
            self._trim()
        return step

    def _trim(self) -> None:
        while _entries_kept(self._steps[0]) <= self._entries_kept - self._at_most:
            self._steps.popleft()

    def _void(self, released: tuple[Any, ...], reserved_at: int | None) -> None:
        at = bisect_left(self._steps, reserved_at or 0, key=_last_seq)
        if at < len(self._steps) and _last_seq(self._steps[at]) == reserved_at:
            reserve = self._steps[at]
            del self._steps[at]
            self._entries_kept -= len(Step._make(reserve).figures) // _PER_COUNTER
            insort(self._voided, reserve, key=_last_seq)
        self._voided.append(released)
        while len(self._voided) > self._voided_max:
            self._voided.popleft()

    def forget_voided(self) -> None:
        self._voided.clear()

    def after(self, seq: int) -> Iterator[Entry]:
        """Those after an entry, oldest first."""
        kept, voided = (
            islice(steps, bisect_right(steps, seq, key=_last_seq), None) for steps in (self._steps, self._voided)
        )
        for step in map(Step._make, merge(kept, voided, key=_last_seq)):
            yield from (entry for entry in step.entries() if entry.seq > seq)

    def backwards(self) -> Iterator[Entry]:
        """All of them, the last one first."""
        newest_first = merge(reversed(self._steps), reversed(self._voided), key=_last_seq, reverse=True)
        for step in map(Step._make, newest_first):
            yield from reversed([*step.entries()])
