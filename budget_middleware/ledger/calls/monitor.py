"""Tracks the clock offset of one store and whether it lost writes, reply by reply.

Theory of operation. Each reply carries the store's time, its generation (a random word that a store makes when it is
empty) and its seq, the number of its last journal entry. From these the monitor derives

- the store's clock: the offset of the last reply is added to this process's own clock;
- a loss by its figures: another generation, or a seq below what had been seen before the call began. Replies overtake
  each other, so a seq that is only lower than the newest one means nothing;
- a loss that figures cannot show: a server that fell back to a replica's state, and was written to by others since,
  looks as before. But it was silent while it fell back. So the monitor remembers the last entry that was acknowledged
  before each silence (`Mark`), and each heartbeat checks that the journal still has it, with the same time. An entry
  that may be voided can also be dropped for a good reason. Then the last lasting entry before it is remembered too: the
  first may be lost while the second is not, and the second is proof where the first was dropped.

            finalized  released       silence         reply
    ───────────┴──────────┴────────────────────────────┴──────>
               └──────────┴ unconfirmed: are these entries still there?

The monitor only detects a loss; what to do about it is up to ``on_loss``.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context

from msgspec import Struct

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.statuses import Status
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable

SILENCE_S = 0.5
"""A store that is replaced by its replica gives no answer for at least so long."""

UNCONFIRMED_MAX = 64

_MAY_BE_VOIDED = frozenset({Status.RESERVED, Status.RELEASED})
"""Entries of a reservation that comes to nothing are dropped early: that such a one is gone proves no loss."""

_log = logging.getLogger("budget_middleware")


class StorePosition(Struct, frozen=True, gc=False):
    """How far the store was when it last answered."""

    generation: str = ""
    seq: int = 0

    def seq_in(self, shard: str) -> int:  # noqa: ARG002 - see ShardPositions
        """How far the journal was; this store has no shards."""
        return self.seq


class Mark(Struct, frozen=True, order=True, gc=False):
    """The last entry that a call wrote: its seq, and its time, which one written after a failover will not have.

    One that is lasting stays until the journal is trimmed, which it is from its old end only.
    """

    seq: int
    time_ms: int
    is_lasting: bool


class StoreMonitor:
    """Monitors one store. ``on_loss`` is called when the store has lost writes that it had acknowledged.

    ``seen`` is how far the store was at its last reply, ``lost_ns`` when a loss was last noticed (on this process's
    clock; 0: never).
    """

    def __init__(self, store: Store, *, tasks: OwnedTasks, on_loss: Callable[[], None]) -> None:
        self.seen = StorePosition()
        self.lost_ns = 0
        self.store = store
        self._tasks = tasks
        self._on_loss = on_loss
        self._clock_offset_ms = 0
        self._replied_s = 0.0
        self._latest: Mark | None = None
        self._latest_lasting: Mark | None = None
        self._may_have_lost = False
        # Those after which there was silence: no store falls back without one.
        self._unconfirmed: deque[Mark] = deque(maxlen=UNCONFIRMED_MAX)

    def by_shard(self) -> "Mapping[str, StoreMonitor]":
        """The only one: this store has no shards."""
        return {"": self}

    def time_ms(self) -> int:
        """The store's clock, by its last reply; this process's own before the first."""
        return time.time_ns() // 1_000_000 + self._clock_offset_ms

    def record_reply(self, answer: Answer, before: StorePosition, *, now_s: float) -> None:
        """Learn from a reply. ``before`` is what had been seen when its call began."""
        self._clock_offset_ms = answer.now_ms - time.time_ns() // 1_000_000
        seen = self.seen
        if answer.generation != seen.generation:
            # A late answer of a generation that is over looks like another loss. So it is treated: what it acknowledged
            # is gone too, and the next answer of the living one has it sent again.
            self.seen = StorePosition(answer.generation, answer.seq)
            has_lost = bool(seen.generation)
        else:
            # Answers overtake each other: only a seq below what was known before the call proves lost writes. What
            # this call itself wrote would hide them, so it does not count.
            found_seq = answer.seq - answer.written
            has_lost = found_seq < before.seq and found_seq < seen.seq and before.generation == seen.generation
            if answer.seq > seen.seq or has_lost:
                self.seen = StorePosition(seen.generation, answer.seq)
        if has_lost:
            self._record_loss()
        if answer.written:
            self._remember(Mark(answer.seq, answer.now_ms, answer.status not in _MAY_BE_VOIDED), now_s)

    def _remember(self, mark: Mark, now_s: float) -> None:
        if now_s - self._replied_s > SILENCE_S:
            self._unconfirmed.extend(latest for latest in self._latest_marks() if latest not in self._unconfirmed)
        self._replied_s = now_s
        # Replies overtake each other: the latest is the one of the highest seq.
        if self._latest is None or mark > self._latest:
            self._latest = mark
        if mark.is_lasting and (self._latest_lasting is None or mark > self._latest_lasting):
            self._latest_lasting = mark

    def _latest_marks(self) -> list[Mark]:
        """The last entry that was acknowledged, and before it the last lasting one if that is another."""
        return [mark for mark in dict.fromkeys((self._latest_lasting, self._latest)) if mark is not None]

    def _record_loss(self) -> None:
        self.lost_ns = time.time_ns()
        self._latest = self._latest_lasting = None
        self._unconfirmed.clear()
        _log.warning("the store lost writes (now generation %s, seq %d)", self.seen.generation, self.seen.seq)
        # In a context of its own: the request that happened to notice is nobody's parent.
        Context().run(self._on_loss)

    def learn_latest(self, answer: Answer) -> None:
        """After an acknowledgement without entries: read the last entry, by which a loss can be detected."""
        self._tasks.spawn(self._learn(answer.seq, answer.now_ms))

    async def _learn(self, seq: int, now_ms: int) -> None:
        page: Sequence[Entry] = ()
        with suppress(StoreUnavailable, StoreRefused):
            page = await self.store.journal(after_seq=seq - 1, count=1)
        if not page or page[0].time_ms > now_ms:
            # No answer, or a later entry. What was acknowledged may be lost, and no other mark would show it.
            self._may_have_lost = True
        elif self._latest is None or page[0].seq > self._latest.seq:
            mark = Mark(page[0].seq, page[0].time_ms, page[0].may_book)
            self._remember(mark, time.monotonic())

    async def look_for_loss(self) -> None:
        """Check that the journal still has the marked entries: the last ones before each silence.

        Raises StoreUnavailable or StoreRefused.
        """
        if self._may_have_lost:
            self._may_have_lost = False
            _log.info("the store may have lost writes")
            self._on_loss()
        for mark in (*self._unconfirmed, *self._latest_marks()):
            if not await self._is_in_journal(mark):
                self._record_loss()
                return
            if mark in self._unconfirmed:
                self._unconfirmed.remove(mark)

    async def _is_in_journal(self, mark: Mark) -> bool:
        """Whether nothing shows that the entry was lost."""
        page = await self.store.journal(after_seq=mark.seq - 1, count=1)
        if page and page[0].seq == mark.seq:
            return page[0].time_ms == mark.time_ms
        # It is gone. A later one is the oldest that is left: the journal was trimmed.
        return bool(page) or not mark.is_lasting
