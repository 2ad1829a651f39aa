"""Decides which figures of a reported usage are plausible. Everything else relies on these three rules.

**Of two usages in one answer** (`latest`), the two halves are judged apart:

- Output only grows while an answer is written, so a later figure that is smaller than an earlier one is not believed.
- Of the input the later figure is the true one, also where it is smaller: an API may begin with an estimate of it. Only
  0 is not believed after another figure, for every call has some input.
- What is not counted in tokens (searches, characters, sound) only grows as well.

**Of the parts and the total of one usage** (`reconcile`), in this order:

- A total alone is input; of an answer with a text, what the text does not come to. With one of input and output, the
  rest of it is the other.
- More cached input than there is input stands beside it, as Anthropic counts, and more of sound and images, as Mistral
  counts; so does reasoning beside the output, as xAI counts; and each where the total says so.
- What the total still has beyond its parts is output that was thought, as Google's OpenAI-compatible API counts; of an
  API without output, or one that does not think, it is input.
- A figure that no call can reach is not believed. What contradicts itself all the same is taken at the larger reading,
  and named as a `Contradiction`.

**Of a usage at the end** (`is_complete`): output was seen that it does not count. It reports 0 where there was output,
or it was reported before the last of the text came. Then its halves that can be true are kept, the rest is estimated,
and the charge says so. A count above MAX_TOKENS, or one that is no number, is not read at all (`reading.token_count`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, replace
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple

from budget_middleware.core.costs.usage import FIELD_BY_PIECE, FIELD_OF_TOOL, Usage, UsageClass

_INPUT: Final = (
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("input_audio_tokens", "cached_audio_tokens", "input_image_tokens", "cached_image_tokens"),
    "input_video_tokens",
)
_OUTPUT: Final = (
    "output_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_video_tokens",
)
_FIELDS: Final = tuple(field.name for field in fields(Usage))
_BY_PIECE: Final = tuple(FIELD_BY_PIECE.values())
_by_piece = attrgetter(*_BY_PIECE)
# Of these, what may be all that a call is billed for.
_SOLD_ALONE: Final = ("characters", "audio_ms", "images", "rerank_searches")

# Several times the longest context and the longest answer of any model. A figure above it does not enlarge another.
MOST_INPUT: Final = 20_000_000
MOST_OUTPUT: Final = 2_000_000
# Moonshot counts thoughts apart from the output that they are a part of, and comes to a token or two more. So close to
# the whole, a part does not stand beside it.
_COUNTS_AGREE_WITHIN: Final = 50


class Contradiction(StrEnum):
    """Why a usage could not be reconciled."""

    PART_EXCEEDS_WHOLE = "part_exceeds_whole"
    TOTAL_BELOW_PARTS = "total_below_parts"
    TOTAL_ABOVE_PARTS = "total_above_parts"
    NO_INPUT = "no_input"
    # One number for both halves, of which the text shows the output.
    TOTAL_ALONE = "total_alone"


class Totals(NamedTuple):
    """The totals of a usage that agree with its parts, in tokens."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    contradiction: Contradiction | None = None


def reconcile(
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    total: int | None,
    reasoning: int = 0,
    cached: int = 0,
    media: int = 0,
    has_output: bool = True,
    thinks: bool = True,
    text_tokens: int = 0,
) -> Totals | None:
    """The totals as they can be true; None if too little is reported. ``cached``: read from a cache or written to one.
    ``media``: what of the input is sound and images. ``text_tokens``: the output that was read, as far as it was.
    """
    if input_tokens is None and output_tokens is None and total is not None and text_tokens and has_output:
        read = min(text_tokens, total)
        return Totals(total - read, read, min(reasoning, read), Contradiction.TOTAL_ALONE)
    if input_tokens is None or (output_tokens is None and has_output):
        halves = _missing_halves(input_tokens, output_tokens, total)
        if halves is None:
            return None
        input_tokens, output_tokens = halves
    output_tokens = output_tokens or 0
    excess = (total or 0) - input_tokens - output_tokens
    reasoning = _thoughts_within(output_tokens, reasoning, excess=excess)
    if not excess and reasoning <= output_tokens and cached <= input_tokens and media <= input_tokens:
        return Totals(input_tokens, output_tokens, reasoning)
    input_tokens, output_tokens = _with_separate_parts(
        input_tokens, output_tokens, excess=excess, reasoning=reasoning, cached=cached, media=media
    )
    excess = (total or 0) - input_tokens - output_tokens
    contradiction = None
    if reasoning > output_tokens or cached > input_tokens:
        contradiction = Contradiction.PART_EXCEEDS_WHOLE
    elif total and excess < 0:
        contradiction = Contradiction.TOTAL_BELOW_PARTS
    elif excess > 0:
        # Reasoning was reported, and yet there is more of it.
        contradiction = Contradiction.TOTAL_ABOVE_PARTS if reasoning else None
        is_output = has_output and thinks
        if excess > (MOST_OUTPUT if is_output else MOST_INPUT):
            contradiction = Contradiction.TOTAL_ABOVE_PARTS
        elif is_output:
            output_tokens, reasoning = output_tokens + excess, reasoning + excess
        else:
            input_tokens += excess
    return Totals(input_tokens, output_tokens, min(reasoning, output_tokens), contradiction)


def _missing_halves(input_tokens: int | None, output_tokens: int | None, total: int | None) -> tuple[int, int] | None:
    if total is None:
        return None
    if input_tokens is None:
        return max(0, total - (output_tokens or 0)), output_tokens or 0
    return input_tokens, max(0, total - input_tokens)


def _thoughts_within(output_tokens: int, reasoning: int, *, excess: int) -> int:
    """The thoughts, as many as there is output where they are hardly more and no total counts them separately."""
    most = output_tokens + max(2, output_tokens // _COUNTS_AGREE_WITHIN)
    return output_tokens if excess <= 0 and output_tokens < reasoning <= most else reasoning


def _with_separate_parts(
    input_tokens: int, output_tokens: int, *, excess: int, reasoning: int, cached: int, media: int
) -> tuple[int, int]:
    """Both totals with what is counted beside them rather than in them. ``excess``: below 0 where no total is reported.

    What is more than its whole stands beside it. What the total then still has beyond the parts says the rest: thoughts
    before cached tokens where either would explain it, for these cost more.
    """
    if MOST_INPUT >= media > input_tokens and not 0 <= excess < media:
        input_tokens += media
        excess -= media
    can_cached, can_thoughts = 0 < cached <= MOST_INPUT, 0 < reasoning <= MOST_OUTPUT
    is_cached_separate = can_cached and cached > input_tokens
    is_thought_separate = can_thoughts and reasoning > output_tokens
    rest = excess - cached * is_cached_separate - reasoning * is_thought_separate
    other = cached if can_cached and not is_cached_separate else 0
    if rest and can_thoughts and not is_thought_separate and rest in (reasoning, reasoning + other):
        is_thought_separate, rest = True, rest - reasoning
    if rest and can_cached and not is_cached_separate and rest == cached:
        is_cached_separate = True
    return input_tokens + cached * is_cached_separate, output_tokens + reasoning * is_thought_separate


def latest(before: Usage | None, reported: Usage) -> Usage:
    """The usage to go by, after one that may have been reported earlier in the same answer."""
    if before is None:
        return reported
    kept = (
        [name for name in _BY_PIECE if getattr(reported, name) < getattr(before, name)]
        if any(_by_piece(before))
        else []
    )
    if not reported.input_tokens:
        kept += _INPUT
    if reported.output_tokens < before.output_tokens:
        kept += _OUTPUT
    return replace(reported, **{name: getattr(before, name) for name in kept}) if kept else reported


def sum_of(usage: Usage, other: Usage, *, sign: int = 1) -> Usage:
    """The usage of two calls together; with a ``sign`` of -1, what the first has more."""
    return Usage(**{name: max(getattr(usage, name) + sign * getattr(other, name), 0) for name in _FIELDS})


def with_uses(usage: Usage, uses: Iterable[tuple[UsageClass, str]]) -> Usage:
    """The usage with the uses of tools that were seen, if it does not say how many there were."""
    if not uses:
        return usage
    seen = {FIELD_OF_TOOL[unit]: count for unit, count in Counter(unit for unit, _ in uses).items()}
    return replace(usage, **{name: getattr(usage, name) or count for name, count in seen.items()})


def with_expected_input(usage: Usage, expected: Usage) -> Usage:
    """The usage, with the input that was expected where it reports output and no input at all: every call has some."""
    if usage.input_tokens or not usage.output_tokens or any(getattr(usage, name) for name in _SOLD_ALONE):
        return usage
    return replace(usage, **{name: getattr(expected, name) for name in _INPUT})


def is_complete(usage: Usage, *, has_text: bool, has_results: bool, misses_text: bool) -> bool:
    """Whether a usage can be all that an answer used.

    ``has_text``: there was output that is counted in tokens; ``has_results``: there was something that may cost its
    input alone, such as an embedding; ``misses_text``: text came after the usage was reported.
    """
    if misses_text:
        return False
    # What is sold by the search or the second needs no tokens.
    if usage.output_tokens or any(getattr(usage, name) for name in _SOLD_ALONE):
        return True
    return not has_text and (usage.input_tokens > 0 or not has_results)
