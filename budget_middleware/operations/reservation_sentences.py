"""Tells what happened to a reservation, in a sentence for each event."""

from collections.abc import Sequence

from budget_middleware.core.units import Unit
from budget_middleware.operations.reservation_explanation import ReservationEvent
from budget_middleware.operations.rows import EntryRow, RefusalRow
from budget_middleware.operations.values import format_amount
from budget_middleware.operations.wording import counted, why_refused


def event_sentence(event: ReservationEvent) -> str:
    """What a verb changed, or why it was refused."""
    return _refused(event.event) if isinstance(event.event, RefusalRow) else _changed(event.event)


def _changed(verb: Sequence[EntryRow]) -> str:
    why = f" ({verb[0].reason})" if verb[0].reason else ""
    of_units = [[each for each in verb if each.unit is unit] for unit in Unit]
    return f"{verb[0].status}{why}: {'; '.join(_changed_alike(entries) for entries in of_units if entries)}"


def _changed_alike(entries: Sequence[EntryRow]) -> str:
    """What a verb did to all its counters of one unit, the same to each."""
    on = ", ".join(f"{each.account} {each.period} {each.window}" for each in entries)
    amounts = [
        f"{name} {'' if amount.startswith('-') else '+'}{format_amount(amount)}"
        for name, amount in (("spent", entries[0].spent_delta), ("reserved", entries[0].reserved_delta))
        if not amount.is_nothing
    ]
    return f"{', '.join(amounts) or 'no amount'} on {on}"


def _refused(row: RefusalRow) -> str:
    others = f"; it stands for {counted(row.times, 'refusal')} like it" if row.times > 1 else ""
    return f"refused ({row.reason}): estimate {format_amount(row.estimate)}, {why_refused(row)}{others}"
