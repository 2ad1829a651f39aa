"""Repairs what an audit found: books journal entries for wrong figures, and says what to do about lost records."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from budget_middleware.core.answers import Entry
from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.core.journal.audit import Correction
from budget_middleware.core.model import Counter, Target
from budget_middleware.core.statuses import Op
from budget_middleware.core.units import figure_number
from budget_middleware.core.verbs import Repair
from budget_middleware.core.windows import Window, window_named
from budget_middleware.ledger.calls.attempts import until_decided
from budget_middleware.opening import operators_timeout_s
from budget_middleware.operations.binding import read_limits
from budget_middleware.operations.context import OperatorContext
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.runtime_limits import MORE
from budget_middleware.telemetry import names

REASON = "audit"

_LATEST = 1_000
_REPAIR = "budget-middleware audit --repair"


def fix_of(damage: Damage) -> str:
    """What an operator has to do about a damaged record, in one line."""
    key, _, inner = damage.key.partition(" ")
    name = key.rpartition("}:")[2]
    if damage.flaw.is_mendable:
        return f"run {_REPAIR}"
    if damage.flaw is Flaw.FOREIGN:
        return f"no ledger wrote it: DEL {key}, or give its owner another prefix"
    if name in ("entries", "voided") and inner:
        return f"ZREMRANGEBYSCORE {key} {inner} {inner}: what was booked stays in the counters"
    if name == "refusals":
        return f"XDEL {key} {inner}: no figure hangs on it" if inner else f"DEL {key}: no figure hangs on it"
    field, _, words = inner.partition(" ")
    if name == "limits" and words and field.endswith(f"|{MORE}"):
        account = quote(field.removesuffix(f"|{MORE}"))
        return f"upgrade if a newer version set it; else limit clear {account} and set its limits again"
    if name == "limits" and inner:
        return f"HDEL {key} {quote(inner)}, then set the limit again: it does not bind"
    if name.startswith("limits_"):
        return f"DEL {key}: it is made anew from the limits"
    if name == "meta" and damage.flaw is Flaw.UNREADABLE:
        return f"HDEL {key} seq limits_version: the journal shows how far it was"
    return f"DEL {key}, then run {_REPAIR}"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What repairs have booked, and in a line each why a counter was left alone: its record is damaged."""

    entries: tuple[Entry, ...]
    not_repaired: tuple[str, ...]


async def repair(context: OperatorContext, corrections: Iterable[Correction]) -> Repaired:
    """Lead each counter to what explains it."""
    limits = await read_limits(context)
    entries: list[Entry] = []
    not_repaired: list[str] = []
    for correction in corrections:
        counter = correction.counter
        account, period, window, unit = counter
        target = Target(account, window_of(counter, context), limits.limit(counter), unit)
        try:
            entries += await _book(context, target, correction)
        except StoreRefused as error:
            not_repaired.append(f"{account} {period} {window}: {error}")
    return Repaired(tuple(entries), tuple(not_repaired))


async def _book(context: OperatorContext, target: Target, correction: Correction) -> tuple[Entry, ...]:
    """One repair, its span, and the entries of it: none if somebody was faster."""
    id_ = secrets.token_hex(16)
    amount_name = names.in_unit(names.AMOUNT_USD, target.unit)
    attributes: names.Attributes = {
        amount_name: figure_number(correction.spent, target.unit),
        names.REASON: REASON,
    }
    span = context.ledger.telemetry.spans.start(Op.ADJUST, reservation_id=id_, attributes=lambda: attributes)
    verb = Repair(id_, target, correction.spent, correction.found_at_seq, trace=span.trace, reason=REASON)
    status: str = names.UNPROTECTED
    try:
        answer = await until_decided(
            lambda: context.store.repair(verb), time_limit=SharedTimeout(operators_timeout_s(context.settings))
        )
        status = answer.status
        entries = answer.entries or await _written_before(context, id_)
        context.ledger.telemetry.spans.record_entries(span, entries)
    finally:
        context.ledger.telemetry.spans.end(span, status)
    return entries


async def _written_before(context: OperatorContext, id_: str) -> tuple[Entry, ...]:
    """The id is this call's own, so an attempt whose answer was lost may have booked it."""
    latest = await context.store.latest(count=_LATEST)
    return tuple(entry for entry in latest if entry.reservation_id == id_)


def window_of(counter: Counter, context: OperatorContext) -> Window:
    """The counter's window; of another BUDGET_TIMEZONE, one that is over: it is kept from now on."""
    try:
        return window_named(counter.period, counter.window, timezone=context.settings.timezone)
    except ValueError:
        return Window(counter.period, counter.window, starts_ms=0, ends_ms=0)
