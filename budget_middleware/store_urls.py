"""Which texts are URLs of stores."""

import re
from urllib.parse import SplitResult, urlsplit

from budget_middleware.databases.postgres.dialing import check_url
from budget_middleware.databases.urls import SQLITE, names_postgres, parse_sqlite, scheme_of


def checked_store_url(value: str) -> str:
    """The URL itself. ValueError, with a line only where the line is better than what is accepted of all stores."""
    if scheme_of(value) == SQLITE:
        parse_sqlite(value)
        return value
    if names_postgres(value):
        check_url(value)
        return value
    try:
        # What follows `redis+cluster://` is for the store to read.
        fits = _is_local(value) or re.match(r"rediss?\+[a-z]+://.", value) or _is_server(urlsplit(value))
    except ValueError:
        raise ValueError from None  # The parser's own words quote the port, which may be a password's tail.
    if not fits or re.search(r"[\s#]", value):
        raise ValueError
    return value


def what_to_check(url: str) -> str:
    """What an operator looks at where a store gives no answer."""
    if scheme_of(url) == SQLITE:
        return f"`fuser {parse_sqlite(url).path}` tells which processes have it open"
    return "check that the server runs, that this machine reaches it, and its password"


def _is_local(value: str) -> bool:
    return value == "memory://" or re.match(r"unix://([^/?]*@)?/[^?]", value) is not None


def _is_server(url: SplitResult) -> bool:
    return url.scheme in {"redis", "rediss"} and url.port != 0 and re.fullmatch(r"/?[0-9]*", url.path) is not None
