"""The history of a ledger: how far it was copied and what it lacks, and copying it in a process of one's own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from budget_middleware.databases.errors import DatabaseFault
from budget_middleware.history.connections import open_database
from budget_middleware.history.copiers import Copiers
from budget_middleware.history.one_thread import OneThread
from budget_middleware.history.position import Why
from budget_middleware.history.reading import Extent, Gap, open_history
from budget_middleware.opening import history_follower_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.values import NOT_IN_JSON, iso

_WHY = {
    Why.BEGUN_LATE: "the journal had begun before the history",
    Why.TRIMMED: "the journal dropped them before they were copied",
    Why.STORE_GONE: "the store was gone before its last entries were copied",
    Why.STORE_FELL_BACK: "the store fell back to an earlier state, and does not have them any more",
}


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """A generation of the store; ``behind`` is how many entries were not copied when it was last asked."""

    ledger: str
    generation: str
    first_entry: str | None
    last_entry: str | None
    last_seq: int
    behind: int
    copied_at: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class GapRow:
    """Entries that the history does not have; None where nobody knows how many, or until which."""

    ledger: str
    generation: str
    after_seq: int
    before_seq: int | None
    bookings: int | None
    found_at: str
    why: str


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """All generations of a ledger, the oldest first, and all gaps."""

    generations: tuple[GenerationRow, ...]
    gaps: tuple[GapRow, ...]
    namespace: str = field(default="", metadata=NOT_IN_JSON)


def require_history(context: OperatorContext) -> str:
    """The URL of the history; OperationError where the settings name none."""
    if not context.settings.history_url:
        raise OperationError("BUDGET_HISTORY_URL is not set: there is no history; set it as the gateways have it")
    return context.settings.history_url


@contextmanager
def history_faults_named() -> Iterator[None]:
    """OperationError, in one line, where the database of the history cannot be used."""
    try:
        yield
    except DatabaseFault as error:
        raise OperationError(f"BUDGET_HISTORY_URL: {error}") from None


def history_report(context: OperatorContext) -> HistoryReport:
    """How far the history is, as far as it knows itself; it blocks. OperationError where it cannot be read."""
    url = require_history(context)
    with history_faults_named(), open_history(url) as history:
        ledgers = [ledger for ledger in history.ledgers() if _is_of(ledger, context.settings.namespace)]
        return HistoryReport(
            tuple(_generation_row(ledger, each) for ledger in ledgers for each in history.extents(ledger)),
            tuple(_gap_row(ledger, gap) for ledger in ledgers for gap in history.gaps(ledger)),
            context.settings.namespace,
        )


def _is_of(ledger: str, namespace: str) -> bool:
    """Shards are ledgers of their own."""
    return ledger == namespace or ledger.startswith(f"{namespace}/")


def _generation_row(ledger: str, extent: Extent) -> GenerationRow:
    return GenerationRow(
        ledger,
        extent.generation,
        first_entry=None if extent.first_ms is None else iso(extent.first_ms),
        last_entry=iso(extent.last_ms) if extent.last_seq else None,
        last_seq=extent.last_seq,
        behind=max(0, extent.head_seq - extent.last_seq),
        copied_at=iso(extent.copied_ms),
        is_current=extent.is_current,
    )


def _gap_row(ledger: str, gap: Gap) -> GapRow:
    why = _WHY[Why(gap.why)]
    return GapRow(ledger, gap.generation, gap.after_seq, gap.before_seq, gap.bookings, iso(gap.found_ms), why)


async def copy_history(context: OperatorContext) -> int:
    """Copy what the history lacks, now; how many entries that were. None are copied while a worker has the lease."""
    url, settings, thread = require_history(context), context.settings, OneThread()
    try:
        with closing(thread), history_faults_named():
            database = await thread.open(lambda: open_database(url))
            copiers = Copiers(
                context.store, database, namespace=settings.namespace, timezone=settings.timezone, thread=thread
            )
            n_copied, is_behind = 0, True
            while is_behind:
                copied = await copiers.copy_next()
                n_copied, is_behind = n_copied + copied.entries, copied.is_behind
            await copiers.give_up()
    finally:
        await thread.is_over()
    return n_copied


async def follow_history(
    context: OperatorContext, *, pause: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Copy as a gateway does, until this is cancelled."""
    require_history(context)
    follower = history_follower_of(context.settings, context.store)
    assert follower is not None, "there is a history"
    try:
        while True:
            await pause(await follower.look())
    finally:
        await follower.stop(timeout_s=1.0)
