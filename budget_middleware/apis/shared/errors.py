"""Refusals in the shape of each API, which make its SDKs raise their own errors."""

from typing import Final

from budget_middleware.apis.bodies.reading import mapping_of
from budget_middleware.apis.protocol.base import Reason, Refusal

_OPENAI: Final = {
    Reason.SPENT: ("insufficient_quota", "budget_exhausted"),
    Reason.HELD: ("rate_limit_error", "budget_held"),
    Reason.RATE: ("rate_limit_error", "rate_limit_exceeded"),
    Reason.UNAVAILABLE: ("api_error", "budget_unavailable"),
    Reason.BUSY: ("api_error", "budget_busy"),
    Reason.TOO_SLOW: ("invalid_request_error", "budget_body_too_slow"),
    Reason.BAD_REQUEST: ("invalid_request_error", "budget_bad_request"),
    Reason.AMBIGUOUS_CREDENTIALS: ("invalid_request_error", "ambiguous_credentials"),
    Reason.UNKNOWN_MODEL: ("invalid_request_error", "budget_unknown_model"),
    Reason.UNMETERED: ("invalid_request_error", "budget_unmetered"),
    Reason.MISCONFIGURED: ("api_error", "budget_misconfigured"),
    Reason.STOPPED: ("insufficient_quota", "budget_exhausted"),
}
_CODED: Final = (Reason.AMBIGUOUS_CREDENTIALS, Reason.STOPPED)
# By status, as Anthropic and Google name theirs; what is not listed is the server's fault.
_ANTHROPIC: Final = {
    400: "invalid_request_error",
    402: "billing_error",
    408: "timeout_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_GOOGLE: Final = {
    400: "INVALID_ARGUMENT",
    402: "RESOURCE_EXHAUSTED",
    408: "DEADLINE_EXCEEDED",
    403: "PERMISSION_DENIED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"


def openai_error(refusal: Refusal) -> dict[str, object]:
    """OpenAI's error object."""
    kind, code = _OPENAI[refusal.reason]
    if refusal.reason is Reason.RATE:
        # OpenAI names what is too much there.
        kind = str(refusal.unit)
    return {"error": {"message": refusal.message, "type": kind, "param": None, "code": code}}


def anthropic_error(refusal: Refusal) -> dict[str, object]:
    """Anthropic's error event."""
    kind = _ANTHROPIC.get(refusal.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": _message(refusal)}}


def google_error(refusal: Refusal) -> dict[str, object]:
    """Google's RPC status."""
    status = _GOOGLE.get(refusal.status, "INTERNAL")
    error: dict[str, object] = {"code": refusal.status, "message": _message(refusal), "status": status}
    if refusal.retry_after_s is not None:
        error["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{refusal.retry_after_s}s"}]
    return {"error": error}


def interaction_error(refusal: Refusal) -> dict[str, object]:
    """The error of Google's interactions, whose code is a text."""
    error = mapping_of(google_error(refusal)["error"])
    return {"error": {**error, "code": str(error["status"]).lower()}}


def message_error(refusal: Refusal) -> dict[str, object]:
    """A bare message, as Cohere, Jina and Bedrock have it."""
    return {"message": _message(refusal)}


def ollama_error(refusal: Refusal) -> dict[str, object]:
    """Ollama's bare error."""
    return {"error": _message(refusal)}


def _message(refusal: Refusal) -> str:
    """The message, with the code of its reason where the shape has no field for one and scripts may look for it."""
    return f"{refusal.message} ({refusal.reason})" if refusal.reason in _CODED else refusal.message
