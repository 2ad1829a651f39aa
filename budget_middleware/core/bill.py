"""The itemized bill of one request: what was counted, at which rate, by whose price list. It lies in the journal.

Theory of operation. A bill is made where the charge is decided, packed into one line of JSON, and kept in the journal
beside the reason of the booking, so that an operator can have it printed as long as the journal reaches back. The
packed form outlives the process and the version that wrote it, so it has a version and named fields, and a reader
takes what it knows and leaves the rest:

    {"v":1,"nanos":2520000,"calls":[{"model":"gpt-4o","source":"genai-prices","lines":[["input",1000,2500000000],…]}]}

- A line is ``[class, count, rate]`` or ``[class, count, rate, source]`` where the rate is from another list than those
  of its call. Rates are nano-dollars per million; ``null``: it was counted and not billed, for another figure was
  believed, or no price is listed.
- ``amounts`` are what no rate led to, in nano-dollars: ``[["provider_cost", 2520000]]``.
- ``omitted`` is ``[lines, femto-dollars]``: the smallest lines are left out where a bill is too long, never silently.

Nothing but class names, counts, rates, and the names of models and price lists gets in. The lines, the amounts and the
omitted sum come to ``nanos`` but for the rounding to whole nano-dollars; ``rest_femtos`` is that difference.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from budget_middleware.core.pricing import FEMTOS_PER_NANO, Line, Rates, Usage, breakdown, sum_nanos

MAX_PACKED: Final = 600
"""The most letters of a packed bill."""
_MAX_NAME: Final = 64

_encode = json.JSONEncoder(separators=(",", ":")).encode


class AmountKind(StrEnum):
    """What is on a bill without a rate."""

    # A header of the gateway named the cost.
    GATEWAY_COST = "gateway_cost"
    # The answer itself named the cost.
    PROVIDER_COST = "provider_cost"
    # No usage was seen: what was reserved.
    ESTIMATE = "estimate"
    # Output that cannot be counted: the rest of what was reserved.
    HIDDEN_OUTPUT = "hidden_output"
    # No usage was seen: the input as it was expected.
    EXPECTED_INPUT = "expected_input"
    # The app told it by its handle.
    APP_TOLD = "app_told"


@dataclass(frozen=True, slots=True)
class BillLine:
    """So many of a class at a rate in nano-dollars per million; without a rate it was only counted."""

    unit: str
    count: int
    nanos_per_million: int | None
    source: str

    @property
    def femtos(self) -> int:
        """The exact price of the line, in femto-dollars."""
        return self.count * (self.nanos_per_million or 0)


class BilledCall(NamedTuple):
    """The lines of one model's call; the model is ``""`` where the price book has no name for it."""

    model: str
    source: str
    lines: tuple[BillLine, ...]


class Amount(NamedTuple):
    """What was booked without a rate, in nano-dollars."""

    kind: str
    nanos: int


class PricedCall(NamedTuple):
    """The lines of a call while its bill is made. Not ``is_billed``: they were counted, and another figure counts."""

    rates: Rates | None
    lines: Sequence[Line]
    is_billed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemizedBill:
    """All that led to the booked ``nanos``. ``doubt`` names why a usage could not be reconciled."""

    nanos: int
    calls: tuple[BilledCall, ...] = ()
    amounts: tuple[Amount, ...] = ()
    doubt: str = ""
    omitted_lines: int = 0
    omitted_femtos: int = 0

    @property
    def lines(self) -> tuple[BillLine, ...]:
        """The lines of all calls."""
        return tuple(line for call in self.calls for line in call.lines)

    @property
    def rest_femtos(self) -> int:
        """What lines and amounts lack of the booked sum: rounding to whole nano-dollars, as a rule."""
        told = sum(line.femtos for line in self.lines) + sum(nanos for _, nanos in self.amounts) * FEMTOS_PER_NANO
        return self.nanos * FEMTOS_PER_NANO - told - self.omitted_femtos

    @property
    def counts(self) -> Mapping[str, int]:
        """How many of each class there were, in all calls."""
        counts: dict[str, int] = {}
        for line in self.lines:
            counts[line.unit] = counts.get(line.unit, 0) + line.count
        return counts

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the figures come from: the price lists of its rates, then what was booked without one."""
        told = [line.source for line in self.lines if line.nanos_per_million is not None and line.source]
        return tuple(dict.fromkeys([*told, *(str(kind) for kind, _ in self.amounts)]))


def bill_of_usage(rates: Rates, usage: Usage) -> ItemizedBill:
    """The bill of one call at a model's rates, whole, as it is printed."""
    lines = breakdown(rates, usage)
    packed = pack(nanos=sum_nanos(lines), calls=[PricedCall(rates, lines)] if lines else ())
    return unpack(packed) or ItemizedBill(nanos=sum_nanos(lines))


# Written as text, part by part: one is made for every request, and an encoder would take three times as long.


def pack(*, nanos: int, calls: Sequence[PricedCall] = (), amounts: Sequence[Amount] = (), doubt: str = "") -> str:
    """The bill of so many nano-dollars in one line of ASCII, of at most MAX_PACKED letters."""
    text = f'{{"v":1,"nanos":{nanos}'
    if calls:
        text += f',"calls":[{",".join([_packed_call(call) for call in calls])}]'
    if amounts:
        text += f',"amounts":{_encode(amounts)}'
    if doubt:
        text += f',"doubt":{_encode(doubt[:_MAX_NAME])}'
    return f"{text}}}" if len(text) < MAX_PACKED else _shortened(f"{text}}}")


def _packed_call(call: PricedCall) -> str:
    rates, lines, is_billed = call
    if rates is None or not is_billed:
        rows = [f'["{line.unit}",{line.count},null]' for line in lines]
        return f"{_call_head(rates.model if rates else '', '')}{','.join(rows)}]}}"
    source = rates.source
    rows = [
        f'["{line.unit}",{line.count},{line.nanos_per_million}{_other_source(rates.source_of(line.unit), source)}]'
        if line.nanos_per_million or rates.has_price(line.unit)
        else f'["{line.unit}",{line.count},null]'
        for line in lines
    ]
    return f"{_call_head(rates.model, source)}{','.join(rows)}]}}"


@lru_cache(1_024)
def _call_head(model: str, source: str) -> str:
    return f'{{"model":{_encode(model[:_MAX_NAME])},"source":{_encode(source[:_MAX_NAME])},"lines":['


def _other_source(said: str, source: str) -> str:
    return "" if said is source or said == source else f",{_encode(said[:_MAX_NAME])}"


def _shortened(packed: str) -> str:
    """The packed bill without its cheapest lines, which are told in sum."""
    bill = unpack(packed)
    while bill is not None and len(packed) > MAX_PACKED and bill.lines:
        bill = _without_cheapest_line(bill)
        packed = _encode(_document(bill))
    return packed


def _without_cheapest_line(bill: ItemizedBill) -> ItemizedBill:
    cheapest = min(bill.lines, key=lambda line: line.femtos)
    calls, is_found = [], False
    for call in bill.calls:
        lines = call.lines
        if not is_found and cheapest in lines:
            at, is_found = lines.index(cheapest), True
            lines = (*lines[:at], *lines[at + 1 :])
        if lines:
            calls.append(call._replace(lines=lines))
    return replace(
        bill,
        calls=tuple(calls),
        omitted_lines=bill.omitted_lines + 1,
        omitted_femtos=bill.omitted_femtos + cheapest.femtos,
    )


def _document(bill: ItemizedBill) -> dict[str, Any]:
    document: dict[str, Any] = {"v": 1, "nanos": bill.nanos}
    if bill.calls:
        document["calls"] = [
            {"model": call.model, "source": call.source, "lines": [_row(line, call) for line in call.lines]}
            for call in bill.calls
        ]
    if bill.amounts:
        document["amounts"] = bill.amounts
    if bill.doubt:
        document["doubt"] = bill.doubt
    if bill.omitted_lines:
        document["omitted"] = [bill.omitted_lines, bill.omitted_femtos]
    return document


def _row(line: BillLine, call: BilledCall) -> tuple[object, ...]:
    row = (line.unit, line.count, line.nanos_per_million)
    return row if line.source in (call.source, "") else (*row, line.source)


def unpack(packed: str) -> ItemizedBill | None:
    """The bill that `pack` made, as far as this version understands it; None for what is no bill."""
    try:
        document = json.loads(packed)
        omitted_lines, omitted_femtos = document.get("omitted", (0, 0))
        return ItemizedBill(
            nanos=int(document["nanos"]),
            calls=tuple(map(_unpacked_call, document.get("calls", ()))),
            amounts=tuple(Amount(str(kind), int(nanos)) for kind, nanos in document.get("amounts", ())),
            doubt=str(document.get("doubt", "")),
            omitted_lines=int(omitted_lines),
            omitted_femtos=int(omitted_femtos),
        )
    # It may be of a later version, or of nobody's.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _unpacked_call(document: Mapping[str, Any]) -> BilledCall:
    source = str(document.get("source", ""))
    return BilledCall(str(document.get("model", "")), source, tuple(_unpacked_lines(document["lines"], source)))


def _unpacked_lines(lines: Iterable[Any], source: str) -> Iterable[BillLine]:
    for unit, count, rate, *other in lines:
        nanos_per_million = None if rate is None else int(rate)
        said = str(other[0]) if other else source
        yield BillLine(str(unit), int(count), nanos_per_million, said if nanos_per_million is not None else "")
