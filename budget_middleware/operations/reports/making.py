"""Makes a report: from the history, as far as it goes, and from the journal of the store since then."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.bookings import bookings_of
from budget_middleware.core.statuses import Op
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.history.booking_rows import MIGRATED_REASON, RESTORE_REASON
from budget_middleware.history.ledgers import ledger_of
from budget_middleware.history.reading import History
from budget_middleware.history.report_reading import ReportHistory
from budget_middleware.opening import retention_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError, StoreUnavailable
from budget_middleware.operations.history import Copied, copied, from_history
from budget_middleware.operations.journal import entries_where, steps_in
from budget_middleware.operations.reports.adding import Adder, Booked
from budget_middleware.operations.reports.missing import Gaps, Missing
from budget_middleware.operations.reports.past import OnProgress, add_history, missing_in
from budget_middleware.operations.reports.query import ReportQuery, Span, span_of
from budget_middleware.operations.reports.rows import Report
from budget_middleware.operations.reports.windows import Windows
from budget_middleware.operations.values import iso
from budget_middleware.stores.journals import journals_of


@dataclass(slots=True)
class _Making:
    """What is found, and from where."""

    context: OperatorContext
    span: Span
    adder: Adder
    windows: Windows
    sources: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


async def make_report(
    context: OperatorContext, query: ReportQuery, on_progress: OnProgress = lambda *_: None
) -> Report:
    """OperationError, in one line, for a span of time that is none."""
    span = await _span(context, query)
    shards = context.settings.shard_by
    adder = Adder(query.by, sharded_by=shards.kind if shards else "")
    making = _Making(context, span, adder, Windows(query.per, context.settings.timezone))
    past = await from_history(context, lambda history: _add_past(history, making, on_progress))
    try:
        await _add_journals(making, past)
        await _add_refusals(making, past)
    except StoreUnavailable as error:
        if past is None:
            raise
        why = f"the store gives no answer ({' '.join(str(error).split())})"
        since = None if past.copied_ms is None else iso(past.copied_ms)
        making.missing.append(Missing(since, None, "bookings", None, why))
    return _report(making)


async def _span(context: OperatorContext, query: ReportQuery) -> Span:
    try:
        now_ms = (await context.store.head()).now_ms
    except StoreUnavailable:
        if not context.settings.history_url:
            raise
        now_ms = time.time_ns() // 1_000_000
    try:
        return span_of(query.moments, now_ms=now_ms, timezone=context.settings.timezone)
    except ValueError as error:
        raise OperationError(str(error)) from None


class _Past(NamedTuple):
    """How far the history went, by ledger."""

    copied: Mapping[str, Copied]
    last_refusal_ms: int

    @property
    def copied_ms(self) -> int | None:
        return min((each.copied_ms for each in self.copied.values()), default=None)


def _add_past(history: History, making: _Making, on_progress: OnProgress) -> _Past:
    # Before the sums: what is copied meanwhile is read of the journal.
    read = ReportHistory(history, making.context.settings.namespace)
    known = {ledger: found for ledger in read.ledgers if (found := copied(history, ledger))}
    add_history(read, making.adder, making.windows, making.span, on_progress)
    making.missing += missing_in(read, making.span)
    making.sources.append("history")
    return _Past(known, read.last_refusal_ms())


async def _add_journals(making: _Making, past: _Past | None) -> None:
    """What the history has not of them; all of them, where there is none."""
    replayed: set[str] | None = None
    has_any = False
    for name, journal in (await journals_of(making.context.store)).items():
        head, known = await journal.head(), None
        brought: tuple[str, ...] = (RESTORE_REASON,)
        if past and (found := past.copied.get(ledger_of(making.context.settings.namespace, name))):
            known = found if found.store_generation == head.generation else None
            brought += () if known and known.number == 1 else (MIGRATED_REASON,)
        if past and known is None and replayed is None:
            replayed = await _replayed(making.context)
        gaps = Gaps(making.span, bookings=known.bookings, time_ms=known.time_ms) if known else Gaps(making.span)
        async for step in steps_in(journal, name, after_seq=known.seq if known else 0):
            has_any = True
            for entry in step:
                gaps.add(entry)
            # What a restore or a migration books the history has already, of the store before this one.
            is_brought = past is not None and step[0].reason.startswith(brought)
            if not is_brought and (known or step[0].reservation_id not in (replayed or ())):
                _add_step(making, step)
        making.missing += gaps.missing
    if has_any or not past:
        making.sources.append("journal")


def _add_step(making: _Making, step: Sequence[Entry]) -> None:
    adder, is_sharded = making.adder, bool(step[0].shard)
    for booking in bookings_of(step, timezone=making.context.settings.timezone):
        if making.span.since_ms <= booking.booked_ms < making.span.until_ms:
            kind, window = booking.kind, making.windows.id_at(booking.booked_ms)
            places = adder.places(booking.accounts, model=booking.model, provider=booking.provider, kind=kind)
            if is_sharded and adder.is_other_part(booking.accounts, kind, has_bill=bool(step[0].bill)):
                adder.add_other_part(window, places, Booked.of(booking))
            else:
                adder.add(window, places, Booked.of(booking))


async def _replayed(context: OperatorContext) -> set[str]:
    """After a loss workers send the endings of the last minutes again, which the history has of the lost store."""
    entries = await entries_where(context.store, lambda entry: entry.op is Op.FINALIZE)
    ids, namespace = list({entry.reservation_id for entry in entries}), context.settings.namespace
    return await from_history(context, lambda history: ReportHistory(history, namespace).finalized(ids)) or set()


async def _add_refusals(making: _Making, past: _Past | None) -> None:
    settings, span = making.context.settings, making.span
    copied_until_ms = past.last_refusal_ms if past else 0
    refusals = await making.context.store.refusals(since_ms=copied_until_ms)
    for refusal in refusals:
        if refusal.is_enforced and max(span.since_ms, copied_until_ms + 1) <= refusal.time_ms < span.until_ms:
            places = making.adder.places(refusal.accounts, model=refusal.model, provider="", kind=None)
            making.adder.add_refusals(making.windows.id_at(refusal.time_ms), places, refusal.times)
    at_most = retention_of(settings).refusals_max
    if len(refusals) >= at_most and refusals[0].time_ms > max(span.since_ms, copied_until_ms + 1):
        why = f"their log keeps the last {at_most:,}"
        until = iso(refusals[0].time_ms)
        making.missing.append(Missing(iso(copied_until_ms) if past else None, until, "refusals", None, why))


def _report(making: _Making) -> Report:
    zone, span, adder = making.context.settings.timezone, making.span, making.adder
    return Report(
        since=iso(span.since_ms, zone, timespec="seconds"),
        until=None if span.until_ms >= FOREVER_MS else iso(span.until_ms, zone, timespec="seconds"),
        source=" and the ".join(making.sources),
        rows=adder.rows(making.windows.order),
        total=adder.total,
        missing=tuple(making.missing),
        omitted_lines=adder.omitted_lines,
        unknown=adder.unknown,
    )
