"""The error that ends a stream which has begun, as one more event of the stream.

| stream | its last event |
|---|---|
| server-sent events | the API's error; with the event name `error` where the error has that type |
| JSON lines | the API's error as a line |
| a JSON array | the API's error as the last element |
| AWS event stream | an exception, as Bedrock reports that it throttles |
"""

import json
from typing import Final

from budget_middleware.apis.protocol.base import Api, Refusal
from budget_middleware.apis.shared.errors import openai_error
from budget_middleware.apis.streams.frames import FrameSplitter, exception_frame
from budget_middleware.apis.streams.json_array import ArraySplitter
from budget_middleware.apis.streams.ndjson import LineSplitter
from budget_middleware.apis.streams.splitting import Splitter

_THROTTLED: Final = "throttlingException"


def error_event(api: Api, refusal: Refusal, splitter: Splitter) -> bytes:
    """The error, framed as the events that this splitter has split; to be written after a whole event."""
    error = _error_of(api, refusal)
    body = json.dumps(error).encode()
    if isinstance(splitter, FrameSplitter):
        return exception_frame(_THROTTLED, body)
    if isinstance(splitter, LineSplitter):
        return body + b"\n"
    if isinstance(splitter, ArraySplitter):
        return b",\n%b]" % body
    name = b"event: error\n" if error.get("type") == "error" else b""
    return b"%bdata: %b\n\n" % (name, body)


def _error_of(api: Api, refusal: Refusal) -> dict[str, object]:
    if api.name == "gemini-interactions":
        return {"event_type": "error", **api.error_body(refusal)}
    return error_with_type(refusal) if api.name == "openai-responses" else api.error_body(refusal)


def error_with_type(refusal: Refusal) -> dict[str, object]:
    """The error of an API whose events all have a type: it documents a flat one, and SDKs look for a nested one."""
    nested = openai_error(refusal)
    error = nested["error"]
    assert isinstance(error, dict), "OpenAI's error is an object"
    return {"type": "error", "code": error["code"], "message": error["message"], "param": None, **nested}
