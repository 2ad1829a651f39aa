"""The itemized bill of one request: what was counted, at which rate, by whose price list. It lies in the journal.

Theory of operation. A bill is made where the charge is decided, packed into one line of JSON, and kept in the journal
beside the reason of the booking, so that an operator can have it printed as long as the journal reaches back. The
packed form outlives the process and the version that wrote it, so it has a version and named fields, and a reader
takes what it knows and leaves the rest:

    {"v":1,"nanos":2520000,"calls":[{"model":"gpt-4o","provider":"openai","source":"genai-prices",
     "lines":[["input",1000,2500000000],…]}]}

- A line is ``[class, count, rate]`` or ``[class, count, rate, source]`` where the rate is from another list than those
  of its call. Rates are nano-dollars per million; ``null``: it was counted and not billed, for another figure was
  believed, or no price is listed.
- ``amounts`` are what no rate led to, in nano-dollars: ``[["provider_cost", 2520000]]``.
- ``omitted`` is ``[lines, femto-dollars]``: the smallest lines are left out where a bill is too long, never silently.

Nothing but class names, counts, rates, and the names of models and price lists gets in. The lines, the amounts and the
omitted sum come to ``nanos`` but for the rounding to whole nano-dollars; ``rest_femtos`` is that difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from json import JSONDecoder
from typing import Any, Final, NamedTuple

import msgspec

from budget_middleware.core.costs.pricing import FEMTOS_PER_NANO

_decode: Final = JSONDecoder().decode
# It takes a third of the time, and reads no text with half a surrogate pair, as no name of a price list is.
_decode_for_spans: Final = msgspec.json.Decoder().decode


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
    # Added by the app through its handle.
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
    """The lines of one model's call; the model is ``""`` where the price book has no name for it.

    ``provider`` sells it at these rates, as the price lists name it; ``""`` where they do not say, as an own one.
    """

    model: str
    source: str
    lines: tuple[BillLine, ...]
    provider: str = ""


class Amount(NamedTuple):
    """What was booked without a rate, in nano-dollars."""

    kind: str
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemizedBill:
    """All that led to the booked ``nanos``. ``contradiction`` names why a usage could not be reconciled."""

    nanos: int
    calls: tuple[BilledCall, ...] = ()
    amounts: tuple[Amount, ...] = ()
    contradiction: str = ""
    omitted_lines: int = 0
    omitted_femtos: int = 0

    @property
    def lines(self) -> tuple[BillLine, ...]:
        """The lines of all calls."""
        return tuple(line for call in self.calls for line in call.lines)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that have a name in the price book, each once."""
        return tuple(dict.fromkeys(call.model for call in self.calls if call.model))

    @property
    def rest_femtos(self) -> int:
        """What lines and amounts lack of the booked sum: rounding to whole nano-dollars, as a rule."""
        itemized = sum(line.femtos for line in self.lines) + sum(nanos for _, nanos in self.amounts) * FEMTOS_PER_NANO
        return self.nanos * FEMTOS_PER_NANO - itemized - self.omitted_femtos

    @property
    def counts(self) -> Mapping[str, int]:
        """How many of each class there were, in all calls."""
        counts: dict[str, int] = {}
        for call in self.calls:
            for line in call.lines:
                counts[line.unit] = counts.get(line.unit, 0) + line.count
        return counts

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the figures come from: the price lists of its rates, then what was booked without one."""
        found = [
            line.source
            for call in self.calls
            for line in call.lines
            if line.nanos_per_million is not None and line.source
        ]
        found += [str(kind) for kind, _ in self.amounts]
        return tuple(dict.fromkeys(found))


# It may be of a later version, or of nobody's.
_UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


def unpack(packed: str) -> ItemizedBill | None:
    """The bill that `bill_packing.pack` made, as far as this version understands it; None for what is no bill."""
    try:
        document = _decode(packed)
        omitted_lines, omitted_femtos = document.get("omitted", (0, 0))
        return ItemizedBill(
            nanos=int(document["nanos"]),
            calls=tuple([_unpacked_call(call) for call in document.get("calls", ())]),
            amounts=tuple([Amount(str(kind), int(nanos)) for kind, nanos in document.get("amounts", ())]),
            contradiction=str(document.get("doubt", "")),
            omitted_lines=int(omitted_lines),
            omitted_femtos=int(omitted_femtos),
        )
    except _UNREADABLE:
        return None


def counts_and_sources(packed: str) -> tuple[Mapping[str, int], Sequence[str]]:
    """`counts` and `sources` of an unpacked bill, without its objects: each trace that is sampled asks for them."""
    counts: dict[str, int] = {}
    sources: dict[str, None] = {}
    try:
        document = _decode_for_spans(packed)
        for call in document.get("calls", ()):
            own = str(call.get("source", ""))
            for unit, count, rate, *other in call["lines"]:
                counts[str(unit)] = counts.get(unit, 0) + int(count)
                if rate is not None and (source := str(other[0]) if other else own):
                    sources[source] = None
        for kind, _ in document.get("amounts", ()):
            sources[str(kind)] = None
    except _UNREADABLE:
        return {}, ()
    return counts, tuple(sources)


def _unpacked_call(document: Mapping[str, Any]) -> BilledCall:
    source = str(document.get("source", ""))
    return BilledCall(
        str(document.get("model", "")),
        source,
        tuple([_unpacked_line(*line, source=source) for line in document["lines"]]),
        provider=str(document.get("provider", "")),
    )


def _unpacked_line(unit: Any, count: Any, rate: Any, *other: Any, source: str) -> BillLine:
    if rate is None:
        return BillLine(str(unit), int(count), None, "")
    return BillLine(str(unit), int(count), int(rate), str(other[0]) if other else source)
