"""How much has been said in a realtime conversation: the estimate of the next response's input."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.bounded_answer import is_heavy
from budget_middleware.apis.bodies.reading import mapping_of, parse_body
from budget_middleware.apis.counting.input import count_input
from budget_middleware.apis.counting.media import OPENAI_MEDIA
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.core.costs.usage import Usage

USUAL_SPEECH_MS: Final = 10_000
"""What is expected of a turn of speech that has only begun."""

# However long a microphone has been open: most of it was silence, which nobody answers.
_MOST_SPEECH_MS: Final = 100_000


class Talk:
    """The conversation so far, by the usage of its last response, and what has come to it since."""

    def __init__(self) -> None:
        self._said = Usage()
        self._added = Usage()
        self._heard_bytes = 0

    def add_sound(self, n_bytes: int) -> None:
        """Add so many bytes of sound."""
        self._heard_bytes += n_bytes

    def add_item(self, data: bytes) -> None:
        """Add what an event of the client puts into the conversation."""
        if is_heavy(data):
            self._added = sum_of(self._added, Usage(input_tokens=len(data)))
            return
        expected, _ = count_input(mapping_of(parse_body(data)).get("item"), OPENAI_MEDIA).usages(len(data))
        self._added = sum_of(self._added, expected)

    def take_response(self, response: Mapping[str, object]) -> None:
        """The next response reads what this one has read and said; what came from a cache comes from it again."""
        seen = Seen()
        read_openai_usage({"usage": response.get("usage")}, seen)
        usage = seen.usage
        if usage is not None and usage.input_tokens:
            self._said = Usage(
                input_tokens=usage.input_tokens + usage.output_tokens,
                input_audio_tokens=usage.input_audio_tokens + usage.output_audio_tokens,
                input_image_tokens=usage.input_image_tokens,
                cached_input_tokens=usage.cached_input_tokens,
                cached_audio_tokens=usage.cached_audio_tokens,
                cached_image_tokens=usage.cached_image_tokens,
            )
            self._added, self._heard_bytes = Usage(), 0

    def expected(self, *, bytes_per_s: int, is_heard: bool) -> Usage:
        """What the next response reads. ``is_heard``: it may answer speech, which has so many bytes a second."""
        known = sum_of(self._said, self._added)
        if not is_heard:
            return known
        heard_ms = min(self._heard_bytes * 1_000 // bytes_per_s, _MOST_SPEECH_MS)
        tokens = max(USUAL_SPEECH_MS, heard_ms) * OPENAI_MEDIA.audio_tokens_per_s // 1_000
        return sum_of(known, Usage(input_tokens=tokens, input_audio_tokens=tokens))


def sum_of(usage: Usage, other: Usage) -> Usage:
    """The input of both."""
    return replace(
        usage,
        input_tokens=usage.input_tokens + other.input_tokens,
        input_audio_tokens=usage.input_audio_tokens + other.input_audio_tokens,
        input_image_tokens=usage.input_image_tokens + other.input_image_tokens,
        cached_input_tokens=usage.cached_input_tokens + other.cached_input_tokens,
        cached_audio_tokens=usage.cached_audio_tokens + other.cached_audio_tokens,
        cached_image_tokens=usage.cached_image_tokens + other.cached_image_tokens,
    )
