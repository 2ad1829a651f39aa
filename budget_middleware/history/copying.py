"""Copies what one store's journal says into a history, a bounded batch at a time.

Theory of operation. A look asks the store for its head, for a page after the position, for the entry at the mark, and
for its head again: two heads of one generation around a page say whose page it is. What `position` makes of it is
written in one transaction, off the event loop. Refusals and limits are asked for at longer intervals, or when their
version has changed. While the database is away nothing is lost but time: the journal keeps the last BUDGET_JOURNAL_MAX
entries, and whoever has the lease next goes on where the history ends.
"""

import asyncio
import logging
import secrets
from typing import NamedTuple

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.history.falling_back import last_common_position
from budget_middleware.history.limits import limits_as_of
from budget_middleware.history.one_thread import OneThread
from budget_middleware.history.position import FellBack, Position, next_batch
from budget_middleware.history.progress import Progress
from budget_middleware.history.reading import History
from budget_middleware.history.writing import HistoryWriter, Overtaken
from budget_middleware.stores.base import Store

PAGE = 100
"""Of a journal of verbs, a few hundred entries: to read more at once would hold up requests in the same event loop."""

LEASE_MS = 15_000
"""So long a ledger waits for another worker where the one that copied has died."""

RENEW_S = LEASE_MS / 3000

REFUSALS_EVERY_S = 5.0
_REFUSALS_LATE_MS = 60_000
"""A refusal is written some time after it was decided."""

_log = logging.getLogger("budget_middleware")


class Lag(NamedTuple):
    """How far a history is behind its store, in entries and in seconds, as of the last look."""

    entries: int = 0
    seconds: float = 0.0


class Copied(NamedTuple):
    """What one look came to: how many entries were copied, and whether there are more."""

    entries: int
    is_behind: bool


_NOTHING = Copied(0, is_behind=False)
_ABSENT = object()


class Copier:
    """Copies one ledger. ``store`` is any store with a journal, ``owner`` names this process in the lease."""

    def __init__(
        self,
        store: Store,
        writer: HistoryWriter,
        *,
        thread: OneThread | None = None,
        owner: str = "",
        page: int = PAGE,
    ) -> None:
        self.lag = Lag()
        self.has_lease = False
        self._last_seen: Position | None = None
        self._store = store
        self._writer = writer
        self._thread = thread or OneThread()
        self.owner = owner or secrets.token_hex(8)
        self._page = page
        self._renew_at_s = 0.0
        self._refusals_at_s = 0.0

    async def copy_next(self) -> Copied:
        """Copy the next entries, if the lease is ours. Raises what store and database raise.

        Nothing is copied where another process is copying.
        """
        now_s = asyncio.get_running_loop().time()
        if not self.has_lease or now_s >= self._renew_at_s:
            self.has_lease = await self._thread.run(lambda: self._writer.take_lease(self.owner, lease_ms=LEASE_MS))
            self._renew_at_s = now_s + RENEW_S
        if not self.has_lease:
            self.lag, self._last_seen = Lag(), None
            return _NOTHING
        try:
            return await self._copy_next()
        except Overtaken:
            return _NOTHING

    async def copy_all(self) -> int:
        """Copy until nothing is left; how many entries that were."""
        copied = 0
        while True:
            last = await self.copy_next()
            copied += last.entries
            if not last.is_behind:
                return copied

    async def give_up(self) -> None:
        """Let another process go on at once."""
        if self.has_lease:
            self.has_lease = False
            await self._thread.run(lambda: self._writer.give_up_lease(self.owner))

    async def _copy_next(self) -> Copied:
        known = await self._thread.run(self._writer.generations)
        head = await self._store.head()
        progress = known[-1] if known else None
        if progress is None or progress.store_generation != head.generation:
            older = [each for each in known if each.store_generation == head.generation]
            if older:
                # As after a failover and back: it is the store of before, or was until it went on.
                await self._begin_after_fall(older[-1], head, current=known[-1])
                return Copied(0, is_behind=True)
            progress = await self._begin_generation(head, after=progress)
        position = progress.position
        page = await self._store.journal(after_seq=position.seq, count=self._page)
        at_mark = await self._at_mark(position)
        if (await self._store.head()).generation != head.generation:
            return Copied(0, is_behind=True)
        try:
            batch = next_batch(position, page, head_seq=head.seq, at_mark=at_mark)
        except FellBack:
            await self._begin_after_fall(progress, head, current=progress)
            return Copied(0, is_behind=True)
        if batch.missing is not None:
            _log.warning(
                "the history of %s lacks %d bookings before entry %d: %s",
                self._writer.ledger, batch.missing.bookings, batch.missing.before_seq, batch.missing.why,
            )  # fmt: skip
        baseline = await self._store.proofs() if batch.missing else ()
        if batch.steps or head.seq != progress.head_seq:
            before = progress
            progress = await self._thread.run(lambda: self._writer.write(before, batch, head, baseline=baseline))
        progress = await self._copy_limits(progress, head)
        await self._copy_refusals()
        return self._after(progress, head, n_entries=sum(map(len, batch.steps)))

    async def _at_mark(self, position: Position) -> list[Entry]:
        if not position.mark.seq:
            return []
        return list(await self._store.journal(after_seq=position.mark.seq - 1, count=1))

    def _after(self, progress: Progress, head: Answer, *, n_entries: int) -> Copied:
        position = progress.position
        # Where the last page was empty, the seqs up to the head are of what came to nothing.
        self._last_seen = position if n_entries else position._replace(seq=max(position.seq, head.seq))
        self.lag = _lag(self._last_seen, head)
        return Copied(n_entries, is_behind=self.lag.entries > 0)

    async def measure_lag(self) -> None:
        """While the history is away: how far its last known position is behind the store by now."""
        if self._last_seen is not None:
            self.lag = _lag(self._last_seen, await self._store.head())

    async def _begin_generation(self, head: Answer, *, after: Progress | None) -> Progress:
        if after is not None:
            _log.warning(
                "another store answers for %s (generation %s, before it %s): what was written to the lost one after"
                " entry %d may be missing in the history; budget-middleware restore brings back what it has",
                self._writer.ledger, head.generation, after.generation, after.position.seq,
            )  # fmt: skip
        return await self._thread.run(lambda: self._writer.begin_generation(head, after=after))

    async def _begin_after_fall(self, progress: Progress, head: Answer, *, current: Progress) -> None:
        common = await last_common_position(
            self._store,
            lambda after_seq, count: self._thread.run(
                lambda: History(self._writer.database).journal(
                    self._writer.ledger, progress.generation, after_seq=after_seq, count=count
                )
            ),
            until_seq=progress.position.seq,
        )
        proofs = await self._store.proofs()
        begun = await self._thread.run(
            lambda: self._writer.begin_after_fall(head, common, after=progress, current=current, proofs=proofs)
        )
        _log.warning(
            "the store of %s lost writes that are in the history: its entries after %d are other ones now, and are"
            " kept as generation %s",
            self._writer.ledger, common.seq, begun.generation,
        )  # fmt: skip

    async def _copy_limits(self, progress: Progress, head: Answer) -> Progress:
        if head.limits_version == progress.limits_version:
            return progress
        writer = self._writer
        known = await self._thread.run(lambda: limits_as_of(writer.database, writer.ledger, number=progress.number))
        news = await self._store.limit_news((), since_version=progress.limits_version)
        if news.changed is None:
            runtime = await self._store.limits()
            version, values = runtime.version, dict(runtime.limits)
            keys = {*values, *(known if progress.limits_version >= 0 else ())}
        else:
            version, values, keys = news.version, dict(news.limits), set(news.changed)
        changes = {key: values[key] for key in keys if key in values and known.get(key, _ABSENT) != values[key]}
        gone = [key for key in keys if key not in values and key in known]
        return await self._thread.run(
            lambda: writer.write_limits(progress, changes, gone, version=version, now_ms=head.now_ms)
        )

    async def _copy_refusals(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s < self._refusals_at_s:
            return
        self._refusals_at_s = now_s + REFUSALS_EVERY_S
        last_ms = await self._thread.run(self._writer.last_refusal_ms)
        refusals = await self._store.refusals(since_ms=max(0, last_ms - _REFUSALS_LATE_MS))
        if refusals:
            await self._thread.run(lambda: self._writer.write_refusals(refusals))


def _lag(position: Position, head: Answer) -> Lag:
    entries = max(0, head.seq - position.seq)
    return Lag(entries, max(0, head.now_ms - position.time_ms) / 1000 if entries else 0.0)
