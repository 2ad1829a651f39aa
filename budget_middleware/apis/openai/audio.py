"""OpenAI audio: text to speech, and speech to text from the files of a form."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.form import File, files_in
from budget_middleware.apis.bodies.reading import mapping_of, milliseconds, parse_body
from budget_middleware.apis.counting.input import NAMED_AUDIO_BYTES, Count, text_bytes_of
from budget_middleware.apis.counting.media import audio_ms
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.core.costs.pricing import Usage, UsageClass
from budget_middleware.core.money import ceil_div

# Speech has some fifteen characters a second, and some three words, which are four tokens; spoken by a model it
# has about twenty.
_SPOKEN_TOKENS_PER_CHARACTER: Final = 2
HEARD_TOKENS_PER_S: Final = 4
# A second.
LEAST_AUDIO_BYTES: Final = 8_000


class OpenAISpeech(JsonApi):
    """`POST …/audio/speech`: billed by the characters of the text, or by its tokens and those of the sound."""

    name = "openai-speech"
    provider = "openai"
    path = ends_in("/audio/speech")

    def unread_units(self, n_bytes: int) -> dict[str, int]:
        """A character for each byte."""
        return {"characters": n_bytes}

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        text = body.get("input")
        characters = len(text) if isinstance(text, str) else n_bytes
        return replace(
            ask,
            input=replace(ask.input, characters=characters),
            worst_input=replace(ask.worst_input, characters=characters),
            expected_output_tokens=characters * _SPOKEN_TOKENS_PER_CHARACTER,
            output_unit=UsageClass.OUTPUT_AUDIO,
        )

    def read_json(self, document: object, seen: Seen) -> None:
        """Read an event; sound itself reports no usage."""
        event = mapping_of(document)
        read_failure(event, seen)
        seen.has_results |= bool(event.get("audio"))
        read_openai_usage(event, seen)
        if seen.usage is not None:
            # It is all sound, which may have a price of its own.
            seen.usage = replace(seen.usage, output_audio_tokens=seen.usage.output_tokens)
        seen.terminal |= event.get("type") == "speech.audio.done"


class OpenAITranscriptions(JsonApi):
    """`POST …/audio/transcriptions` and `…/audio/translations`: billed by the time, or by tokens."""

    name = "openai-transcriptions"
    provider = "openai"
    path = ends_in("/audio/(?:transcriptions|translations)")

    def unread_units(self, n_bytes: int) -> dict[str, int]:
        """A recording."""
        return {"audio_ms": audio_ms(n_bytes, b"")}

    def count(self, body: Mapping[str, object]) -> Count:
        """Count the recordings."""
        count = super().count(body)
        files = files_in(body)
        for file in files or [File(NAMED_AUDIO_BYTES, b"")]:
            count.add_audio(max(file.n_bytes, LEAST_AUDIO_BYTES), file.head)
            count.media_bytes += file.n_bytes if files else 0
        return count

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request: by how long its recordings are."""
        ask, count = super().read_ask(body, path=path, n_bytes=n_bytes), self.count(body)
        return replace(
            ask,
            input=replace(ask.input, audio_ms=count.audio_ms),
            worst_input=replace(ask.worst_input, audio_ms=count.worst_audio_ms),
            expected_output_tokens=ceil_div(count.audio_ms * HEARD_TOKENS_PER_S, 1000),
        )

    def read_json(self, document: object, seen: Seen) -> None:
        """Read a whole transcription: its usage, or how long the recording was."""
        answer = mapping_of(document)
        read_failure(answer, seen)
        if isinstance(text := answer.get("text"), str):
            seen.take_text(text_bytes_of(text))
        read_openai_usage(answer, seen, thinks=False)
        duration_ms = milliseconds(answer.get("duration"))
        if seen.usage is None and duration_ms is not None:
            seen.input_usage = Usage(audio_ms=duration_ms)

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002 - it comes unasked
        """Read an event: the text as it comes, the usage with its end."""
        event = mapping_of(parse_body(data))
        read_failure(event, seen)
        if event.get("type") == "transcript.text.delta":
            seen.take_text(text_bytes_of(event.get("delta")))
        read_openai_usage(event, seen, thinks=False)
        seen.terminal |= event.get("type") == "transcript.text.done"
        return data
