"""What a change of limits would do, without doing it: the counters that it concerns, as they would be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from budget_middleware.core.limits.limits import Slot
from budget_middleware.core.limits.patterns import is_open
from budget_middleware.core.payers.accounts import parts_of
from budget_middleware.core.statuses import Status
from budget_middleware.operations.binding import binding_with, read_runtime_limits_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import CountedCounters, read_all_counters, read_counters_of
from budget_middleware.operations.rows import CounterRow
from budget_middleware.stores.records.limit_fields import changed_fields, pack_changes, unpack_limit_value
from budget_middleware.stores.runtime_limits import MORE, LimitKey, LimitValue, RuntimeLimits, SlotChanges

_SHOWN_MAX = 20
_RECENT = 1_000
"""So many of the account's last journal entries tell what its requests have asked for."""


@dataclass(frozen=True, slots=True)
class PreviewedCounter:
    """A counter as it stands, and as it would.

    ``refused`` of the ``recent`` requests that are in its journal asked for more than would be available.
    """

    now: CounterRow
    then: CounterRow
    recent: int
    refused: int

    @property
    def refuses_all(self) -> bool:
        """Whether nothing that costs something would be admitted."""
        return self.then.available is not None and self.then.available.amount <= 0


@dataclass(frozen=True, slots=True)
class LimitsPreview:
    """``changed`` counters would have another limit, and ``exhausted`` of them nothing left; the tightest are shown."""

    account: str
    changed: int
    exhausted: int
    counters: tuple[PreviewedCounter, ...]


async def preview_limits(context: OperatorContext, account: str, changes: SlotChanges) -> LimitsPreview:
    """Of an account, or of all that a pattern names. A pattern reads every counter; an account only its own."""
    is_pattern = any(is_open(subject) for _, subject in parts_of(account))
    if is_pattern:
        now, then = await _of_pattern(context, account, changes)
    else:
        now, then = await _of_account(context, account, changes)
    rows_now = {_counter_of(row): row for row in now}
    changed = [
        (before, after)
        for after in then
        if (before := rows_now.get(_counter_of(after))) is not None and before.limit != after.limit
    ]
    changed.sort(key=lambda rows: _left(rows[1]))
    recent = {} if is_pattern else await _recent_estimates(context, account)
    shown = tuple(_previewed(before, after, recent) for before, after in changed[:_SHOWN_MAX])
    exhausted = sum(after.available is not None and after.available.amount <= 0 for _, after in changed)
    return LimitsPreview(account, len(changed), exhausted, shown)


async def _of_account(
    context: OperatorContext, account: str, changes: SlotChanges
) -> tuple[list[CounterRow], list[CounterRow]]:
    runtime = await read_runtime_limits_of(context, account)
    now = await read_counters_of(context, account, await binding_with(context, runtime))
    then = await read_counters_of(context, account, await binding_with(context, _changed(runtime, account, changes)))
    return now.rows(), _rows_then(now, then)


async def _of_pattern(
    context: OperatorContext, account: str, changes: SlotChanges
) -> tuple[list[CounterRow], list[CounterRow]]:
    runtime = await context.store.limits()
    now = await read_all_counters(context, await binding_with(context, runtime))
    then = await read_all_counters(context, await binding_with(context, _changed(runtime, account, changes)))
    return now.rows(), _rows_then(now, then)


def _rows_then(now: CountedCounters, then: CountedCounters) -> list[CounterRow]:
    """The counters under the new limits, and those that only the new limits name.

    ``then`` was read a moment later, and requests go on. So the figures are those of ``now``: what differs between the
    rows of a counter is its limit alone.
    """
    known = {each.counter for each in now.shown}
    return [then.row_of(each.view) for each in now.shown] + [
        then.row_of(each.view) for each in then.shown if each.counter not in known
    ]


def _changed(runtime: RuntimeLimits, account: str, changes: SlotChanges) -> RuntimeLimits:
    """The limits as a store would have them after the change."""
    limits: dict[LimitKey, LimitValue] = dict(runtime.limits)
    more = limits.get((account, MORE))
    for field, text in changed_fields(more if isinstance(more, str) else "", pack_changes(changes)).items():
        key: LimitKey = (account, field)
        if text:
            limits[key] = unpack_limit_value(key, text)
        else:
            limits.pop(key, None)
    return RuntimeLimits(runtime.version, limits)


async def _recent_estimates(context: OperatorContext, account: str) -> Mapping[Slot, list[int]]:
    estimates: dict[Slot, list[int]] = {}
    for entry in await context.store.latest(count=_RECENT, account=account):
        if entry.status is Status.RESERVED:
            estimates.setdefault(Slot(entry.counter.period, entry.counter.unit), []).append(entry.reserved_delta)
    return estimates


def _previewed(now: CounterRow, then: CounterRow, recent: Mapping[Slot, Iterable[int]]) -> PreviewedCounter:
    estimates = list(recent.get(Slot(now.period, now.unit), ()))
    left = then.available
    refused = 0 if left is None else sum(estimate > max(0, left.amount) for estimate in estimates)
    return PreviewedCounter(now, then, len(estimates), refused)


def _counter_of(row: CounterRow) -> tuple[str, str, str, str]:
    return row.account, row.period, row.window, row.unit


def _left(row: CounterRow) -> tuple[bool, int]:
    """The least that is left first; what has no limit last."""
    return (True, 0) if row.available is None else (False, row.available.amount)
