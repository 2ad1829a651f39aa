"""Reads a saved answer: finds its framing and its API, and reads it as the gateway would.

What is saved is the body, as `curl` writes it, or with `curl -i` its headers too. Neither reports the API: it is found
by the shape of the documents in the body, and where that is nobody's by what each API makes of them.
"""

import io
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from budget_middleware.apis import APIS, api_at
from budget_middleware.apis.answers.answer_reader import AnswerReader
from budget_middleware.apis.bodies.inflating import CannotInflateError, TooLongError, inflate
from budget_middleware.apis.bodies.reading import UNREADABLE, list_of, mapping_of, parse_body
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.streams.frames import FrameSplitter
from budget_middleware.apis.streams.framing import framing_of, splitter_of
from budget_middleware.cli.parsing import CommandError
from budget_middleware.headers import Headers

MAX_BYTES: Final = 10_000_000
_LOOKED_AT: Final = 50
"""So many documents of a stream are looked at for their shape."""
_JSON: Final = b"application/json"
_EVENTS: Final = b"text/event-stream"
_LINES: Final = b"application/x-ndjson"
_FRAMES: Final = b"application/vnd.amazon.eventstream"
_BY_NAME: Final = {api.name: api for api in APIS}
_GZIP: Final = b"\x1f\x8b"
_LIVE: Final = "gemini-live"
"""Takes a document of any shape for a message of a session, so it is tried only where the shape is its own."""
# How the `type` or the `object` of a document begins that only one API has.
_TYPES: Final = {
    # Before what begins with less.
    "response.done": "openai-realtime",
    "conversation.item.": "openai-realtime",
    "response.": "openai-responses",
    "message": "anthropic-messages",
    "content_block_": "anthropic-messages",
    "transcript.": "openai-transcriptions",
    "speech.": "openai-speech",
    "session.closed": "openai-live",
    "image_": "openai-images",
}
_OBJECTS: Final = {
    "interaction": "gemini-interactions",
    "response": "openai-responses",
    "chat.completion": "openai-chat",
    "text_completion": "openai-completions",
}
# Fields that only one API has, whatever they hold. The first that is there decides.
_FIELDS: Final = {
    "event_type": "gemini-interactions",
    "predictions": "google-predict",
    "steps": "gemini-interactions",
    # Before the usage that both have.
    "serverContent": _LIVE,
    "toolCall": _LIVE,
    "usageMetadata": "gemini",
    "candidates": "gemini",
    "promptFeedback": "gemini",
    "prompt_eval_count": "ollama",
    "eval_count": "ollama",
    "amazon-bedrock-invocationMetrics": "bedrock",
    "inputTextTokenCount": "bedrock",
    "prompt_token_count": "bedrock",
    "stopReason": "bedrock",
    "contentBlockDelta": "bedrock",
    "stop_reason": "anthropic-messages",
}


class SavedAnswer(NamedTuple):
    """An answer, whose it is, and what the gateway would see in it."""

    api: Api
    seen: Seen
    reader: AnswerReader


def read_saved_answer(file: str, *, api: str) -> SavedAnswer:
    """Read a file (`-` is stdin) as an answer of an API, given by its name or a path, or found where it is empty.

    CommandError, in one line, for what is no answer.
    """
    given = _given_api(api)
    name = name_of(file)
    headers, body = _without_head(_bytes_of(file))
    if body.startswith(_GZIP):
        body = _inflated(name, body)
    if not body.strip():
        raise CommandError(f"{name}: it is empty; accepted is the body of an answer, as curl saves it")
    content_type = _content_type_of(headers, body)
    documents = _documents_in(body, content_type)
    found = given or _api_of(documents)
    candidates = [found] if found else [api for api in APIS if api.name != _LIVE]
    read = [_read(candidate, headers, body, content_type) for candidate in candidates]
    understood = [answer for answer in read if _has_content(answer.seen)]
    if not understood:
        raise CommandError(f"{name}: it is no answer of {given.name if given else 'any API that is metered'}")
    return max(understood, key=_facts)


def name_of(file: str) -> str:
    """What a message calls the file."""
    return "stdin" if file == "-" else file


def _given_api(name: str) -> Api | None:
    if not name:
        return None
    api = api_at(name) if name.startswith("/") else _BY_NAME.get(name)
    if api is None:
        raise CommandError(f"--api {name[:80]}: accepted are a path such as /v1/messages, and {', '.join(_BY_NAME)}")
    return api


def _bytes_of(file: str) -> bytes:
    try:
        with io.BytesIO(sys.stdin.buffer.read(MAX_BYTES + 1)) if file == "-" else Path(file).open("rb") as source:
            saved = source.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandError(f"{name_of(file)}: {' '.join(why.split())}") from None
    if len(saved) > MAX_BYTES:
        raise CommandError(f"{name_of(file)}: it is longer than {MAX_BYTES} bytes, the most that is read of an answer")
    return saved


def _inflated(name: str, body: bytes) -> bytes:
    try:
        return b"".join(inflate(body, [b"gzip"], max_bytes=MAX_BYTES))
    except TooLongError:
        raise CommandError(f"{name}: uncompressed it is longer than {MAX_BYTES} bytes, the most that is read") from None
    except CannotInflateError as error:
        raise CommandError(f"{name}: it is compressed and cannot be read: {error}") from None


# Framing.


def _without_head(saved: bytes) -> tuple[Headers, bytes]:
    """The headers that `curl -i` has put before the body, those of the last of several answers; and the body."""
    headers: Headers = []
    while saved.startswith(b"HTTP/"):
        head, blank, rest = saved.replace(b"\r\n\r\n", b"\n\n", 1).partition(b"\n\n")
        if not blank:
            break
        lines = [line.partition(b":") for line in head.splitlines()[1:]]
        headers = [(name.strip().lower(), value.strip()) for name, _, value in lines]
        saved = rest
    return [pair for pair in headers if pair[0] != b"content-encoding"], saved


def _content_type_of(headers: Headers, body: bytes) -> bytes:
    content_type = next((value for name, value in headers if name == b"content-type"), b"")
    if content_type and not content_type.lower().startswith((b"text/plain", b"application/octet-stream")):
        return content_type
    if any(event.data for event in FrameSplitter(max_event_bytes=MAX_BYTES).feed(body)):
        return _FRAMES
    text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text.startswith((b"{", b"[")):
        return _EVENTS if text.startswith((b"data:", b"event:", b"id:", b"retry:", b":")) else _JSON
    return _JSON if parse_body(body) is not UNREADABLE or text.startswith(b"[") else _LINES


def _documents_in(body: bytes, content_type: bytes) -> list[Mapping[str, object]]:
    """The first JSON objects of a body, however they are framed."""
    splitter = splitter_of(framing_of(content_type), max_event_bytes=MAX_BYTES)
    if splitter is None:
        whole = parse_body(body)
        return [mapping_of(one) for one in (whole if isinstance(whole, list) else [whole])[:_LOOKED_AT]]
    events = [*splitter.feed(body), *splitter.flush()]
    data = [event.data for event in events if event.data is not None]
    return [mapping_of(parse_body(one)) for one in (*data[:_LOOKED_AT], *data[-1:])]


# Whose it is.


def _api_of(documents: Iterable[Mapping[str, object]]) -> Api | None:
    names = (_name_of_shape(document) for document in documents)
    return next((_BY_NAME[name] for name in names if name), None)


def _name_of_shape(document: Mapping[str, object]) -> str:
    """The API that alone has documents of this shape; empty where several have."""
    choices = list_of(document.get("choices"))
    for value, table in ((document.get("type"), _TYPES), (document.get("object"), _OBJECTS)):
        for beginning, name in table.items():
            if isinstance(value, str) and value.startswith(beginning):
                return name
    for field, name in _FIELDS.items():
        if field in document:
            return name
    if choices:
        return "openai-completions" if "text" in mapping_of(choices[0]) else "openai-chat"
    return _name_of_results(document)


def _name_of_results(document: Mapping[str, object]) -> str:
    first = mapping_of(next(iter(list_of(document.get("data", document.get("results")))), None))
    if "relevance_score" in first or "search_units" in mapping_of(mapping_of(document.get("meta")).get("billed_units")):
        return "rerank"
    if "embedding" in first:
        return "openai-embeddings"
    if first.keys() & {"b64_json", "url", "revised_prompt"}:
        return "openai-images"
    if isinstance(document.get("text"), str) and document.keys() & {"duration", "segments", "language", "usage"}:
        return "openai-transcriptions"
    if isinstance(document.get("output"), dict) or "inputTokens" in mapping_of(document.get("usage")):
        return "bedrock"
    return "openai-responses" if isinstance(document.get("output"), list) else ""


# What it says.


def _read(api: Api, headers: Headers, body: bytes, content_type: bytes) -> SavedAnswer:
    reader = AnswerReader(api, hide_usage=False, max_body_bytes=MAX_BYTES)
    others = [pair for pair in headers if pair[0] != b"content-type"]
    reader.begin(200, [*others, (b"content-type", content_type)])
    reader.feed(body, last=True)
    return SavedAnswer(api, reader.seen, reader)


def _has_content(seen: Seen) -> bool:
    return seen.readable or seen.has_output or seen.finish is not None or seen.model is not None or has_cost(seen)


def has_cost(seen: Seen) -> bool:
    """Whether it reports a usage or a cost."""
    return seen.usage is not None or seen.header_usage is not None or seen.cost_nanos is not None


def _facts(answer: SavedAnswer) -> tuple[bool, bool, int]:
    seen = answer.seen
    return has_cost(seen), seen.readable, seen.text_bytes
