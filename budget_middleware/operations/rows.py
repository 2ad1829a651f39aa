"""Rows of counters, holds, journal entries, refusals and limits, the same for the command line and every other face.

A row is made from one record of the core by the function beside it, and written as JSON by `values.as_json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import CounterView, Entry
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import FOREVER_MS, Period, window_named
from budget_middleware.operations.values import (
    NOT_IN_JSON,
    OMITTED,
    Figure,
    Omitted,
    figure,
    ids_of_trace,
    iso,
    trace_url_of,
)


@dataclass(frozen=True, slots=True)
class CounterRow:
    """A counter as it stands, and the limit that binds it now.

    ``limit_pattern`` is what that is set on, omitted where it is the account itself; ``soft`` and ``shadow`` are limits
    that refuse nothing, omitted where there is none; ``terms`` are limits, as written, with alerts, carry or increases.
    """

    account: str
    period: Period
    window: str
    unit: Unit
    limit: Figure | None
    spent: Figure
    reserved: Figure
    available: Figure | None
    resets_at: str | None
    limit_pattern: str | Omitted
    soft: Figure | Omitted
    shadow: Figure | Omitted
    terms: str | Omitted


def counter_row(
    view: CounterView, limits: Mapping[LimitMode, int], timezone: ZoneInfo, *, pattern: str | None, terms: str
) -> CounterRow:
    """``limits`` are those of the counter, by their modes."""
    limit = limits.get(LimitMode.ENFORCE)
    counter, balance = view.counter, view.balance
    unit = counter.unit
    return CounterRow(
        counter.account,
        counter.period,
        counter.window,
        unit,
        limit=figure(limit, unit),
        spent=figure(balance.spent, unit),
        reserved=figure(balance.reserved, unit),
        available=None if limit is None else figure(limit - balance.spent - balance.reserved, unit),
        resets_at=_resets_at(counter.period, counter.window, timezone),
        limit_pattern=pattern if pattern not in (None, counter.account) else OMITTED,
        soft=figure(limits.get(LimitMode.SOFT), unit) or OMITTED,
        shadow=figure(limits.get(LimitMode.SHADOW), unit) or OMITTED,
        terms=terms or OMITTED,
    )


@lru_cache(1_024)
def _resets_at(period: Period, window_id: str, timezone: ZoneInfo) -> str | None:
    try:
        window = window_named(period, window_id, timezone=timezone)
    except ValueError:
        return None  # A window of another BUDGET_TIMEZONE, from before it was changed.
    if window.ends_ms >= FOREVER_MS:
        return None
    return iso(window.ends_ms, timezone, timespec="seconds")


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A journal entry: one change of one counter, and the counter's figures after it. ``shard``: in whose journal."""

    seq: int
    time: str
    op: Op
    reservation_id: str
    account: str
    period: Period
    window: str
    unit: Unit
    spent_delta: Figure
    reserved_delta: Figure
    spent: Figure
    reserved: Figure
    status: Status
    trace_id: str | None
    span_id: str | None
    reason: str
    shard: str | Omitted = field(default=OMITTED, kw_only=True)

    @classmethod
    def of(cls, entry: Entry, **more: Any) -> Self:
        """The row of an entry; ``more`` are the fields that a derived class has besides."""
        trace_id, span_id = ids_of_trace(entry.trace)
        unit = entry.counter.unit
        return cls(
            seq=entry.seq,
            time=iso(entry.time_ms),
            op=entry.op,
            reservation_id=entry.reservation_id,
            account=entry.counter.account,
            period=entry.counter.period,
            window=entry.counter.window,
            unit=unit,
            spent_delta=figure(entry.spent_delta, unit),
            reserved_delta=figure(entry.reserved_delta, unit),
            spent=figure(entry.spent, unit),
            reserved=figure(entry.reserved, unit),
            status=entry.status,
            trace_id=trace_id,
            span_id=span_id,
            reason=entry.reason,
            shard=entry.shard or OMITTED,
            **more,
        )


@dataclass(frozen=True, slots=True)
class LinkedEntryRow(EntryRow):
    """With the link to its trace, where there is a template for links."""

    trace_url: str | Omitted | None


def linked_entry_row(entry: Entry, template: str | None) -> LinkedEntryRow:
    return LinkedEntryRow.of(entry, trace_url=trace_url_of(entry.trace, template))


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A refused reserve, and the figures of the counter that refused it; or the last of ``times`` like it."""

    time: str
    reservation_id: str
    accounts: tuple[str, ...]
    reason: str
    account: str
    period: Period
    window: str
    unit: Unit
    limit: Figure
    spent: Figure
    reserved: Figure
    estimate: Figure
    model: str | None
    enforced: bool
    mode: LimitMode
    times: int
    trace_id: str | None
    trace_url: str | Omitted | None
    shortfall: Figure = field(metadata=NOT_IN_JSON)


def refusal_row(refusal: LoggedRefusal, template: str | None) -> RefusalRow:
    rejection = refusal.rejection
    unit = rejection.target.unit
    return RefusalRow(
        time=iso(refusal.time_ms),
        reservation_id=refusal.reservation_id,
        accounts=refusal.accounts,
        reason="held" if rejection.is_held else "spent",
        account=rejection.target.account,
        period=rejection.target.window.period,
        window=rejection.target.window.id,
        unit=unit,
        limit=figure(rejection.limit, unit),
        spent=figure(rejection.balance.spent, unit),
        reserved=figure(rejection.balance.reserved, unit),
        estimate=figure(rejection.estimate, unit),
        model=refusal.model or None,
        enforced=refusal.is_enforced,
        mode=refusal.mode,
        times=refusal.times,
        trace_id=ids_of_trace(refusal.trace)[0],
        trace_url=trace_url_of(refusal.trace, template),
        shortfall=figure(rejection.shortfall, unit),
    )


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """What an operator's own change did to a counter; figures that it leaves alone are omitted."""

    seq: int
    account: str
    period: Period
    window: str
    unit: Unit
    spent_before: Figure | Omitted
    spent: Figure | Omitted
    reserved_before: Figure | Omitted
    reserved: Figure | Omitted


def changed_row(entry: Entry, *, spent: bool = False, reserved: bool = False) -> ChangedRow:
    unit = entry.counter.unit
    return ChangedRow(
        entry.seq,
        *entry.counter,
        spent_before=figure(entry.spent_before, unit) if spent else OMITTED,
        spent=figure(entry.spent, unit) if spent else OMITTED,
        reserved_before=figure(entry.reserved_before, unit) if reserved else OMITTED,
        reserved=figure(entry.reserved, unit) if reserved else OMITTED,
    )
