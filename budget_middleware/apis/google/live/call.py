"""Gemini Live: what a turn is estimated by, and what the server's messages say of its cost.

Nobody sends a request as this API reads it: a session makes one of all that it knows (`session`), since a
client may only speak.

Google's reference does not say what a `usageMetadata` covers. Measured sessions do: each is of one generation, whose
prompt is the whole conversation up to there, and bills come to the sum of them all. So they are added up. Within a turn
one with the prompt of the one before it, and no less output, is taken for a later reading of the same generation: a
prompt grows with every generation. `totalTokenCount` leaves thoughts out, and details leave some of the prompt out,
which is billed as text then.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.reading import bytes_of_base64, list_of, mapping_of, parse_body, text_in, token_count
from budget_middleware.apis.google.fields import both, in_camel_case
from budget_middleware.apis.google.gemini import Gemini
from budget_middleware.apis.google.usage import read_gemini_usage
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.usage_rules import sum_of
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.core.costs.usage import Usage
from budget_middleware.core.money import ceil_div

HEARD: Final = "heard"
"""The field of a request that holds the usage of what it does not show; no JSON can hold that."""
IN_TOKENS_PER_S: Final = 32
"""Of sound that a model listens to."""
FRAME_TOKENS: Final = 258
"""Of a picture, or one of a video."""

_OUT_TOKENS_PER_S: Final = 25
_IN_HZ: Final = 16_000
_OUT_HZ: Final = 24_000
_BYTES_PER_SAMPLE: Final = 2
# Sound of a higher rate would seem to be shorter than it is.
_MOST_HZ: Final = 48_000
_RATE: Final = re.compile(r"rate=([1-9][0-9]{3,5})(?![0-9])")
# How the usage of a turn is called, and that of an answer on HTTP.
_AS_ON_HTTP: Final = {"responseTokenCount": "candidatesTokenCount", "responseTokensDetails": "candidatesTokensDetails"}


class GeminiLive(Gemini):
    """`GET …/ws/…BidiGenerateContent`, upgraded to a WebSocket, of the Gemini API and of Vertex AI."""

    name = "gemini-live"
    path = ends_in(
        r"/(?:google\.ai\.generativelanguage\.v[0-9a-z]{1,12}\.GenerativeService[./]BidiGenerateContent(?:Constrained)?"
        r"|google\.cloud\.aiplatform\.v[0-9a-z]{1,12}\.LlmBidiService/BidiGenerateContent"
        # LiteLLM's names for the latter.
        r"|vertex[_-]ai/live)"
    )
    ordinary_event = None
    ordinary_answer = None

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:  # noqa: ARG002 - of a message
        """Read what a session knows of a turn to come."""
        heard = body.get(HEARD)
        ask = super().read_ask({name: body[name] for name in body if name != HEARD}, path=path, n_bytes=0)
        if isinstance(heard, Usage):
            ask = replace(ask, input=sum_of(ask.input, heard), worst_input=sum_of(ask.worst_input, heard))
        # A session that is resumed has a conversation before it, and the client goes on speaking after the hold.
        return replace(ask, hides_input=True, counts_sound=True)

    def read_json(self, document: object, seen: Seen) -> None:
        """Read a message of the server."""
        message = mapping_of(document)
        content = mapping_of(field_of(message, "serverContent"))
        parts = [mapping_of(part) for part in list_of(mapping_of(field_of(content, "modelTurn")).get("parts"))]
        calls = list_of(field_of(mapping_of(field_of(message, "toolCall")), "functionCalls"))
        if parts or calls:
            read = [{"parts": [*parts, *({"functionCall": call} for call in calls)]}]
            super().read_json({"candidates": [{"content": each} for each in read]}, seen)
        if grounding := mapping_of(field_of(content, "groundingMetadata")):
            super().read_json({"candidates": [{"groundingMetadata": grounding}]}, seen)
        seen.take_sound(sum(_spoken_tokens(field_of(part, "inlineData")) for part in parts))
        _take_usage(mapping_of(field_of(message, "usageMetadata")), seen)

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002 - it comes unasked
        """Read a message of the server."""
        self.read_json(parse_body(data), seen)
        return data


def field_of(message: Mapping[str, object], name: str) -> object:
    """A field, in either of the two ways in which Google takes and writes it."""
    value = message.get(name)
    return value if value is not None else message.get(both(name)[1])


def heard_tokens(blob: object) -> int:
    """The tokens of sound that a client sends."""
    return _tokens_of_sound(blob, hz=_IN_HZ, tokens_per_s=IN_TOKENS_PER_S)


def usage_of(message: Mapping[str, object]) -> Usage | None:
    """The usage that a message of the server reports, if it does."""
    seen = Seen()
    _read_usage(mapping_of(field_of(message, "usageMetadata")), seen)
    return seen.usage


def _spoken_tokens(blob: object) -> int:
    kind = str(field_of(mapping_of(blob), "mimeType"))
    return _tokens_of_sound(blob, hz=_OUT_HZ, tokens_per_s=_OUT_TOKENS_PER_S) if kind.startswith("audio/") else 0


def _tokens_of_sound(blob: object, *, hz: int, tokens_per_s: int) -> int:
    """The tokens of plain samples in base64."""
    data, kind = text_in(mapping_of(blob), "data") or "", str(field_of(mapping_of(blob), "mimeType"))
    rate = min(int(found[1]), _MOST_HZ) if (found := _RATE.search(kind)) else hz
    return ceil_div(bytes_of_base64(data) * tokens_per_s, rate * _BYTES_PER_SAMPLE)


def _read_usage(usage: Mapping[str, object], seen: Seen) -> None:
    """Read the usage of one generation into an empty `seen`."""
    in_camel = {in_camel_case(name): value for name, value in usage.items()}
    as_on_http = {_AS_ON_HTTP.get(name, name): value for name, value in in_camel.items()}
    prompt, tools, response, thoughts, total = (
        token_count(as_on_http.get(f"{part}TokenCount")) or 0
        for part in ("prompt", "toolUsePrompt", "candidates", "thoughts", "total")
    )
    if thoughts and total == prompt + tools + response:
        as_on_http["totalTokenCount"] = total + thoughts
    read_gemini_usage({"usageMetadata": as_on_http}, seen)
    seen.usage = seen.usage or seen.input_usage


def _take_usage(usage: Mapping[str, object], seen: Seen) -> None:
    """Add the usage of a generation to those of the turn before it. `seen.input_usage` is the last one."""
    own = Seen(media=seen.media)
    _read_usage(usage, own)
    reported, last = own.usage, seen.input_usage
    seen.service_tier = own.service_tier or seen.service_tier
    if reported is None:
        return
    is_later_reading = (
        last is not None and last.input_tokens == reported.input_tokens and last.output_tokens <= reported.output_tokens
    )
    before = seen.usage or Usage()
    if is_later_reading and last is not None:
        before = sum_of(before, last, sign=-1)
    seen.input_usage = reported
    seen.take_usage(sum_of(before, reported), contradiction=own.contradiction or seen.contradiction)
