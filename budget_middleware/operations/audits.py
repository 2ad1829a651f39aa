"""The audit: checks every counter against its journal and reservations, and repairs differences on request."""

from collections.abc import Callable
from dataclasses import dataclass, field

from budget_middleware.core.answers import Entry
from budget_middleware.core.damage import Damage
from budget_middleware.core.journal.audit import Audit, Drift, Report, joined_reports
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.opening import retention_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.reaching_back import PastJournal, past_journal
from budget_middleware.operations.repairs import fix_of, repair
from budget_middleware.operations.rows import ChangedRow, changed_row
from budget_middleware.operations.values import NOT_IN_JSON, OMITTED, Figure, Omitted, figure, iso
from budget_middleware.stores.base import Store
from budget_middleware.stores.journals import journals_of

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class DriftRow:
    """A figure that is not what explains it."""

    account: str
    period: Period
    window: str
    unit: Unit
    what: str
    expected: Figure
    found: Figure
    seq: int | None


@dataclass(frozen=True, slots=True)
class DamageRow:
    """A record that is not sound, and what to do about it."""

    key: str
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class MendedRow:
    """A record that was made again from others."""

    key: str
    what: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found and what it has proved; ``repaired`` and ``mended`` only where repairs were asked for.

    ``unproved`` counters have no entry in the journal any more, those ``proved_in_part`` add up from their oldest
    entry on; the journal begins at ``journal_since``.
    """

    counters: int
    reservations: int
    drift: tuple[DriftRow, ...]
    damage: tuple[DamageRow, ...]
    unproved: int
    proved_in_part: int
    journal_since: str | None
    repaired: tuple[ChangedRow, ...] | Omitted = OMITTED
    mended: tuple[MendedRow, ...] | Omitted = OMITTED
    journal_since_seq: int | None = field(default=None, metadata=NOT_IN_JSON)
    not_repaired: tuple[str, ...] = field(default=(), metadata=NOT_IN_JSON)

    @property
    def is_clean(self) -> bool:
        return not (self.drift or self.damage)

    @property
    def proved_from_zero(self) -> int:
        return self.counters - self.unproved - self.proved_in_part


@dataclass(frozen=True, slots=True)
class _Repairs:
    repaired: tuple[ChangedRow, ...] | Omitted = OMITTED
    mended: tuple[MendedRow, ...] | Omitted = OMITTED
    not_repaired: tuple[str, ...] = ()


OnRead = Callable[[int, int], object]
"""Called with how many entries of how many of a journal are read."""


async def audit(
    context: OperatorContext, *, repairs: bool = False, with_history: bool = False, on_read: OnRead = lambda *_: None
) -> AuditReport:
    """Hold every counter against its journal and its reservations; with ``repairs`` book what is missing first.

    With the history the journal begins where that does: counters are proved of which the store has dropped entries.
    """
    history = context if with_history and context.settings.history_url else None
    counter_ms = retention_of(context.settings).counter_ms
    done = await _repair(context, counter_ms) if repairs else _Repairs()
    damage = await context.store.damage()
    counters, report, since = await _audited(context.store, counter_ms, history=history, on_read=on_read)
    return AuditReport(
        counters,
        reservations=len(await context.store.holds()),
        drift=tuple(map(_drift_row, report.drift)),
        damage=tuple(map(_damage_row, damage)),
        unproved=report.unproved,
        proved_in_part=report.proved_in_part,
        journal_since=iso(since.time_ms) if since else None,
        repaired=done.repaired,
        mended=done.mended,
        journal_since_seq=since.seq if since else None,
        not_repaired=done.not_repaired,
    )


async def _repair(context: OperatorContext, counter_ms: Callable[[Period], int]) -> _Repairs:
    mended = [found for found in await context.store.damage(mend=True) if found.flaw.is_mendable]
    _, report, _ = await _audited(context.store, counter_ms)
    repaired = await repair(context, report.corrections)
    return _Repairs(
        tuple(changed_row(entry, spent=True, reserved=True) for entry in repaired.entries),
        tuple(MendedRow(found.key, found.flaw) for found in mended),
        repaired.not_repaired,
    )


def _drift_row(drift: Drift) -> DriftRow:
    return DriftRow(
        drift.counter.account,
        drift.counter.period,
        drift.counter.window,
        drift.counter.unit,
        what=drift.check,
        expected=figure(drift.expected, drift.counter.unit),
        found=figure(drift.found, drift.counter.unit),
        seq=drift.seq,
    )


def _damage_row(damage: Damage) -> DamageRow:
    return DamageRow(damage.key, damage.flaw, fix_of(damage))


async def _audited(
    store: Store,
    forgotten_after_ms: Callable[[Period], int],
    *,
    history: OperatorContext | None = None,
    on_read: OnRead = lambda *_: None,
) -> tuple[int, Report, Entry | None]:
    """How many counters there are, what was found, and the oldest entry that was read; of every journal."""
    found: list[tuple[int, Report, Entry | None]] = []
    for name, journal in (await journals_of(store)).items():
        past = await past_journal(history, name, journal) if history else None
        found.append(await _audited_by(journal, forgotten_after_ms, past, on_read))
    counters, reports, oldest = zip(*found, strict=True)
    since = min(filter(None, oldest), key=lambda entry: entry.time_ms, default=None)
    return sum(counters), joined_reports(reports), since


async def _audited_by(
    store: Store, forgotten_after_ms: Callable[[Period], int], past: PastJournal | None, on_read: OnRead
) -> tuple[int, Report, Entry | None]:
    """The same of one journal, and of the counters that it explains."""
    head = await store.head()
    proofs = await store.proofs()

    def begin() -> Audit:
        return Audit(proofs, head_seq=head.seq, now_ms=head.now_ms, forgotten_after_ms=forgotten_after_ms)

    audit, after_seq = begin(), 0
    while past and after_seq < past.until_seq and (page := await past.page(after_seq)):
        audit.add(page)
        after_seq = page[-1].seq
        on_read(after_seq, audit.needed_seq)
    while after_seq < audit.needed_seq and (page := await store.journal(after_seq=after_seq, count=PAGE)):
        if page[0].seq > after_seq + 1 and await _is_trimmed(store, after_seq):
            audit = begin()  # It was trimmed faster than it was read: what came before proves nothing any more.
        audit.add(page)
        after_seq = page[-1].seq
        on_read(after_seq, audit.needed_seq)
    return len(proofs), audit.report(), audit.since


async def _is_trimmed(store: Store, seq: int) -> bool:
    oldest = await store.journal(after_seq=0, count=1)
    return not oldest or oldest[0].seq > seq + 1
