"""One migration, from the first copy to the proof."""

import asyncio
from dataclasses import dataclass, field

from budget_middleware.core.answers import Answer
from budget_middleware.opening import retention_of
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.migrating.alone import alone
from budget_middleware.operations.migrating.counters import CounterCopy
from budget_middleware.operations.migrating.endings import EndingCopy, released_in
from budget_middleware.operations.migrating.facts import FactCopy
from budget_middleware.operations.migrating.following import Journals
from budget_middleware.operations.migrating.holds import HoldCopy
from budget_middleware.operations.migrating.limits import LimitCopy
from budget_middleware.operations.migrating.own_use import OwnUse
from budget_middleware.operations.migrating.progress import OnProgress, Phase, Progress
from budget_middleware.operations.migrating.proof import MigrationReport, prove
from budget_middleware.operations.migrating.renaming import Renaming
from budget_middleware.operations.migrating.sides import Side, check_sides, open_sides
from budget_middleware.operations.migrating.tickets import TicketMove

ROUND_S = 0.25
"""How often the source is looked at: what it books shows at the destination so much later at most, if it keeps up."""
_SHOWN_UNKNOWN = 5
_JOURNAL_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Migration:
    """What is asked for. It ends once the source has been quiet for ``quiet_s``.

    ``is_merge``: the destination may be in use already.
    ``keeps_unknown_keys``: keys without a token keep the names that the old secret gave them, else they are refused.
    """

    from_url: str
    to_url: str
    from_namespace: str | None = None
    to_namespace: str | None = None
    from_shard_by: str | None = None
    to_shard_by: str | None = None
    renaming: Renaming = field(default_factory=Renaming)
    keeps_unknown_keys: bool = False
    is_merge: bool = False
    quiet_s: float = 120.0


async def migrate(asked: Migration, *, on_progress: OnProgress = lambda _: None) -> MigrationReport:
    """Move a ledger, and prove it. OperationError, in one line, for what cannot be moved.

    It may be cut off at any time and started again with the same arguments.
    """
    async with open_sides(
        asked.from_url,
        asked.to_url,
        from_namespace=asked.from_namespace,
        to_namespace=asked.to_namespace,
        from_shard_by=asked.from_shard_by,
        to_shard_by=asked.to_shard_by,
    ) as (source, destination):
        await _require_tokens(asked, source)
        heads = await check_sides(source, destination, is_merge=asked.is_merge)
        async with alone(destination):
            return await _Mover(asked, source, destination, heads.source, on_progress).run()


async def _require_tokens(asked: Migration, source: Side) -> None:
    """OperationError for keys that have no token, before anything is written."""
    for counter in await source.ask(source.store.counters, patience_s=0):
        asked.renaming.account(counter.counter.account)
    for pattern, _ in (await source.ask(source.store.limits)).limits:
        asked.renaming.account(pattern)
    unknown = sorted(asked.renaming.unknown)
    if unknown and not asked.keeps_unknown_keys:
        more = f" and {len(unknown) - _SHOWN_UNKNOWN} more" if len(unknown) > _SHOWN_UNKNOWN else ""
        raise OperationError(
            f"no token was given for {', '.join(unknown[:_SHOWN_UNKNOWN])}{more}; add their tokens, or let them keep"
            " these names, under which no request will find them"
        )


class _Mover:
    """A migration under way."""

    def __init__(
        self, asked: Migration, source: Side, destination: Side, head: Answer, on_progress: OnProgress
    ) -> None:
        self._journals = Journals([])
        self._asked = asked
        self._source = source
        self._destination = destination
        self._on_progress = on_progress
        self._remembered_ms = retention_of(destination.settings).remember_ms
        renaming = asked.renaming
        self._counters = CounterCopy(source, destination, renaming, generation=head.generation, on_progress=on_progress)
        self._endings = EndingCopy(destination, self._counters)
        self._holds = HoldCopy(destination, renaming)
        self._tickets = TicketMove(source, destination, renaming)
        self._facts = FactCopy(source, destination)
        self._limits = LimitCopy(source, destination, renaming)
        self._own_use = OwnUse(source, destination, renaming, self._counters)
        self._released: set[str] = set()
        self._recounts = 0
        self._quiet_since: float | None = None

    async def run(self) -> MigrationReport:
        self._journals = await Journals.of(self._source)
        await self._limits.copy(version=(await self._source.ask(self._source.store.head)).limits_version)
        await self._copy_endings()
        await self._holds.give_back_strays(self._source)
        await self._tickets.end_strays()
        await self._facts.copy()
        await self._counters.copy_all(Phase.COPYING)
        await self._own_use.count_anew()
        while True:
            await self._follow_until_quiet()
            if await self._tickets.hand_over(await self._source.ask(self._source.store.holds)):
                continue  # That they were released is news.
            await self._facts.copy()
            # What came in between was news, after all.
            if not await self._counters.copy_all(Phase.PROVING):
                await self._own_use.give_back()
                return await self._report()

    async def _copy_endings(self) -> None:
        """Those that the journal has already. A destination with shards learns by them which accounts pay together."""
        head = await self._source.ask(self._source.store.head)
        for _ in range(_JOURNAL_ROUNDS):
            async for page in self._journals.pages():
                await self._endings.copy(page, since_ms=head.now_ms - self._remembered_ms)
            if self._journals.are_read_to_their_ends:
                break
        # All counters are read next.
        self._journals.take_lack()

    async def _follow_until_quiet(self) -> None:
        clock = asyncio.get_running_loop().time
        self._quiet_since = None
        while True:
            is_quiet, n_holds = await self._follow()
            if not is_quiet:
                self._quiet_since = None
            elif self._quiet_since is None:
                self._quiet_since = clock()
            quiet_s = 0.0 if self._quiet_since is None else clock() - self._quiet_since
            self._on_progress(Progress(Phase.FOLLOWING, entries=self._journals.entries, holds=n_holds, quiet_s=quiet_s))
            if is_quiet and quiet_s >= self._asked.quiet_s:
                return
            if self._journals.are_read_to_their_ends:
                await asyncio.sleep(ROUND_S)

    async def _follow(self) -> tuple[bool, int]:
        """One round; whether the source was quiet, and how much is pending there.

        Holds are read before the journal: what has ended in between is counted twice for a round, never not at all.
        """
        source, is_ours = self._source, self._own_use.is_ours
        await source.ask(source.ledger.sweep)
        pending = await source.ask(source.store.holds)
        await self._own_use.give_back_strays(pending)
        holds = [hold for hold in pending if not is_ours(hold.id)]
        head = await source.ask(source.store.head)
        await self._journals.require_same()
        await self._limits.copy(version=head.limits_version)
        await self._holds.copy(holds)
        is_quiet = not await self._tickets.without_tickets(holds)
        async for page in self._journals.pages():
            is_quiet = is_quiet and all(is_ours(entry.reservation_id) for entry in page)
            await self._counters.copy_entries(page)
            await self._endings.copy(page, since_ms=head.now_ms - self._remembered_ms)
            self._released |= released_in(page)
        if self._journals.take_lack():
            self._recounts += 1
            await self._counters.copy_all(Phase.COPYING)
        if self._journals.are_read_to_their_ends:
            await self._holds.give_back(holds, released=self._released)
            self._released.clear()
        await self._follow_destination()
        return is_quiet, len(holds)

    async def _follow_destination(self) -> None:
        destination, copies = self._destination, self._holds.ids
        holds = await destination.ask(destination.store.holds)
        await self._own_use.follow([hold for hold in holds if hold.id not in copies])

    async def _report(self) -> MigrationReport:
        rows = await prove(self._destination, self._counters)
        return MigrationReport(
            counters=rows,
            limits=self._limits.patterns,
            unequal_limits=await self._limits.unequal(),
            unproved=sum(row.own is None for row in rows),
            unrenamed=tuple(sorted(self._asked.renaming.unknown)),
            recounts=self._recounts,
            entries=self._journals.entries,
        )
