"""The places in a request where subjects of accounts stand, and how each is read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from starlette.types import Scope

from budget_middleware.core.fast import maker_of
from budget_middleware.core.payers.accounts import KEY, encode_subject, key_id
from budget_middleware.core.payers.payers import TAG, PayerSubjects, encode_tags, listed_tags
from budget_middleware.core.payers.sources import Origin, Source
from budget_middleware.headers import HeaderTable
from budget_middleware.payers.credentials import (
    TOKEN_HEADERS,
    TOKEN_QUERY,
    credential_in,
    credential_in_query,
    credential_of,
    only_one,
    query_values,
    text_of,
)


class Request(NamedTuple):
    """What a subject is read from. ``credential``: as the gateway's own parser gives it, None where there is none."""

    scope: Scope
    headers: HeaderTable
    body: object
    credential: str | None


request_of = maker_of(Request)
"""Makes a `Request` of a tuple of its fields: one is made for each request of a client."""


class Place(NamedTuple):
    """One place for the subjects of a kind: what ``read`` finds there, empty if nothing, is what ``encode`` takes."""

    read: Callable[[Request], Any]
    encode: Callable[[Any], PayerSubjects]


def place_of(source: Source, *, hash_secret: str) -> Place:
    # A token is hashed in any kind.
    if source.kind == KEY or _is_token(source):
        return Place(_reader(source), partial(key_id, secret=hash_secret))
    if source.kind == TAG:
        return Place(_tags_reader(source), encode_tags)
    return Place(_reader(source), encode_subject)


def is_claim(source: Source) -> bool:
    """Whether anybody may write any subject there; only who has a token can name its hash."""
    is_written_by_client = source.origin in (Origin.HEADER, Origin.BODY, Origin.QUERY)
    return is_written_by_client and not (source.kind == KEY or _is_token(source))


def token_of(scope: Scope) -> str:
    """The request's token, "" if it has none. Raises AmbiguousTokenError."""
    return credential_of(scope, HeaderTable(scope["headers"]))


def _is_token(source: Source) -> bool:
    match source.origin:
        case Origin.TOKEN:
            return True
        case Origin.HEADER:
            return source.name.encode("latin-1") in TOKEN_HEADERS
        case _:
            return source.origin is Origin.QUERY and source.name == TOKEN_QUERY


def _reader(source: Source) -> Callable[[Request], str]:
    name = source.name
    match source.origin:
        case Origin.TOKEN:
            return _credential
        case Origin.HEADER:
            header = name.encode("latin-1")
            if _is_token(source):
                return lambda request: credential_in(header, request.headers)
            return partial(_text_of_header, header, f"several values of the header {name}")
        case Origin.QUERY:
            if _is_token(source):
                return lambda request: credential_in_query(request.scope)
            several = f"several values of the query parameter {name}"
            return lambda request: only_one(query_values(request.scope, name), several)
        case Origin.BODY:
            path = name.split(".")
            return lambda request: _text(_at_path(request.body, path))
        case Origin.STATE:
            return lambda request: _text(_state(request.scope).get(name))
        case Origin.USER:
            return lambda request: _identity(request.scope)


def _tags_reader(source: Source) -> Callable[[Request], list[str]]:
    name = source.name
    match source.origin:
        case Origin.HEADER:
            header = name.encode("latin-1")
            # A list in several headers of one name is one list, to every reader of HTTP.
            return lambda request: _split_tags(map(text_of, request.headers.all(header)))
        case Origin.QUERY:
            return lambda request: _split_tags(query_values(request.scope, name))
        case Origin.BODY:
            path = name.split(".")
            return lambda request: _tags_of(_at_path(request.body, path))
        case Origin.STATE:
            return lambda request: _tags_of(_state(request.scope).get(name))
        case _:
            read = _reader(source)
            return lambda request: _split_tags((read(request),))


def _credential(request: Request) -> str:
    if request.credential is not None:
        return request.credential
    return credential_of(request.scope, request.headers)


def _text_of_header(header: bytes, several: str, request: Request) -> str:
    headers = request.headers
    if header not in headers:
        return ""
    if not headers.repeated:
        return text_of(headers[header])
    return only_one(filter(None, map(text_of, headers.all(header))), several)


def _at_path(value: object, path: Sequence[str]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _tags_of(value: object) -> list[str]:
    # In a list a tag may have commas of its own.
    return listed_tags(map(_text, value)) if isinstance(value, list | tuple) else _split_tags((_text(value),))


def _split_tags(texts: Iterable[str]) -> list[str]:
    return listed_tags(tag for text in texts for tag in text.split(","))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _state(scope: Scope) -> Mapping[str, object]:
    state = scope.get("state")
    return state if isinstance(state, dict) else {}


def _identity(scope: Scope) -> str:
    try:
        return _text(scope["user"].identity)
    # An unauthenticated user has none, and says so in many ways.
    except (KeyError, AttributeError, NotImplementedError):
        return ""
