"""What every LLM API tells about a call, in one vocabulary, and the tools to read it from hostile bytes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from budget_middleware.core.estimate import output_tokens_seen, tokens_from_text_bytes
from budget_middleware.core.pricing import Usage

# What `parse_body` returns for bytes that are no JSON; None is a JSON value.
UNREADABLE: Final = object()

# More tokens than any call has; a count above it is not believed.
MAX_TOKENS: Final = 1_000_000_000_000

# What a part of a message is expected to cost whose content is a link or base64 rather than text: a detailed
# image of eight tiles; five minutes of speech at ten tokens a second; some ten pages or a minute of video.
MEDIA_TOKENS: Final[Mapping[str, int]] = {
    "image_url": 1_500,
    "input_audio": 3_000,
    "audio_url": 3_000,
    "file": 10_000,
    "video_url": 10_000,
}


class BadRequestError(ValueError):
    """A request that no estimate can be made for; the message is one line for its sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a request says of itself. `input_tokens` is expected, the rest is as named in the body."""

    model: str | None = None
    streams: bool = False
    wants_usage: bool = False
    input_tokens: int = 0
    max_output_tokens: int | None = None
    choices: int = 1


@dataclass(slots=True)
class Seen:
    """What an answer has told so far. It only grows while the answer is read."""

    usage: Usage | None = None
    model: str | None = None
    cost_nanos: int | None = None
    text_bytes: int = 0
    chunks: int = 0
    # The event that completes the answer has been read; what follows it changes nothing.
    terminal: bool = False
    # All of the text could be read: its length tells the output where no usage does.
    readable: bool = False

    @property
    def output_tokens(self) -> int:
        """The expected tokens of the text read so far. Where there is a `usage`, that is exact."""
        return output_tokens_seen(text_bytes=self.text_bytes, chunks=self.chunks)


class Reason(StrEnum):
    """Why a request gets no answer from the gateway."""

    SPENT = "spent"
    HELD = "held"
    UNAVAILABLE = "unavailable"
    BAD_REQUEST = "bad_request"
    UNKNOWN_MODEL = "unknown_model"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that is refused: the HTTP status, why, and one sentence for the client."""

    status: int
    reason: Reason
    message: str


class Api(Protocol):
    """One LLM API: its routes, requests, answers and errors. Every method takes any bytes and any JSON."""

    @property
    def name(self) -> str:
        """The API's name in settings and logs."""
        ...

    @property
    def provider(self) -> str:
        """The `gen_ai.provider.name` of spans."""
        ...

    def matches(self, path: str) -> bool:
        """Whether a POST to this path is a call of this API, behind any prefix."""
        ...

    def read_request(self, body: object) -> Ask:
        """Read a parsed body. BadRequestError for numbers that allow no estimate, and for nothing else."""
        ...

    def ask_for_usage(self, raw: bytes, body: object) -> bytes | None:
        """The body that also asks for the usage of its stream; None if there is nothing to change."""
        ...

    def read_json(self, document: object, seen: Seen) -> None:
        """Add to `seen` what a whole JSON answer tells."""
        ...

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:
        """Add to `seen` what one event of a stream tells; return the data for the client, None for no event.

        With `hide_usage` the client gets no usage that it did not ask for; else the data themselves.
        """
        ...

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal in the shape that makes this API's SDKs raise their own error."""
        ...


def parse_body(raw: bytes) -> object:
    """The JSON value of a body as lenient gateways read it (UTF-16, BOM, NaN …), else UNREADABLE."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):  # Also too many digits, and too deep a nesting.
        return UNREADABLE


def ask_from_length(n_bytes: int) -> Ask:
    """What is known of a request whose body cannot be read: how long it is."""
    return Ask(input_tokens=tokens_from_text_bytes(n_bytes))


def text_bytes_of(value: object) -> int:
    """The bytes of text in a JSON value of any shape, keys included."""
    return _measure(value)[0]


def input_tokens_of(value: object) -> int:
    """The expected tokens of a JSON value of any shape: its text, and a fixed number for each part of media.

    Keys count too: they stand for the few tokens that a format spends on each message, and in the schema of a
    tool they are text like any other.
    """
    n_bytes, media_tokens = _measure(value)
    return tokens_from_text_bytes(n_bytes) + media_tokens


def whole_number(body: Mapping[str, object], field: str, *, at_most: int | None = None) -> int | None:
    """A number above 0, None where absent or null; BadRequestError names the field and what is accepted."""
    value = body.get(field)
    if value is None:
        return None
    number = _whole(value)
    if number is not None and 0 < number <= (at_most or number):
        return number
    shown = repr(value)[:40] if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"
    accepted = "a whole number above 0" if at_most is None else f"a whole number of 1 to {at_most}"
    raise BadRequestError(f"{field} must be {accepted}, not {shown}")


def token_count(value: object) -> int | None:
    """A count of tokens as an answer reports it; None for anything that is not one."""
    number = _whole(value)
    return number if number is not None and 0 <= number <= MAX_TOKENS else None


def mapping_of(value: object) -> Mapping[str, object]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _whole(value: object) -> int | None:
    # Some gateways write whole numbers as 12.0.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _measure(value: object) -> tuple[int, int]:
    # A stack, not recursion: how deep a body nests is for its sender to say.
    n_bytes = media_tokens = 0
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            n_bytes += len(item) if item.isascii() else len(item.encode("utf-8", "surrogatepass"))
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            kind = item.get("type")
            media = kind if isinstance(kind, str) and kind in MEDIA_TOKENS and kind in item else None
            media_tokens += MEDIA_TOKENS[media] if media else 0
            stack.extend(item)
            stack.extend(child for key, child in item.items() if key != media)
    return n_bytes, media_tokens
