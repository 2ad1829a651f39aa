"""Makes a report: from the history, as far as it goes, and from the journal of the store since then."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.bookings import bookings_of
from budget_middleware.core.statuses import Op
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.history.reading import History
from budget_middleware.history.report_reading import ReportHistory
from budget_middleware.opening import retention_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError, StoreUnavailable
from budget_middleware.operations.history import Copied, copied, from_history
from budget_middleware.operations.journal import entries_where, journal_steps
from budget_middleware.operations.reports.adding import Adder, Booked
from budget_middleware.operations.reports.missing import Gaps, Missing
from budget_middleware.operations.reports.past import OnProgress, add_history, missing_in
from budget_middleware.operations.reports.query import ReportQuery, Span, span_of
from budget_middleware.operations.reports.rows import Report
from budget_middleware.operations.reports.windows import Windows
from budget_middleware.operations.values import iso


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
    making = _Making(context, span, Adder(query.by), Windows(query.per, context.settings.timezone))
    past = await from_history(context, lambda history: _add_past(history, making, on_progress))
    try:
        await _add_journal(making, past)
        await _add_refusals(making, past)
    except StoreUnavailable as error:
        if past is None:
            raise
        why = f"the store gives no answer ({' '.join(str(error).split())})"
        since = iso(past.copied.copied_ms) if past.copied else None
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
    """How far the history went. ``copied`` is None where only shards of the ledger, or nothing, was copied."""

    copied: Copied | None
    last_refusal_ms: int


def _add_past(history: History, making: _Making, on_progress: OnProgress) -> _Past:
    namespace = making.context.settings.namespace
    # Before the sums: what is copied meanwhile is read of the journal.
    read, known = ReportHistory(history, namespace), copied(history, namespace)
    add_history(read, making.adder, making.windows, making.span, on_progress)
    making.missing += missing_in(read, making.span)
    making.sources.append("history")
    return _Past(known, read.last_refusal_ms())


async def _add_journal(making: _Making, past: _Past | None) -> None:
    """What the history has not of it; all of it, where there is none."""
    context, span = making.context, making.span
    head, known = await context.store.head(), past.copied if past else None
    is_same = known is not None and known.store_generation == head.generation
    after_seq = known.seq if known and is_same else 0
    gaps: defaultdict[str, Gaps] = defaultdict(lambda: Gaps(span))
    if known and is_same:
        gaps[""] = Gaps(span, bookings=known.bookings, time_ms=known.time_ms)
    replayed = await _replayed(context) if past and not is_same else set[str]()
    has_any = False
    async for step in journal_steps(context.store, after_seq=after_seq):
        has_any = True
        for entry in step:
            gaps[entry.shard].add(entry)
        if step[0].reservation_id not in replayed:
            _add_step(making, step)
    making.missing += [missing for each in gaps.values() for missing in each.missing]
    if has_any or not past:
        making.sources.append("journal")


def _add_step(making: _Making, step: Sequence[Entry]) -> None:
    for booking in bookings_of(step, timezone=making.context.settings.timezone):
        if making.span.since_ms <= booking.booked_ms < making.span.until_ms:
            places = making.adder.places(
                booking.accounts, model=booking.model, provider=booking.provider, kind=booking.kind
            )
            making.adder.add(making.windows.id_at(booking.booked_ms), places, Booked.of(booking))


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
