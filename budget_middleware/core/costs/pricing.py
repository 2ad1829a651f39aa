"""What a call costs: a model's rates and a usage in, nano-dollars out.

A count times a rate is an exact ``int`` of femto-dollars (1e-15 USD); it is rounded to nano-dollars once, at the end.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Final, NamedTuple

from msgspec import Struct

from budget_middleware.core.costs.rates import FREE, Rate, Rates
from budget_middleware.core.costs.usage import FIELD_OF_TOOL, Counts, Usage, UsageClass, counts_of
from budget_middleware.core.fast import maker_of
from budget_middleware.core.money import MAX_NANOS, half_even_div

__all__ = [
    "FEMTOS_PER_NANO",
    "FREE",
    "OUTPUT_CLASSES",
    "CostByOutput",
    "Line",
    "Rate",
    "Rates",
    "Usage",
    "UsageClass",
    "breakdown",
    "cost_by_output",
    "cost_nanos",
    "cost_of",
    "counts_of_tools",
    "estimate_nanos",
    "sum_nanos",
    "unpriced_uses",
]

FEMTOS_PER_NANO: Final = 1_000_000
# Python 3.11 takes ten times as long to find the member of an enum as a global.
_INPUT: Final = UsageClass.INPUT

# What cannot be told apart beforehand is reserved at the highest rate.
_OUTPUT_MAY_BECOME: Final = (UsageClass.OUTPUT, UsageClass.REASONING)
_FRESH_INPUT: Final = (UsageClass.INPUT, UsageClass.INPUT_AUDIO, UsageClass.INPUT_IMAGE, UsageClass.INPUT_VIDEO)
_OUTPUT: Final = (UsageClass.OUTPUT, UsageClass.OUTPUT_AUDIO, UsageClass.OUTPUT_IMAGE, UsageClass.OUTPUT_VIDEO)
OUTPUT_CLASSES: Final = frozenset({*_OUTPUT, UsageClass.REASONING})
# Two readings of one use, of which a provider bills only one. Some sell their search with each request.
BILLED_INSTEAD: Final = {
    UsageClass.WEB_SEARCH: frozenset({UsageClass.GROUNDED_REQUEST, UsageClass.REQUEST}),
    UsageClass.GROUNDED_REQUEST: frozenset({UsageClass.WEB_SEARCH, UsageClass.REQUEST}),
    UsageClass.CODE_CONTAINER: frozenset({UsageClass.CODE_EXECUTION}),
    UsageClass.CODE_EXECUTION: frozenset({UsageClass.CODE_CONTAINER}),
}
counts_of_tools = attrgetter(*FIELD_OF_TOOL.values())
"""How often a usage has used each tool of a provider."""


class Line(Struct, gc=False):
    """One line of a bill: so many of a unit at a rate."""

    unit: UsageClass
    count: int
    nanos_per_million: int

    @property
    def femtos(self) -> int:
        """The exact price of the line, in femto-dollars."""
        return self.count * self.nanos_per_million


def breakdown(rates: Rates, usage: Usage) -> tuple[Line, ...]:
    """The bill, line by line, without empty lines; `cost_nanos` is its sum, rounded once."""
    lines = []
    for unit, count in counts_of(usage) if rates.counts_as_used else _counts(rates, usage):
        if count:
            rate = rates.of(unit)
            # Most have no tiers.
            nanos_per_million = rate.at(usage.input_tokens) if rate.tiers else rate.nanos_per_million
            lines.append(Line(unit, count, nanos_per_million))
    return tuple(lines)


def sum_nanos(lines: Iterable[Line]) -> int:
    """What lines come to in nano-dollars, half-even, at most MAX_NANOS."""
    femtos = 0
    for line in lines:
        femtos += line.count * line.nanos_per_million
    return min(half_even_div(femtos, FEMTOS_PER_NANO), MAX_NANOS)


def cost_nanos(rates: Rates, usage: Usage) -> int:
    """The price of a usage in nano-dollars, half-even, at most MAX_NANOS. Explicit zeros cost 0."""
    femtos = 0
    for unit, count in _counts(rates, usage):
        if count:
            femtos += count * rates.of(unit).at(usage.input_tokens)
    return min(half_even_div(femtos, FEMTOS_PER_NANO), MAX_NANOS)


class CostByOutput(NamedTuple):
    """What a call costs by its output that is still to come: so much without it, and so much more for each token."""

    fixed_femtos: int
    femtos_per_token: int

    def nanos(self, output_tokens: int) -> int:
        """In nano-dollars, rounded up, at most MAX_NANOS."""
        femtos = self.fixed_femtos + output_tokens * self.femtos_per_token
        return min(-(-femtos // FEMTOS_PER_NANO), MAX_NANOS)


cost_of = maker_of(CostByOutput)


def estimate_nanos(
    rates: Rates,
    usage: Usage,
    *,
    output_tokens: int = 0,
    output_unit: UsageClass = UsageClass.OUTPUT,
    input_may_become: tuple[UsageClass, ...] = (),
    uses: Counts = (),
) -> int:
    """What to reserve for an input and so many tokens of output, in nano-dollars: see ``cost_by_output``."""
    cost = cost_by_output(rates, usage, output_unit=output_unit, input_may_become=input_may_become, uses=uses)
    return cost.nanos(output_tokens)


def cost_by_output(
    rates: Rates,
    usage: Usage,
    *,
    output_unit: UsageClass = UsageClass.OUTPUT,
    input_may_become: tuple[UsageClass, ...] = (),
    uses: Counts = (),
) -> CostByOutput:
    """What to reserve for an input, and for the tokens of one kind of output.

    Output is taken at the highest of its own, the output and the reasoning rate. Input stays what it is, for a cache
    hit cannot be known beforehand, unless each token of it may turn out to be one of other units. ``uses``: how often
    tools of the provider are expected to be used.
    """
    femtos = 0
    counts = counts_of(usage) if rates.counts_as_used else _counts(rates, usage)
    for unit, count in (*counts, *uses) if uses else counts:
        if count and unit is _INPUT and not input_may_become:
            # As nearly all of it is: text, at one rate.
            rate = rates.of(unit)
            femtos += count * (rate.at(usage.input_tokens) if rate.tiers else rate.nanos_per_million)
        elif count:
            femtos += count * _highest_rate(rates, unit, usage.input_tokens, input_may_become)
    return cost_of((femtos, _highest_rate(rates, output_unit, usage.input_tokens, input_may_become)))


def _highest_rate(rates: Rates, unit: UsageClass, input_tokens: int, input_may_become: tuple[UsageClass, ...]) -> int:
    rate = rates.of(unit)
    nanos_per_million = rate.at(input_tokens) if rate.tiers else rate.nanos_per_million
    others = _OUTPUT_MAY_BECOME if unit in _OUTPUT else input_may_become if unit in _FRESH_INPUT else ()
    for other in others:
        # Nearly always it is the same one.
        if (other_rate := rates.of(other)) is not rate:
            nanos_per_million = max(nanos_per_million, other_rate.at(input_tokens))
    return nanos_per_million


def unpriced_uses(rates: Rates, usage: Usage) -> tuple[UsageClass, ...]:
    """What tools of the provider were used by for which the model has no price: it is missing from the bill."""
    if not any(counts_of_tools(usage)) or rates.is_free:
        return ()
    used = [unit for unit, field in FIELD_OF_TOOL.items() if getattr(usage, field)]
    billed = rates.by_unit.keys() & {*used, UsageClass.REQUEST}
    missing: list[UsageClass] = []
    for unit in used:
        other_readings = BILLED_INSTEAD.get(unit, frozenset())
        if unit not in billed and other_readings.isdisjoint(billed) and other_readings.isdisjoint(missing):
            missing.append(unit)
    return tuple(missing)


def _counts(rates: Rates, usage: Usage) -> Counts:
    """How many of each unit are billed: a fee for each request, and no recording that is shorter than the least."""
    counts = counts_of(usage)
    if 0 < usage.audio_ms < rates.least_audio_ms:
        counts = tuple((unit, rates.least_audio_ms if unit is UsageClass.AUDIO_MS else count) for unit, count in counts)
    # A fee for every request, however small, where the model has one.
    return (*counts, (UsageClass.REQUEST, 1)) if UsageClass.REQUEST in rates.by_unit else counts
