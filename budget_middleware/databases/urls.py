"""The URLs of databases: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``postgresql://host/name``."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

SQLITE: Final = "sqlite"
POSTGRES: Final = "postgresql"

ACCEPTED: Final = "sqlite:///PATH, postgresql://USER:PASSWORD@HOST:PORT/NAME"


class Synchronous(StrEnum):
    """What a commit waits for. With NORMAL the disk gets it a moment later: only a power cut may lose it."""

    NORMAL = "normal"
    FULL = "full"


class SqliteUrl(NamedTuple):
    """A file of SQLite; its path is absolute."""

    path: Path
    synchronous: Synchronous = Synchronous.NORMAL


class PostgresUrl(NamedTuple):
    """A database of Postgres, as its driver takes it, and the options that are ours."""

    url: str
    options: Mapping[str, str]


def names_database(url: str) -> bool:
    """Whether a URL is one of a database, be it right or wrong."""
    return scheme_of(url) == SQLITE or names_postgres(url)


def names_postgres(url: str) -> bool:
    return scheme_of(url) in {POSTGRES, "postgres"}


def scheme_of(url: str) -> str:
    return url.partition(":")[0].lower()


def parse_url(url: str) -> SqliteUrl | PostgresUrl:
    """ValueError, in one line and without a password, for one that names no database."""
    if scheme_of(url) == SQLITE:
        return parse_sqlite(url)
    if names_postgres(url):
        return PostgresUrl(url, options_of(url))
    raise ValueError(f"accepted: {ACCEPTED}")


def checked_url(url: str) -> str:
    """The same URL, or none; ValueError as `parse_url`."""
    if url:
        parse_url(url)
    return url


def parse_sqlite(url: str) -> SqliteUrl:
    """The file of a URL; a relative path is one below the working directory of the process. ValueError."""
    address, _, _ = url.partition("?")
    match = re.fullmatch(r"(?i:sqlite):///([^#\0]+)", address)
    if match is None:
        raise ValueError("accepted: sqlite:///PATH below the working directory, or sqlite:////PATH from the root")
    path = unquote(match[1])
    if path.startswith(":memory:"):
        raise ValueError("a file is accepted: what is in memory no other process sees; memory:// is for tests")
    if path.endswith("/"):
        raise ValueError("a file is accepted, not a folder")
    options = options_of(url)
    synchronous = options.pop("synchronous", Synchronous.NORMAL)
    if options:
        raise ValueError(f"the option {next(iter(options))[:40]!r} is not known; accepted is synchronous")
    if synchronous not in list(Synchronous):
        raise ValueError(f"synchronous={synchronous[:40]!r}: accepted: {', '.join(Synchronous)}")
    return SqliteUrl(Path(path).absolute(), Synchronous(synchronous))


def options_of(url: str) -> dict[str, str]:
    """What stands behind the question mark; of an option that stands there twice the last one."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
