"""The writer of packed bills: one is made for every request, so it is written as text, part by part.

An encoder of documents would take three times as long. Both write the same, which a test holds; only a bill that is too
long goes through the encoder, when its cheapest lines are taken out.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from heapq import nlargest
from itertools import count
from typing import Any, Final, NamedTuple

from budget_middleware.core.costs.bill import Amount, BilledCall, BillLine, ItemizedBill, unpack
from budget_middleware.core.costs.pricing import Line, Rates, Usage, breakdown, sum_nanos
from budget_middleware.core.fast import maker_of

MAX_PACKED: Final = 600
"""The most letters of a packed bill."""
# No bill of that length has as many. An answer may name thousands of calls, of which the others are left out at once.
_MOST_LINES: Final = 40
_MAX_NAME: Final = 64

_encode = json.JSONEncoder(separators=(",", ":")).encode


class PricedCall(NamedTuple):
    """The lines of a call while its bill is made. Not ``is_billed``: they were counted, and another figure counts."""

    rates: Rates | None
    lines: Sequence[Line]
    is_billed: bool = True


priced_call_of = maker_of(PricedCall)


def bill_of_usage(rates: Rates, usage: Usage) -> ItemizedBill:
    """The bill of one call at a model's rates, whole, as it is printed."""
    lines = breakdown(rates, usage)
    packed = pack(nanos=sum_nanos(lines), calls=[PricedCall(rates, lines)] if lines else ())
    return unpack(packed) or ItemizedBill(nanos=sum_nanos(lines))


def pack(
    *, nanos: int, calls: Sequence[PricedCall] = (), amounts: Sequence[Amount] = (), contradiction: str = ""
) -> str:
    """The bill of so many nano-dollars in one line of ASCII, of at most MAX_PACKED letters."""
    text = f'{{"v":1,"nanos":{nanos}'
    if calls:
        text += f',"calls":[{",".join(map(_packed_call, calls))}]'
    if amounts:
        text += f',"amounts":{_encode(amounts)}'
    if contradiction:
        text += f',"doubt":{_encode(contradiction[:_MAX_NAME])}'
    return f"{text}}}" if len(text) < MAX_PACKED else _shortened(f"{text}}}")


def _packed_call(call: PricedCall) -> str:
    rates, lines, is_billed = call
    if rates is None or not is_billed:
        without_rates = [f'["{line.unit}",{line.count},null]' for line in lines]
        names = (rates.model, rates.provider) if rates else ("", "")
        return f"{_call_head(*names, '')}{','.join(without_rates)}]}}"
    own, sources = rates.source, rates.source_by_unit
    # Grown by a loop: a comprehension is one more call in Python 3.11.
    rows = ""
    for line in lines:
        source = sources.get(line.unit, own if line.nanos_per_million else None)
        if source == own:
            rows += f'["{line.unit}",{line.count},{line.nanos_per_million}],'
        else:
            rows += f"{_packed_line(line, source)},"
    return f"{_call_head(rates.model, rates.provider, own)}{rows[:-1]}]}}"


def _packed_line(line: Line, source: str | None) -> str:
    """A line whose rate is from another price list than the others, or from none."""
    if source is None:
        return f'["{line.unit}",{line.count},null]'
    return f'["{line.unit}",{line.count},{line.nanos_per_million},{_encode(source[:_MAX_NAME])}]'


@lru_cache(1_024)
def _call_head(model: str, provider: str, source: str) -> str:
    sold_by = f'"provider":{_encode(provider[:_MAX_NAME])},' if provider else ""
    return f'{{"model":{_encode(model[:_MAX_NAME])},{sold_by}"source":{_encode(source[:_MAX_NAME])},"lines":['


def _shortened(packed: str) -> str:
    """The packed bill without its cheapest lines, of which the sum is kept."""
    bill = unpack(packed)
    if bill is None:
        return packed
    bill = _with_most_expensive(bill, min(len(bill.lines), _MOST_LINES))
    packed = _encode(_document(bill))
    while len(packed) > MAX_PACKED and bill.lines:
        bill = _with_most_expensive(bill, len(bill.lines) - 1)
        packed = _encode(_document(bill))
    return packed


def _with_most_expensive(bill: ItemizedBill, n_lines: int) -> ItemizedBill:
    lines = bill.lines
    kept = set(nlargest(n_lines, range(len(lines)), key=lambda at: lines[at].femtos))
    at = count()
    shortened = [call._replace(lines=tuple([line for line in call.lines if next(at) in kept])) for call in bill.calls]
    left_out = [line for at, line in enumerate(lines) if at not in kept]
    return replace(
        bill,
        calls=tuple([call for call in shortened if call.lines]),
        omitted_lines=bill.omitted_lines + len(left_out),
        omitted_femtos=bill.omitted_femtos + sum(line.femtos for line in left_out),
    )


def _document(bill: ItemizedBill) -> dict[str, Any]:
    document: dict[str, Any] = {"v": 1, "nanos": bill.nanos}
    if bill.calls:
        document["calls"] = [
            {
                "model": call.model,
                **({"provider": call.provider} if call.provider else {}),
                "source": call.source,
                "lines": [_row(line, call) for line in call.lines],
            }
            for call in bill.calls
        ]
    if bill.amounts:
        document["amounts"] = bill.amounts
    if bill.contradiction:
        document["doubt"] = bill.contradiction
    if bill.omitted_lines:
        document["omitted"] = [bill.omitted_lines, bill.omitted_femtos]
    return document


def _row(line: BillLine, call: BilledCall) -> tuple[object, ...]:
    row = (line.unit, line.count, line.nanos_per_million)
    return row if line.source in (call.source, "") else (*row, line.source)
