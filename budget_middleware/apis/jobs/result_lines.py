"""A line of results as an object, of which little is made where it has very many values.

An answer with the probabilities of all tokens, or thousands of embeddings, has hundreds of thousands of values, and to
make an object of each stops a worker for seconds. So what is long is cut down to what its usage is read from.
"""

from collections.abc import Mapping

import msgspec

from budget_middleware.apis.bodies.bounded_answer import is_heavy, lightened
from budget_middleware.apis.bodies.reading import mapping_of, parse_body

_NONE = msgspec.Raw(b"null")


class _Response(msgspec.Struct, gc=False):
    status_code: int | None = None
    body: msgspec.Raw = _NONE


class _Outcome(msgspec.Struct, gc=False):
    type: str | None = None
    message: msgspec.Raw = _NONE


class _Line(msgspec.Struct, gc=False):
    response: msgspec.Raw = _NONE
    result: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE


_read_line = msgspec.json.Decoder(_Line).decode
_read_response = msgspec.json.Decoder(_Response | None).decode
_read_outcome = msgspec.json.Decoder(_Outcome | None).decode


def result_in(line: bytes) -> tuple[Mapping[str, object], bool]:
    """The object that a line is, and whether all of it was read; an empty one where it is none."""
    if not is_heavy(line):
        return mapping_of(parse_body(line)), True
    try:
        return _short_result(_read_line(line)), False
    except (ValueError, RecursionError):
        return {}, False


def _short_result(line: _Line) -> Mapping[str, object]:
    # Its own fields are those of an answer (Gemini), or it holds one.
    response: dict[str, object] = {**mapping_of(parse_body(lightened(bytes(line.response))))}
    if held := _read_response(line.response):
        response |= {"status_code": held.status_code, "body": parse_body(lightened(bytes(held.body)))}
    result: dict[str, object] = {"response": response}
    if outcome := _read_outcome(line.result):
        result["result"] = {"type": outcome.type, "message": parse_body(lightened(bytes(outcome.message)))}
    return {**result, "error": True} if bytes(line.error) != b"null" else result
