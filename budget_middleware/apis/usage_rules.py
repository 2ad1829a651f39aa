"""Which of the figures that an answer tells of its usage are believed. Everything else goes by these two rules.

**Of two usages in one answer** (`latest`), the two halves are judged apart:

- Output only grows while an answer is written, so a later figure that is smaller than an earlier one is not believed.
- Of the input the later figure is the true one, also where it is smaller: an API may begin with an estimate of it. Only
  0 is not believed after another figure, for every call has some input.
- What is not counted in tokens (searches, characters, sound) only grows as well.

**Of a usage at the end** (`is_complete`): output was seen that it does not count. It tells 0 where there was output, or
it was told before the last of the text came. Then its halves that can be true are kept, the rest is estimated, and the
charge says so. A count above MAX_TOKENS, or one that is no number, is not read at all (`reading.token_count`).
"""

from dataclasses import replace
from typing import Final

from budget_middleware.core.pricing import Usage

_INPUT: Final = (
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("input_audio_tokens", "cached_audio_tokens", "input_image_tokens", "cached_image_tokens"),
)
_OUTPUT: Final = ("output_tokens", "reasoning_tokens", "output_audio_tokens", "output_image_tokens")
_NOT_TOKENS: Final = ("characters", "audio_ms", "images", "rerank_searches", "web_searches")


def latest(before: Usage | None, told: Usage) -> Usage:
    """The usage to go by, after one that may have been told earlier in the same answer."""
    if before is None:
        return told
    kept = [name for name in _NOT_TOKENS if getattr(told, name) < getattr(before, name)]
    if not told.input_tokens:
        kept += _INPUT
    if told.output_tokens < before.output_tokens:
        kept += _OUTPUT
    return replace(told, **{name: getattr(before, name) for name in kept}) if kept else told


def is_complete(usage: Usage, *, has_text: bool, has_results: bool, misses_text: bool) -> bool:
    """Whether a usage can be all that an answer used.

    ``has_text``: there was output that is counted in tokens; ``has_results``: there was something that may cost its
    input alone, such as an embedding; ``misses_text``: text came after the usage was told.
    """
    if misses_text:
        return False
    # What is sold by the search or the second needs no tokens.
    if usage.output_tokens or any(getattr(usage, name) for name in _NOT_TOKENS):
        return True
    return not has_text and (usage.input_tokens > 0 or not has_results)
