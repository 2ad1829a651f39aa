"""Errors inside of answers whose status says that all is well, in any dialect.

Whether output came before the error decides what is booked, so only what can be nothing but an error is taken for one.
"""

from collections.abc import Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import mapping_of
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.outcome import Finish

_MAY_TELL_ONE: Final = frozenset(
    {"error", "errors", "type", "object", "success", "base_resp", "detail", "status", "code", "error_code"}
)
# The codes of envelopes for calls that went well.
_SUCCESS: Final = (0, 200, "", "0", "200", "ok", "OK", "success", "Success")

# Beside an error, and read by no dialect as text, it may have been generated all the same.
_MAY_BE_OUTPUT: Final = ("output", "result", "text", "content", "completion", "generated_text", "data")


def read_failure(answer: Mapping[str, object], seen: Seen) -> None:
    """Note the error that a whole answer, or an event of a stream, reports."""
    if not _MAY_TELL_ONE.isdisjoint(answer) and _is_error(answer):
        seen.take_finish(Finish.FAILED)
        seen.has_unread_output |= any(answer.get(name) for name in _MAY_BE_OUTPUT)


def read_bare_message(answer: Mapping[str, object], seen: Seen) -> None:
    """Note an error of Bedrock's or Cohere's, which is a message and nothing else."""
    if isinstance(answer.get("message"), str) and answer["message"] and _is_alone("message", answer):
        seen.take_finish(Finish.FAILED)


def _is_error(answer: Mapping[str, object]) -> bool:
    if answer.get("error") or answer.get("type") == "error" or answer.get("object") == "error":
        return True
    # Responses; in other dialects a status of that name means the same.
    if answer.get("status") == "failed":
        return True
    # Cloudflare's, Zhipu's and MiniMax's envelopes.
    if (answer.get("errors") and _is_alone("errors", answer)) or answer.get("success") is False:
        return True
    if mapping_of(answer.get("base_resp")).get("status_code", 0) not in (0, None):
        return True
    # SiliconFlow's, Zhipu's, DashScope's and Baidu's.
    if _is_error_code(answer.get("code", answer.get("error_code"))) and _has_message(answer):
        return _is_alone("message", answer)
    # Python web frameworks' own.
    return bool(answer.get("detail")) and _is_alone("detail", answer)


def _is_error_code(code: object) -> bool:
    return code not in _SUCCESS if isinstance(code, int | str) else False


def _has_message(answer: Mapping[str, object]) -> bool:
    return any(isinstance(answer.get(name), str) for name in ("message", "msg", "error_msg"))


def _is_alone(field: str, answer: Mapping[str, object]) -> bool:
    """Whether no other field of an answer can hold any output."""
    return not any(isinstance(value, list | dict) and value for name, value in answer.items() if name != field)
