"""Writes the history's tables as files, each month (or day) of BUDGET_TIMEZONE in a folder of its own.

    DIR/bookings/month=2026-11/part-0.parquet

A part is always written whole, in place of an earlier one: the same export again, or one of the last two months each
night, leaves every row once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budget_middleware.core.periods import Period
from budget_middleware.core.windows import Window, window_at
from budget_middleware.history.export_tables import TABLES, ExportTable
from budget_middleware.history.reading import History
from budget_middleware.history.report_reading import ReportHistory
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.exporting.parquet_files import PORTION, PartWriter, load_pyarrow
from budget_middleware.operations.history import reading
from budget_middleware.operations.reports.query import Moments, Span, span_of
from budget_middleware.settings import Settings

OnExported = Callable[[int, int], object]
"""Called with how many rows of how many are written."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A table that was written: so many rows, in so many files."""

    table: str
    rows: int
    files: int


def parse_partition(text: str) -> Period:
    """ValueError, in one line, for what no export is parted by."""
    if text not in (Period.DAY, Period.MONTH):
        raise ValueError(f"{text[:40]!r}: accepted: day, month")
    return Period(text)


def export_history(
    settings: Settings, folder: Path, *, per: Period, moments: Moments, on_exported: OnExported = lambda *_: None
) -> list[Exported]:
    """Write all that was booked, changed and refused in a span of time, in whole days or months.

    OperationError, in one line, where there is no history, no pyarrow, or no room. It blocks.
    """
    if not settings.history_url:
        raise OperationError("an export is of the history: set BUDGET_HISTORY_URL to the one that gateways write")
    arrow = load_pyarrow()
    span = _span(settings, moments)
    try:
        with reading(settings) as history:
            export = _Export(arrow, history, settings, span, per, on_exported)
            return [export.write(table, folder) for table in TABLES]
    except OSError as error:
        raise OperationError(f"{folder}: {error.strerror or error}; what was written before is whole") from None


def _span(settings: Settings, moments: Moments) -> Span:
    since = Moments(moments.since or "1971-01-01", moments.until)
    try:
        return span_of(since, now_ms=time.time_ns() // 1_000_000, timezone=settings.timezone)
    except ValueError as error:
        raise OperationError(str(error)) from None


class _Export:
    def __init__(  # noqa: PLR0917 - what is the same for all tables
        self, arrow: Any, history: History, settings: Settings, span: Span, per: Period, on_exported: OnExported
    ) -> None:
        self._arrow = arrow
        self._history = history
        self._ledgers = ReportHistory(history, settings.namespace).ledgers
        self._timezone = settings.timezone
        self._span = span
        self._per = per
        self._on_exported = on_exported
        self._total = sum(self._count(table) for table in TABLES)
        self._done = 0

    def _count(self, table: ExportTable) -> int:
        span = self._span.since_ms, self._span.until_ms
        return sum(int(self._history.fetch(table.select_count, (ledger, *span))[0][0]) for ledger in self._ledgers)

    def write(self, table: ExportTable, folder: Path) -> Exported:
        n_rows = n_files = 0
        for part in self._parts(table):
            path = folder / table.name / f"{self._per}={part.id}"
            with _part(PartWriter(self._arrow, table, path)) as writer:
                for ledger in self._ledgers:
                    for row in self._rows(table, ledger, part):
                        writer.add(row)
            n_rows, n_files = n_rows + writer.n_rows, n_files + 1
        return Exported(table.name, n_rows, n_files)

    def _parts(self, table: ExportTable) -> Iterator[Window]:
        """The days or months of which there is anything in the span, the earliest first: each is written whole.

        Half a month must not take the place of a whole one.
        """
        since_ms = self._span.since_ms
        while (next_ms := self._next_ms(table, since_ms)) is not None and next_ms < self._span.until_ms:
            part = window_at(self._per, time_ms=next_ms, timezone=self._timezone)
            yield part
            since_ms = part.ends_ms

    def _next_ms(self, table: ExportTable, since_ms: int) -> int | None:
        found = [self._history.fetch(table.select_next, (ledger, since_ms))[0][0] for ledger in self._ledgers]
        return min((int(ms) for ms in found if ms is not None), default=None)

    def _rows(self, table: ExportTable, ledger: str, part: Window) -> Iterator[Sequence[Any]]:
        for row in self._history.stream(table.select, (ledger, part.starts_ms, part.ends_ms)):
            yield row[1:]
            self._done += 1
            if self._done % PORTION == 0:
                self._on_exported(min(self._done, self._total), self._total)


@contextmanager
def _part(writer: PartWriter) -> Iterator[PartWriter]:
    try:
        yield writer
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
