"""A bill as rows. Its lines (one for each class), amounts and rounding add up to exactly the booked amount."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from budget_middleware.core.costs.bill import AmountKind, BillLine, ItemizedBill
from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.core.costs.usage import FIELD_BY_PIECE
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.operations.values import NOT_IN_JSON

_FEMTOS_PER_USD: Final = 10**15
_MILLION: Final = 1_000_000
_HOUR_MS: Final = 3_600_000
_TOKENS: Final = frozenset(UsageClass) - FIELD_BY_PIECE.keys() - {UsageClass.REQUEST} | {UsageClass.TRAINING}
_BY_TIME: Final[Mapping[str, tuple[int, str]]] = {
    UsageClass.AUDIO_MS: (_HOUR_MS, "hour, counted in ms"),
    UsageClass.TRAINING_MS: (_HOUR_MS, "hour, counted in ms"),
    UsageClass.VIDEO_MS: (1_000, "second, counted in ms"),
}
_NOTES: Final = {
    AmountKind.GATEWAY_COST: "Booked at the cost that the gateway's header names; the usage is only counted.",
    AmountKind.PROVIDER_COST: "Booked at the cost that the answer itself names; the usage is only counted.",
    AmountKind.ESTIMATE: "Booked at the estimate: no usage was seen.",
    AmountKind.HIDDEN_OUTPUT: "No usage was seen, and some output cannot be counted: raised to the estimate.",
    AmountKind.EXPECTED_INPUT: "Booked at the expected input: no usage was seen before the call was cut off.",
}
_ACCEPTED: Final = frozenset({AmountKind.GATEWAY_COST, AmountKind.PROVIDER_COST})
_SEEN: Final = "No usage was seen: booked at the input and the output that were read."


@dataclass(frozen=True, slots=True)
class BillLineRow:
    """The cost of a number of units; rates and amount are None if no price is listed."""

    unit: str
    count: int
    usd_per_million: str | None
    rate_usd: str | None
    per: str
    usd: str | None
    source: str | None
    model: str | None


@dataclass(frozen=True, slots=True)
class BillAmountRow:
    """An amount that was booked without a rate."""

    kind: str
    usd: str


@dataclass(frozen=True, slots=True)
class OmittedLines:
    """The cheapest lines, of which only number and sum are stored."""

    lines: int
    usd: str


@dataclass(frozen=True, slots=True)
class BillRow:
    """Lines, amounts, omitted lines and rounding add up to ``cost_usd``. ``note`` says how sure the amount is."""

    model: str | None
    lines: tuple[BillLineRow, ...]
    amounts: tuple[BillAmountRow, ...]
    omitted: OmittedLines
    rounding_usd: str
    cost_usd: str
    sources: tuple[str, ...]
    note: str | None
    models: tuple[str, ...] = field(metadata=NOT_IN_JSON)


def bill_row(bill: ItemizedBill, *, reason: str = "") -> BillRow:
    """``reason`` is that of the journal entry: what the amount was decided by."""
    return BillRow(
        model=" ".join(bill.models) or None,
        lines=tuple(_line_row(line, model) for line, model in _lines_of(bill)),
        amounts=tuple(BillAmountRow(kind, usd_from_nanos(nanos)) for kind, nanos in bill.amounts),
        omitted=OmittedLines(bill.omitted_lines, usd_from_femtos(bill.omitted_femtos)),
        rounding_usd=usd_from_femtos(bill.rest_femtos),
        cost_usd=usd_from_nanos(bill.nanos),
        sources=bill.sources,
        note=note_for(bill, reason=reason),
        models=bill.models,
    )


def note_for(bill: ItemizedBill, *, reason: str) -> str | None:
    """In plain English, in one line, how sure the amount is; None for a usage at known rates."""
    kinds = {kind for kind, _ in bill.amounts}
    notes = [note for kind, note in _NOTES.items() if kind in kinds]
    if not notes and reason.startswith("estimated"):
        notes.append(_SEEN)
    if bill.contradiction or reason.startswith("usage_unreconciled"):
        notes.append(
            f"The usage contradicts itself ({bill.contradiction or 'unreconciled'}): booked at the larger reading."
        )
    if not kinds & _ACCEPTED and (unlisted := [line.unit for line in bill.lines if line.nanos_per_million is None]):
        of = f"{', '.join(dict.fromkeys(unlisted))}" if len(unlisted) < len(bill.lines) else "the model"
        notes.append(f"No price is listed for {of}: counted, and not billed.")
    app_nanos = sum(nanos for kind, nanos in bill.amounts if kind == AmountKind.APP_TOLD)
    if app_nanos:
        notes.append(f"Of this, ${usd_from_nanos(app_nanos)} was added by the app through its handle.")
    return " ".join(notes) or None


def _lines_of(bill: ItemizedBill) -> Iterator[tuple[BillLine, str]]:
    for call in bill.calls:
        for line in call.lines:
            yield line, call.model


def _line_row(line: BillLine, model: str) -> BillLineRow:
    rate, (size, per) = line.nanos_per_million, _sold_by(line.unit)
    return BillLineRow(
        line.unit,
        line.count,
        usd_per_million=None if rate is None else usd_from_nanos(rate),
        rate_usd=None if rate is None else usd_from_femtos(rate * size),
        per=per,
        usd=None if rate is None else usd_from_femtos(line.femtos),
        source=line.source or None,
        model=model or None,
    )


def _sold_by(unit: str) -> tuple[int, str]:
    """The number of units that a rate is quoted for, and its name."""
    if unit in _TOKENS:
        return _MILLION, "1M tokens"
    if unit == UsageClass.CHARACTER:
        return _MILLION, "1M characters"
    return _BY_TIME.get(unit, (1, "each"))


def usd_from_femtos(femtos: int) -> str:
    """The exact decimal text in USD, with at least two decimals."""
    dollars, fraction = divmod(abs(femtos), _FEMTOS_PER_USD)
    sign = "-" if femtos < 0 else ""
    return f"{sign}{dollars}.{f'{fraction:015d}'.rstrip('0').ljust(2, '0')}"
