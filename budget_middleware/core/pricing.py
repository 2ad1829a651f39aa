"""What tokens cost: a model's rates, a usage in, nano-dollars out. Each token is billed once, in one class.

A rate is an ``int`` of nano-dollars per million tokens, so tokens times rate is an exact ``int`` of
femto-dollars (1e-15 USD); it is rounded to nano-dollars once, at the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from budget_middleware.core.money import MAX_NANOS, ceil_div, half_even_div

FEMTOS_PER_NANO: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call, none negative. `input_tokens` and `output_tokens` include their sub-classes."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    cached_audio_tokens: int = 0
    output_audio_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one token class, in nano-dollars per million tokens."""

    nanos_per_mtok: int
    # (above, nanos_per_mtok), rising: a request with more than `above` input tokens pays that rate for all of
    # the class, not only for the tokens above it.
    tiers: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        """The rate for a request with so many input tokens."""
        rate = self.nanos_per_mtok
        for above, nanos_per_mtok in self.tiers:
            if input_tokens > above:
                rate = nanos_per_mtok
        return rate

    @property
    def is_free(self) -> bool:
        """Whether the class costs nothing, however long the request."""
        return self.nanos_per_mtok == 0 and all(rate == 0 for _, rate in self.tiers)


FREE: Final = Rate(0)


class TokenClass(StrEnum):
    """What a token is billed as, by the names of the own price file."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    CACHE_WRITE = "cache_write"
    INPUT_AUDIO = "input_audio"
    CACHED_AUDIO = "cached_audio"
    OUTPUT = "output"
    REASONING = "reasoning"
    OUTPUT_AUDIO = "output_audio"


# Class -> the prices it may be billed at, its own first. Cached audio is audio before it is cached text:
# whoever has a price for audio and none for cached audio gives no discount on it.
_BILLED_AS: Final = {
    TokenClass.INPUT: (TokenClass.INPUT,),
    TokenClass.CACHED_INPUT: (TokenClass.CACHED_INPUT, TokenClass.INPUT),
    TokenClass.CACHE_WRITE: (TokenClass.CACHE_WRITE, TokenClass.INPUT),
    TokenClass.INPUT_AUDIO: (TokenClass.INPUT_AUDIO, TokenClass.INPUT),
    TokenClass.CACHED_AUDIO: (
        TokenClass.CACHED_AUDIO,
        TokenClass.INPUT_AUDIO,
        TokenClass.CACHED_INPUT,
        TokenClass.INPUT,
    ),
    TokenClass.OUTPUT: (TokenClass.OUTPUT,),
    TokenClass.REASONING: (TokenClass.REASONING, TokenClass.OUTPUT),
    TokenClass.OUTPUT_AUDIO: (TokenClass.OUTPUT_AUDIO, TokenClass.OUTPUT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The prices of one model: INPUT and OUTPUT always, other classes where they have a price of their own.

    `model` is the price book's canonical name, ``""`` for a model that the book does not know. A model
    without prices has no Rates: that is None, never a rate of 0.
    """

    model: str
    by_class: Mapping[TokenClass, Rate]
    provider: str = ""
    max_output_tokens: int | None = None
    context_window: int | None = None

    def of(self, token_class: TokenClass) -> Rate:
        """The rate that a class is billed at: its own, else that of the class it is part of."""
        return next(self.by_class[name] for name in _BILLED_AS[token_class] if name in self.by_class)

    @property
    def is_free(self) -> bool:
        """Whether every class costs nothing."""
        return all(rate.is_free for rate in self.by_class.values())

    @property
    def output_ceiling(self) -> int | None:
        """The most output tokens that one answer of this model can have, where that is known."""
        return self.context_window if self.max_output_tokens is None else self.max_output_tokens


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: so many tokens of a class at a rate."""

    token_class: TokenClass
    tokens: int
    nanos_per_mtok: int

    @property
    def femtos(self) -> int:
        """The exact price of the line, in femto-dollars."""
        return self.tokens * self.nanos_per_mtok


def breakdown(rates: Rates, usage: Usage) -> tuple[Line, ...]:
    """The bill, line by line, without empty lines; `cost_nanos` is its sum, rounded once."""
    return tuple(
        Line(token_class, tokens, rates.of(token_class).at(usage.input_tokens))
        for token_class, tokens in _tokens_by_class(usage)
        if tokens
    )


def cost_nanos(rates: Rates, usage: Usage) -> int:
    """The price of a usage in nano-dollars, half-even, at most MAX_NANOS. Explicit zeros cost 0."""
    femtos = sum(line.femtos for line in breakdown(rates, usage))
    return min(half_even_div(femtos, FEMTOS_PER_NANO), MAX_NANOS)


def estimate_nanos(rates: Rates, *, input_tokens: int, output_tokens: int) -> int:
    """What to reserve for these counts, in nano-dollars, rounded up, at most MAX_NANOS.

    All input at the plain input rate (a cache hit cannot be known beforehand), all output at the dearer of
    the output and reasoning rates.
    """
    output_rate = max(rates.of(name).at(input_tokens) for name in (TokenClass.OUTPUT, TokenClass.REASONING))
    femtos = input_tokens * rates.of(TokenClass.INPUT).at(input_tokens) + output_tokens * output_rate
    return min(ceil_div(femtos, FEMTOS_PER_NANO), MAX_NANOS)


def _tokens_by_class(usage: Usage) -> tuple[tuple[TokenClass, int], ...]:
    """Each token in one class. A part larger than its whole is cut to it, so that no class is negative."""
    whole = usage.input_tokens
    cached = min(usage.cached_input_tokens, whole)
    written = min(usage.cache_write_tokens, whole - cached)
    audio = min(usage.input_audio_tokens, whole)
    # Tokens beyond the whole were counted both as cached and as audio, whether or not anybody says so.
    overlap = max(usage.cached_audio_tokens, cached + written + audio - whole)
    cached_audio = min(overlap, cached, audio)
    fresh_audio = min(audio - cached_audio, whole - cached - written)
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    output_audio = min(usage.output_audio_tokens, usage.output_tokens - reasoning)
    return (
        (TokenClass.INPUT, whole - cached - written - fresh_audio),
        (TokenClass.CACHED_INPUT, cached - cached_audio),
        (TokenClass.CACHE_WRITE, written),
        (TokenClass.INPUT_AUDIO, fresh_audio),
        (TokenClass.CACHED_AUDIO, cached_audio),
        (TokenClass.OUTPUT, usage.output_tokens - reasoning - output_audio),
        (TokenClass.REASONING, reasoning),
        (TokenClass.OUTPUT_AUDIO, output_audio),
    )
