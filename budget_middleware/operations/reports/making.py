"""Makes a report: from the store's journal and its log of refusals."""

from zoneinfo import ZoneInfo

from budget_middleware.core.bookings import bookings_of
from budget_middleware.core.periods import Period
from budget_middleware.core.windows import FOREVER_MS, window_at
from budget_middleware.opening import retention_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.journal import journal_steps
from budget_middleware.operations.reports.adding import Adder, Booked
from budget_middleware.operations.reports.missing import Gaps, Missing
from budget_middleware.operations.reports.query import ReportQuery, Span, span_of
from budget_middleware.operations.reports.rows import Report
from budget_middleware.operations.values import iso


class Windows:
    """The windows of a report, by their ids."""

    def __init__(self, per: Period | None, timezone: ZoneInfo) -> None:
        self._per = per
        self._timezone = timezone
        self._starts_ms: dict[str, int] = {}

    def id_at(self, time_ms: int) -> str:
        if self._per is None:
            return ""
        window = window_at(self._per, time_ms=time_ms, timezone=self._timezone)
        self._starts_ms[window.id] = window.starts_ms
        return window.id

    @property
    def order(self) -> list[str] | None:
        """All that were asked for, the earliest first; None where all time is one."""
        return None if self._per is None else sorted(self._starts_ms, key=self._starts_ms.__getitem__)


async def make_report(context: OperatorContext, query: ReportQuery) -> Report:
    """OperationError, in one line, for a span of time that is none."""
    zone = context.settings.timezone
    now_ms = (await context.store.head()).now_ms
    try:
        span = span_of(query.moments, now_ms=now_ms, timezone=zone)
    except ValueError as error:
        raise OperationError(str(error)) from None
    adder, windows = Adder(query.by), Windows(query.per, zone)
    missing = [
        *await _add_journal(context, adder, windows, span),
        *await _add_refusals(context, adder, windows, span),
    ]
    return Report(
        since=iso(span.since_ms, zone, timespec="seconds"),
        until=None if span.until_ms >= FOREVER_MS else iso(span.until_ms, zone, timespec="seconds"),
        source="journal",
        rows=adder.rows(windows.order),
        total=adder.total,
        missing=tuple(missing),
        omitted_lines=adder.omitted_lines,
        unknown=adder.unknown,
    )


async def _add_journal(context: OperatorContext, adder: Adder, windows: Windows, span: Span) -> list[Missing]:
    gaps = Gaps(span)
    async for step in journal_steps(context.store):
        for entry in step:
            gaps.add(entry)
        for booking in bookings_of(step, timezone=context.settings.timezone):
            if span.since_ms <= booking.booked_ms < span.until_ms:
                adder.add(windows.id_at(booking.booked_ms), Booked.of(booking))
    return gaps.missing


async def _add_refusals(context: OperatorContext, adder: Adder, windows: Windows, span: Span) -> list[Missing]:
    refusals = await context.store.refusals()
    for refusal in refusals:
        if refusal.is_enforced and span.since_ms <= refusal.time_ms < span.until_ms:
            adder.add_refusals(windows.id_at(refusal.time_ms), refusal.accounts, refusal.model, refusal.times)
    at_most = retention_of(context.settings).refusals_max
    if len(refusals) >= at_most and refusals[0].time_ms > span.since_ms:
        return [Missing(None, iso(refusals[0].time_ms), "refusals", None, f"their log keeps the last {at_most:,}")]
    return []
