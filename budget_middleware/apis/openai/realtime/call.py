"""OpenAI realtime: what a response, or a transcription beside it, is estimated by, and what its events say of its cost.

Nobody sends a request as this API reads it: a session makes one of all that it knows (`session`), since
a client may ask for a response with an empty object, or only speak.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.reading import largest, list_of, mapping_of, parse_body, text_in
from budget_middleware.apis.counting.input import text_bytes_of
from budget_middleware.apis.counting.output import OutputFields
from budget_middleware.apis.openai.audio import HEARD_TOKENS_PER_S
from budget_middleware.apis.openai.realtime.events import MAXIMA, RESPONSE_DONE, SPOKEN, TRANSCRIBED
from budget_middleware.apis.openai.realtime.talk import sum_of
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.session_time import CONTINUES, TIME_MS, time_to_ask
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.core.costs.pricing import Usage, UsageClass
from budget_middleware.core.money import ceil_div

CONTEXT: Final = "context"
"""The field of a request that holds the usage of its conversation so far, which no JSON can hold."""
OUTLIVES: Final = "outlives"
"""The field of a request that says that its session is a sideband: what was begun goes on when that is left."""
SPOKEN_MS: Final = "spoken_ms"
"""The field of a transcription that holds how much speech is expected."""
OWN_FIELDS: Final = frozenset({CONTEXT, CONTINUES, OUTLIVES, SPOKEN_MS, TIME_MS})
"""The fields that a session alone may name: a client that did would have less held than its response costs."""

_ITEM: Final = OutputFields(
    texts=("name", "arguments", "output"),
    silent=(
        "id",
        "object",
        "type",
        "status",
        "role",
        "call_id",
        "content",
        "server_label",
        "approval_request_id",
        "error",
    ),
)
_PART: Final = OutputFields(texts=("text", "transcript"), silent=("type", "audio"))


class OpenAIRealtime(JsonApi):
    """`GET …/realtime`, upgraded to a WebSocket."""

    name = "openai-realtime"
    provider = "openai"
    path = ends_in("/realtime")
    input_fields = ("input",)

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read what a session knows of a response to come, or of a transcription."""
        spoken_ms = body.get(SPOKEN_MS)
        if isinstance(spoken_ms, int):
            return self._read_transcription(spoken_ms)
        if TIME_MS in body:
            return time_to_ask(body)
        context = body.get(CONTEXT)
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        if isinstance(context, Usage):
            ask = replace(ask, input=sum_of(ask.input, context), worst_input=sum_of(ask.worst_input, context))
        is_text = _modalities_of(body) == ["text"]
        return replace(
            ask,
            # Instructions of the provider's own, and a conversation that this session may not have seen begin.
            hides_input=True,
            output_unit=UsageClass.OUTPUT if is_text else UsageClass.OUTPUT_AUDIO,
            counts_sound=True,
            outlives_client=body.get(OUTLIVES) is True,
        )

    def _read_transcription(self, spoken_ms: int) -> Ask:
        tokens = ceil_div(spoken_ms * self.media.audio_tokens_per_s, 1000)
        heard = Usage(input_tokens=tokens, input_audio_tokens=tokens, audio_ms=spoken_ms)
        return Ask(
            input=heard, worst_input=heard, expected_output_tokens=ceil_div(spoken_ms * HEARD_TOKENS_PER_S, 1000)
        )

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The maximum by its name, or by that of the beta."""
        return largest(body, *MAXIMA)

    def read_json(self, document: object, seen: Seen) -> None:
        """Read an event of a response, or the end of a transcription."""
        event = mapping_of(document)
        kind, response = text_in(event, "type") or "", mapping_of(event.get("response"))
        if kind == TRANSCRIBED:
            seen.take_text(text_bytes_of(event.get("transcript")))
            read_openai_usage({"usage": event.get("usage")}, seen, thinks=False)
            seen.terminal = True
        elif kind == RESPONSE_DONE:
            self._read_end(response, seen)
        elif kind.endswith(SPOKEN):
            # How long it is the session tells, which knows its form.
            seen.media = "audio"
        elif kind.endswith(".delta"):
            seen.take_text(text_bytes_of(event.get("delta")))

    def _read_end(self, response: Mapping[str, object], seen: Seen) -> None:
        read_failure(response, seen)
        seen.take_reason(mapping_of(response.get("status_details")).get("reason") or response.get("status"))
        read_openai_usage({"usage": response.get("usage")}, seen)
        if seen.usage is None:
            n_bytes = sum(_read_item(mapping_of(item), seen) for item in list_of(response.get("output")))
            seen.take_text(max(0, n_bytes - seen.text_bytes))
        seen.terminal = True

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002 - it comes unasked
        """Read an event of the server."""
        self.read_json(parse_body(data), seen)
        return data


def _modalities_of(body: Mapping[str, object]) -> list[object]:
    return list_of(body.get("modalities"))


def _read_item(item: Mapping[str, object], seen: Seen) -> int:
    parts = map(mapping_of, list_of(item.get("content")))
    return _ITEM.read(item, seen) + sum(_PART.read(part, seen) for part in parts)
