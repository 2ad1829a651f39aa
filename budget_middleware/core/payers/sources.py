"""Where in a request the subject of each kind of account is found: the text of `BUDGET_ACCOUNTS`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from budget_middleware.core.payers.accounts import GLOBAL, KIND, MODEL


class Origin(StrEnum):
    """Where in a request a subject is found."""

    TOKEN = "token"  # noqa: S105 - the name of a place, not a secret
    HEADER = "header"
    BODY = "body"
    QUERY = "query"
    STATE = "state"
    USER = "user"


_UNNAMED = (Origin.TOKEN, Origin.USER)
_NAMES: Mapping[str, re.Pattern[str]] = {
    Origin.HEADER: re.compile(r"[A-Za-z0-9!#$%&'*+.^_`~-]+"),
    Origin.BODY: re.compile(r"[^\s.]+(\.[^\s.]+)*"),
    Origin.QUERY: re.compile(r"\S+"),
    Origin.STATE: re.compile(r"\S+"),
}
_ACCEPTED = "token, header:NAME, body:DOTTED.PATH, query:NAME, state:NAME, user, or several joined with |"


@dataclass(frozen=True, slots=True)
class Source:
    """One place for the subject of a kind. `name` is the header (lower case), path or key; else empty."""

    kind: str
    origin: Origin
    name: str


@dataclass(frozen=True, slots=True)
class AccountSource:
    """The places for the subject of a kind; the first that a request carries decides."""

    kind: str
    alternatives: tuple[Source, ...]


def parse_sources(text: str) -> tuple[AccountSource, ...]:
    """Read `key=token; team=header:x-team|body:metadata.team`, in the order written.

    ValueError, in one line, that names the wrong part and what is accepted.
    """
    sources: dict[str, AccountSource] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        source = _parse_account_source(part)
        if source.kind in sources:
            raise ValueError(f"{part[:80]!r} names the kind {source.kind} again; join its sources with |")
        sources[source.kind] = source
    if not sources:
        raise ValueError(f"{text[:80]!r} names no kind; accepted is KIND=SOURCE, such as key=token")
    return tuple(sources.values())


def _parse_account_source(part: str) -> AccountSource:
    kind, _, places = (piece.strip() for piece in part.partition("="))
    if kind in (MODEL, GLOBAL):
        raise ValueError(f"{part[:80]!r} gives a source to {kind}, which is built in; leave it out")
    if "+" in kind:
        raise ValueError(f"{part[:80]!r} gives a source to a compound; give one to each kind, limits join them")
    if not KIND.fullmatch(kind):
        raise ValueError(f"{part[:80]!r} is not KIND=SOURCE, where a kind is a-z followed by a-z, 0-9, _ and -")
    return AccountSource(kind, tuple(_parse_source(kind, place.strip(), part) for place in places.split("|")))


def _parse_source(kind: str, place: str, part: str) -> Source:
    origin_text, colon, name = place.partition(":")
    if origin_text in _UNNAMED and not colon:
        return Source(kind, Origin(origin_text), "")
    pattern = _NAMES.get(origin_text)
    if pattern is None or not pattern.fullmatch(name):
        raise ValueError(f"{part[:80]!r} has the source {place[:80]!r}; accepted are {_ACCEPTED}")
    origin = Origin(origin_text)
    return Source(kind, origin, name.lower() if origin is Origin.HEADER else name)
