"""What was read of a request, whatever brought it, and how a long JSON text is read while others run."""

import asyncio
from typing import Protocol, TypeVar

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.bounded_json import UNWEIGHED_BYTES, Steps, parse_in_steps
from budget_middleware.apis.bodies.form import UnclearFormError, names_in_urlencoded, parse_urlencoded
from budget_middleware.apis.bodies.reading import UNREADABLE, parse_body
from budget_middleware.apis.protocol.base import Api, Ask
from budget_middleware.headers import HeaderTable

_T = TypeVar("_T")


class BodyRead(Protocol):
    """What admission needs to know of a request's body; its fields are those of `RequestBody`."""

    headers: HeaderTable
    document: object
    why_unread: str
    is_client_gone: bool
    n_bytes: int


def read_by_length(api: Api, body: BodyRead, *, path: str) -> Ask | None:
    """A request whose body or query allows no estimate, by its path and its length; None where these allow none."""
    try:
        return api.read_request(UNREADABLE, path=path, n_bytes=body.n_bytes)
    except BadRequestError:
        return None


async def parse(text: bytes, *, fields: tuple[str, ...] = ()) -> object:
    """The JSON value of a text, or UNREADABLE; a long one in steps, between which others run. TooManyValuesError."""
    return parse_body(text) if len(text) <= UNWEIGHED_BYTES else await in_steps(parse_in_steps(text, fields=fields))


async def in_steps(steps: Steps[_T]) -> _T:
    """What some steps come to; others may run between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        await asyncio.sleep(0)


def one_reading(text: bytes, document: object) -> object:
    """What an urlencoded body says. `curl` sends JSON under that name too, and some gateways read it as a form."""
    if not isinstance(document, dict):
        return parse_urlencoded(text)
    if not names_in_urlencoded(text).isdisjoint({"model", *document}):
        raise UnclearFormError("the body is JSON, but its content-type says form; send one or the other")
    return document
