"""URLs of databases: which are read, and the one line for each that is not."""

import re
from pathlib import Path

import pytest

from budget_middleware.databases.urls import PostgresUrl, SqliteUrl, Synchronous, names_database, parse_url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///budget.db", Path.cwd() / "budget.db"),
        ("sqlite:///data/budget.db", Path.cwd() / "data/budget.db"),
        ("sqlite:////var/lib/budget.db", Path("/var/lib/budget.db")),
        ("SQLite:////var/lib/a%20b%25.db", Path("/var/lib/a b%.db")),
    ],
)
def test_a_file(url, path):
    assert parse_url(url) == SqliteUrl(path, Synchronous.NORMAL)


def test_what_a_commit_waits_for():
    assert parse_url("sqlite:////b.db?synchronous=full") == SqliteUrl(Path("/b.db"), Synchronous.FULL)


def test_postgres_goes_to_its_driver_as_it_is():
    url = "postgresql://me:secret@db:5432/budget?sslmode=require"
    assert parse_url(url) == PostgresUrl(url, {"sslmode": "require"})


FORM = "accepted: sqlite:///PATH below the working directory, or sqlite:////PATH from the root"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("mysql://db", "accepted: sqlite:///PATH, postgresql://USER:PASSWORD@HOST:PORT/NAME"),
        ("sqlite://budget.db", FORM),
        ("sqlite:budget.db", FORM),
        ("sqlite:///", FORM),
        ("sqlite:///a#b", FORM),
        ("sqlite:///:memory:", "a file is accepted: what is in memory no other process sees; memory:// is for tests"),
        ("sqlite:////var/lib/", "a file is accepted, not a folder"),
        ("sqlite:///b.db?synchronous=off", "synchronous='off': accepted: normal, full"),
        ("sqlite:///b.db?mode=ro", "the option 'mode' is not known; accepted is synchronous"),
    ],
)
def test_one_line_says_what_is_accepted(url, line):
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        parse_url(url)


def test_which_urls_are_of_databases():
    urls = ["sqlite:///b.db", "sqlite://wrong", "postgresql://db/n", "postgres://db/n", "redis://h", "memory://"]
    assert [names_database(url) for url in urls] == [True, True, True, True, False, False]
