"""A bill as people and programs read it: a row for each class, and a sum that is exactly what was booked."""

from collections.abc import Iterator
from typing import Final

from budget_middleware.cli.output import Row, Table, say, usd
from budget_middleware.core.bill import AmountKind, BillLine, ItemizedBill
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.pricing import Unit
from budget_middleware.core.usage import FIELD_BESIDE

_FEMTOS_PER_USD: Final = 10**15
_MILLION: Final = 1_000_000
_HOUR_MS: Final = 3_600_000
_TOKENS: Final = frozenset(Unit) - FIELD_BESIDE.keys() - {Unit.REQUEST}
_NOTES: Final = {
    AmountKind.GATEWAY_COST: "The gateway's own cost, from a header, was believed: what was used is only counted.",
    AmountKind.PROVIDER_COST: "The provider's own cost, from the answer, was believed: what was used is only counted.",
    AmountKind.ESTIMATE: "Booked at the estimate: no usage was seen.",
    AmountKind.HIDDEN_OUTPUT: "No usage was seen, and some output cannot be counted: raised to the estimate.",
    AmountKind.EXPECTED_INPUT: "Booked at the expected input: no usage was seen before the call was cut off.",
}
_BELIEVED: Final = frozenset({AmountKind.GATEWAY_COST, AmountKind.PROVIDER_COST})
_SEEN: Final = "No usage was seen: booked at the input and the output that were read."


def bill_document(bill: ItemizedBill, *, reason: str = "") -> Row:
    """The bill for JSON; amounts are exact decimal strings, and lines and amounts come to `cost_usd` with the rest."""
    return {
        "model": " ".join(bill.models) or None,
        "lines": [_line_row(line, model) for line, model in _lines_of(bill)],
        "amounts": [{"kind": kind, "usd": usd(nanos)} for kind, nanos in bill.amounts],
        "omitted": {"lines": bill.omitted_lines, "usd": usd_from_femtos(bill.omitted_femtos)},
        "rounding_usd": usd_from_femtos(bill.rest_femtos),
        "cost_usd": usd(bill.nanos),
        "sources": list(bill.sources),
        "note": note_on(bill, reason=reason),
    }


def say_bill(bill: ItemizedBill, *, reason: str = "") -> None:
    """Write the table, and below it what its reader must know."""
    rows = [*_rows(bill)]
    columns = ["unit", "count", "rate_usd", "per", "usd", "source"]
    if len(bill.models) > 1:
        columns.append("model")
    Table().say([{name: row[name] for name in columns} for row in rows])
    if note := note_on(bill, reason=reason):
        say(note)


def note_on(bill: ItemizedBill, *, reason: str) -> str | None:
    """In plain English, in one line, how sure the amount is; None for a usage at known rates."""
    kinds = {kind for kind, _ in bill.amounts}
    notes = [note for kind, note in _NOTES.items() if kind in kinds]
    if not notes and reason.startswith("estimated"):
        notes.append(_SEEN)
    if bill.doubt or reason.startswith("usage_unreconciled"):
        notes.append(f"The usage contradicts itself ({bill.doubt or 'unreconciled'}): booked at the larger reading.")
    if not kinds & _BELIEVED and (unlisted := [line.unit for line in bill.lines if line.nanos_per_million is None]):
        of = f"{', '.join(dict.fromkeys(unlisted))}" if len(unlisted) < len(bill.lines) else "the model"
        notes.append(f"No price is listed for {of}: counted, and not billed.")
    told_nanos = sum(nanos for kind, nanos in bill.amounts if kind == AmountKind.APP_TOLD)
    if told_nanos:
        notes.append(f"Of this, ${usd_from_nanos(told_nanos)} was told by the app through its handle.")
    return " ".join(notes) or None


def _lines_of(bill: ItemizedBill) -> Iterator[tuple[BillLine, str]]:
    for call in bill.calls:
        for line in call.lines:
            yield line, call.model


def _line_row(line: BillLine, model: str) -> Row:
    rate, (size, per) = line.nanos_per_million, _sold_by(line.unit)
    return {
        "unit": line.unit,
        "count": line.count,
        "usd_per_million": None if rate is None else usd_from_nanos(rate),
        "rate_usd": None if rate is None else usd_from_femtos(rate * size),
        "per": per,
        "usd": None if rate is None else usd_from_femtos(line.femtos),
        "source": line.source or None,
        "model": model or None,
    }


def _sold_by(unit: str) -> tuple[int, str]:
    """How many of a unit its rate is written for, and what so many are called."""
    if unit in _TOKENS:
        return _MILLION, "1M tokens"
    if unit == Unit.CHARACTER:
        return _MILLION, "1M characters"
    return (_HOUR_MS, "hour, counted in ms") if unit == Unit.AUDIO_MS else (1, "each")


def _rows(bill: ItemizedBill) -> Iterator[Row]:
    yield from (_line_row(line, model) for line, model in _lines_of(bill))
    for kind, nanos in bill.amounts:
        yield _amount_row(kind, usd_from_nanos(nanos))
    if bill.omitted_lines:
        yield _amount_row("smaller lines", usd_from_femtos(bill.omitted_femtos), count=bill.omitted_lines)
    if bill.rest_femtos:
        yield _amount_row("rounding", usd_from_femtos(bill.rest_femtos))
    yield _amount_row("sum", usd_from_nanos(bill.nanos))


def _amount_row(what: str, amount_usd: str, *, count: object = "") -> Row:
    return dict.fromkeys(("rate_usd", "per", "source", "model"), "") | {
        "unit": what,
        "count": count,
        "usd": amount_usd,
    }


def usd_from_femtos(femtos: int) -> str:
    """The exact decimal text in USD, with at least two decimals."""
    dollars, fraction = divmod(abs(femtos), _FEMTOS_PER_USD)
    sign = "-" if femtos < 0 else ""
    return f"{sign}{dollars}.{f'{fraction:015d}'.rstrip('0').ljust(2, '0')}"
