"""What a call costs: a model's rates and a usage in, nano-dollars out. Each token is billed once, in one unit.

A rate is an ``int`` of nano-dollars per million of a unit, so a count times a rate is an exact ``int`` of
femto-dollars (1e-15 USD); it is rounded to nano-dollars once, at the end.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

from budget_middleware.core.money import MAX_NANOS, ceil_div, half_even_div
from budget_middleware.core.words import Word

FEMTOS_PER_NANO: Final = 1_000_000


@dataclass(slots=True, kw_only=True)
class Usage:
    """What one call used, no count negative; never changed once made. (To forbid that would take five times as long.)

    `input_tokens` and `output_tokens` include the tokens of their kinds: cached, written to a cache (of these,
    for an hour), audio, images; reasoning. What is not counted in tokens stands beside them. A model is billed
    for what it has a price for, so one usage may tell both characters and tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    cached_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    cached_image_tokens: int = 0
    output_image_tokens: int = 0
    characters: int = 0
    audio_ms: int = 0
    images: int = 0
    rerank_searches: int = 0
    web_searches: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one unit, in nano-dollars per million."""

    nanos_per_million: int
    # (above, nanos_per_million), rising: a request with more than `above` input tokens pays that rate for all
    # of the unit, not only for what is above it.
    tiers: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        """The rate for a request with so many input tokens. A tier never lowers it: a longer request costs no less."""
        rate = self.nanos_per_million
        for above, nanos_per_million in self.tiers:
            if input_tokens > above and nanos_per_million > rate:
                rate = nanos_per_million
        return rate

    @property
    def is_free(self) -> bool:
        """Whether the unit costs nothing, however long the request."""
        return self.nanos_per_million == 0 and all(rate == 0 for _, rate in self.tiers)


FREE: Final = Rate(0)


class Unit(Word):
    """What is counted and billed, by the names of the own price file: kinds of tokens, then the rest."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    CACHE_WRITE = "cache_write"
    CACHE_WRITE_1H = "cache_write_1h"
    INPUT_AUDIO = "input_audio"
    CACHED_AUDIO = "cached_audio"
    INPUT_IMAGE = "input_image"
    CACHED_IMAGE = "cached_image"
    OUTPUT = "output"
    REASONING = "reasoning"
    OUTPUT_AUDIO = "output_audio"
    OUTPUT_IMAGE = "output_image"
    CHARACTER = "characters"
    AUDIO_MS = "audio_hour"
    IMAGE = "image"
    RERANK_SEARCH = "rerank_search"
    WEB_SEARCH = "web_search"
    REQUEST = "request"


# Unit -> the prices it may be billed at, after its own. Cached audio is audio before it is cached text: whoever
# has a price for audio and none for cached audio gives no discount on it. So with images.
_ELSE_BILLED_AS: Final = {
    Unit.CACHED_INPUT: (Unit.INPUT,),
    Unit.CACHE_WRITE: (Unit.INPUT,),
    Unit.CACHE_WRITE_1H: (Unit.CACHE_WRITE, Unit.INPUT),
    Unit.INPUT_AUDIO: (Unit.INPUT,),
    Unit.CACHED_AUDIO: (Unit.INPUT_AUDIO, Unit.CACHED_INPUT, Unit.INPUT),
    Unit.INPUT_IMAGE: (Unit.INPUT,),
    Unit.CACHED_IMAGE: (Unit.INPUT_IMAGE, Unit.CACHED_INPUT, Unit.INPUT),
    Unit.REASONING: (Unit.OUTPUT,),
    Unit.OUTPUT_AUDIO: (Unit.OUTPUT,),
    Unit.OUTPUT_IMAGE: (Unit.OUTPUT,),
}
# Models that hear and speak, and that published books price by text alone -> what the realtime or direct model
# of their family takes for sound, heard and spoken. A sixteenth of it would be billed otherwise.
_SOUND_OF_FAMILY: Final = {
    "gpt-4o-audio-preview": (Rate(40_000_000_000), Rate(80_000_000_000)),
    "gpt-4o-mini-audio-preview": (Rate(10_000_000_000), Rate(20_000_000_000)),
    "openai/gpt-audio": (Rate(32_000_000_000), Rate(64_000_000_000)),
    "openai/gpt-audio-mini": (Rate(10_000_000_000), Rate(20_000_000_000)),
}
_BUILT_IN_RULE: Final = "built-in rule"
# What cannot be told apart beforehand is reserved at the dearest rate.
_OUTPUT_MAY_BECOME: Final = (Unit.OUTPUT, Unit.REASONING)
_FRESH_INPUT: Final = (Unit.INPUT, Unit.INPUT_AUDIO, Unit.INPUT_IMAGE)
_OUTPUT: Final = (Unit.OUTPUT, Unit.OUTPUT_AUDIO, Unit.OUTPUT_IMAGE)
_SOUND: Final = (Unit.INPUT_AUDIO, Unit.CACHED_AUDIO, Unit.OUTPUT_AUDIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The prices of one model, by unit. What has no price, and belongs to nothing that has one, costs nothing.

    `model` is the price book's canonical name, ``""`` for a model that the book does not know. A model
    without prices has no Rates: that is None, never a rate of 0. `by_service_tier` holds what differs there.
    """

    model: str
    by_unit: Mapping[Unit, Rate]
    by_service_tier: Mapping[str, Mapping[Unit, Rate]] = field(default_factory=dict)
    provider: str = ""
    max_output_tokens: int | None = None
    context_window: int | None = None
    # The price list that the rates are from, and of some units another one.
    source: str = field(default="", compare=False)
    other_sources: Mapping[Unit, str] = field(default_factory=dict, compare=False)
    # Looked up many times a request, and found once a model.
    _billed: Mapping[Unit, Rate] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_billed", {unit: self._rate_of(unit) for unit in Unit})

    def of(self, unit: Unit) -> Rate:
        """The rate that a unit is billed at: its own, else that of what it is part of."""
        return self._billed[unit]

    def _rate_of(self, unit: Unit) -> Rate:
        # One's own prices name no provider, and stand as they are.
        sound = _SOUND_OF_FAMILY.get(self.model) if self.provider and unit not in self.by_unit else None
        if sound is not None and unit in _SOUND:
            return sound[unit is Unit.OUTPUT_AUDIO]
        return self.by_unit.get(self._billed_as(unit), FREE)

    def _billed_as(self, unit: Unit) -> Unit:
        """The unit whose price it is billed at."""
        candidates = (unit, *_ELSE_BILLED_AS.get(unit, ()))
        return next((name for name in candidates if name in self.by_unit), unit)

    def source_of(self, unit: Unit) -> str:
        """The price list that the rate of a unit is from."""
        if unit in _SOUND and unit not in self.by_unit and self.provider and self.model in _SOUND_OF_FAMILY:
            return _BUILT_IN_RULE
        if not self.other_sources:
            return self.source
        return self.other_sources.get(self._billed_as(unit), self.source)

    def in_service_tier(self, name: str | None) -> "Rates":
        """The prices of a service tier: these, where the book knows no others."""
        others = self.by_service_tier.get(name or "")
        return replace(self, by_unit={**self.by_unit, **others}) if others else self

    @property
    def is_free(self) -> bool:
        """Whether every unit costs nothing."""
        return all(rate.is_free for rate in self.by_unit.values())

    @property
    def output_ceiling(self) -> int | None:
        """The most output tokens that one answer of this model can have, where that is known."""
        return self.context_window if self.max_output_tokens is None else self.max_output_tokens


@dataclass(slots=True)
class Line:
    """One line of a bill: so many of a unit at a rate. (Not frozen, for the reason that Usage has.)"""

    unit: Unit
    count: int
    nanos_per_million: int

    @property
    def femtos(self) -> int:
        """The exact price of the line, in femto-dollars."""
        return self.count * self.nanos_per_million


def breakdown(rates: Rates, usage: Usage) -> tuple[Line, ...]:
    """The bill, line by line, without empty lines; `cost_nanos` is its sum, rounded once."""
    return tuple(
        [Line(unit, count, rates.of(unit).at(usage.input_tokens)) for unit, count in _counts(rates, usage) if count]
    )


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


def estimate_nanos(
    rates: Rates,
    usage: Usage,
    *,
    output_tokens: int = 0,
    output_unit: Unit = Unit.OUTPUT,
    input_may_become: tuple[Unit, ...] = (),
) -> int:
    """What to reserve for an input and so many tokens of one kind of output that are still to come, in nano-dollars,
    rounded up, at most MAX_NANOS.

    Output is taken at the dearest of its own, the output and the reasoning rate. Input stays what it is, for a cache
    hit cannot be known beforehand, unless each token of it may turn out to be one of other units.
    """
    femtos = 0
    for unit, count in (*_counts(rates, usage), (output_unit, output_tokens)):
        if not count:
            continue
        rate = rates.of(unit)
        nanos_per_million = rate.at(usage.input_tokens)
        for other in _others(unit, input_may_become):
            # Nearly always it is the same one.
            if (other_rate := rates.of(other)) is not rate:
                nanos_per_million = max(nanos_per_million, other_rate.at(usage.input_tokens))
        femtos += count * nanos_per_million
    return min(ceil_div(femtos, FEMTOS_PER_NANO), MAX_NANOS)


def _others(unit: Unit, input_may_become: tuple[Unit, ...]) -> tuple[Unit, ...]:
    if unit in _FRESH_INPUT:
        return input_may_become
    return _OUTPUT_MAY_BECOME if unit in _OUTPUT else ()


_Counts = tuple[tuple[Unit, int], ...]

_NOT_TOKENS: Final = (Unit.CHARACTER, Unit.AUDIO_MS, Unit.IMAGE, Unit.RERANK_SEARCH, Unit.WEB_SEARCH)
_not_tokens = attrgetter("characters", "audio_ms", "images", "rerank_searches", "web_searches")


def _counts(rates: Rates, usage: Usage) -> _Counts:
    counts = _input_tokens(usage) + _output_tokens(usage)
    if any(others := _not_tokens(usage)):
        counts += tuple(zip(_NOT_TOKENS, others, strict=True))
    # A fee for every request, however small, where the model has one.
    return (*counts, (Unit.REQUEST, 1)) if Unit.REQUEST in rates.by_unit else counts


def _input_tokens(usage: Usage) -> _Counts:
    """Each token in one unit. A part larger than its whole is cut to it, so that no count is negative."""
    whole = usage.input_tokens
    if not (
        usage.cached_input_tokens or usage.cache_write_tokens or usage.input_audio_tokens or usage.input_image_tokens
    ):
        return ((Unit.INPUT, whole),)
    cached = min(usage.cached_input_tokens, whole)
    written = min(usage.cache_write_tokens, whole - cached)
    written_1h = min(usage.cache_write_1h_tokens, written)
    audio = min(usage.input_audio_tokens, whole)
    image = min(usage.input_image_tokens, whole - audio)
    # Tokens beyond the whole were counted both as cached and as media, whether or not anybody says so.
    overlap = max(0, cached + written + audio + image - whole)
    told_image = min(usage.cached_image_tokens, cached, image)
    cached_audio = min(max(usage.cached_audio_tokens, overlap - told_image), cached - told_image, audio)
    cached_image = min(max(told_image, overlap - cached_audio), cached - cached_audio, image)
    uncached = whole - cached - written
    fresh_audio = min(audio - cached_audio, uncached)
    fresh_image = min(image - cached_image, uncached - fresh_audio)
    return (
        (Unit.INPUT, uncached - fresh_audio - fresh_image),
        (Unit.CACHED_INPUT, cached - cached_audio - cached_image),
        (Unit.CACHE_WRITE, written - written_1h),
        (Unit.CACHE_WRITE_1H, written_1h),
        (Unit.INPUT_AUDIO, fresh_audio),
        (Unit.CACHED_AUDIO, cached_audio),
        (Unit.INPUT_IMAGE, fresh_image),
        (Unit.CACHED_IMAGE, cached_image),
    )


def _output_tokens(usage: Usage) -> _Counts:
    if not (usage.reasoning_tokens or usage.output_audio_tokens or usage.output_image_tokens):
        return ((Unit.OUTPUT, usage.output_tokens),)
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    audio = min(usage.output_audio_tokens, usage.output_tokens - reasoning)
    image = min(usage.output_image_tokens, usage.output_tokens - reasoning - audio)
    return (
        (Unit.OUTPUT, usage.output_tokens - reasoning - audio - image),
        (Unit.REASONING, reasoning),
        (Unit.OUTPUT_AUDIO, audio),
        (Unit.OUTPUT_IMAGE, image),
    )
