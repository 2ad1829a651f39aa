"""Errors as `application/problem+json` (RFC 9457), and the status of each error that an operation raises."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from budget_middleware.operations.context import no_answer
from budget_middleware.operations.errors import (
    OperationError,
    StoreRefused,
    StoreUnavailable,
    Unconfirmed,
    UnknownFate,
)
from budget_middleware.settings import Settings, SettingsError

MEDIA_TYPE: Final = "application/problem+json"
_SHOWN_ERRORS: Final = 20
_METHODS: Final = ("DELETE", "GET", "POST", "PUT")


class Problem(Exception):
    """An answer that says why not: a status, one sentence, and what a program may want to know besides."""

    def __init__(self, status: int, detail: str = "", **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.more = more


def problem_response(
    status: int, detail: str = "", *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """`type` is about:blank: the status says which problem it is, and `detail` in one sentence why."""
    why = {"detail": detail} if detail else {}
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, **why, **more}
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def unauthorized() -> Response:
    """The same for no token, a wrong one, and a session that is over."""
    return problem_response(401, headers={"www-authenticate": 'Bearer realm="budget"'})


def too_many_wrong_tokens(retry_after_s: float) -> Response:
    return problem_response(429, headers={"retry-after": str(math.ceil(retry_after_s))})


def add_problem_handlers(app: FastAPI, settings: Settings) -> None:
    """Answer every exception by a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            return problem_response(405, headers={"allow": ", ".join(_methods_at(request))})
        return _problem_of(error, settings)

    for error in (Problem, HTTPException, RequestValidationError, OperationError, StoreRefused, SettingsError):
        app.add_exception_handler(error, answer)
    app.add_exception_handler(StoreUnavailable, answer)
    app.add_exception_handler(Exception, answer)


def _problem_of(error: Exception, settings: Settings) -> Response:
    match error:
        case Problem():
            return problem_response(error.status, error.detail, **error.more)
        case HTTPException():
            return problem_response(error.status_code, headers=error.headers)
        case RequestValidationError():
            return problem_response(422, _first_line(error), errors=_lines(error))
        case Unconfirmed():
            detail = f'{error}, or send "confirm": ["{error.needs}"]'
            return problem_response(409, detail, needs=error.needs)
        case OperationError():
            return problem_response(422, str(error))
        case UnknownFate():
            detail = f"{_one_line(error)}; it may have been done: look in the journal before you repeat it"
            return problem_response(504, detail)
        case StoreUnavailable():
            return problem_response(503, no_answer(settings, error), headers={"retry-after": "5"})
        case StoreRefused():
            return problem_response(503, f"the store refused and changed nothing: {_one_line(error)}")
        case SettingsError():
            return problem_response(500, str(error))
    # Starlette raises it again, and the server logs it.
    return problem_response(500)


def _methods_at(request: Request) -> list[str]:
    """All methods of a path, which may be those of several routes."""
    routes = request.app.routes
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _lines(error: RequestValidationError) -> list[dict[str, str]]:
    """Where and what, and never the value: it may be a token at the wrong place."""
    return [
        {"at": ".".join(map(str, each["loc"])), "what": str(each["msg"]).removeprefix("Value error, ")}
        for each in error.errors()[:_SHOWN_ERRORS]
    ]


def _first_line(error: RequestValidationError) -> str:
    first = _lines(error)[0]
    return f"{first['at']}: {first['what']}"
