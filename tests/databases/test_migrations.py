"""Steps of a schema, on real files."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from budget_middleware.databases.migrations import NewerSchema, Steps
from budget_middleware.databases.sqlite import connect, migrate
from budget_middleware.databases.urls import SqliteUrl

FIRST: Steps = [("create table a (x bigint)", "insert into a values (1)")]
SECOND: Steps = [*FIRST, ("alter table a add column y bigint",)]


@pytest.fixture
def url(tmp_path: Path) -> SqliteUrl:
    return SqliteUrl(tmp_path / "budget.db")


def rows(url: SqliteUrl, which: str) -> list[tuple[object, ...]]:
    connection = connect(url, busy_s=5)
    try:
        return connection.execute(which).fetchall()
    finally:
        connection.close()


def lead(url: SqliteUrl, component: str, steps: Steps) -> None:
    connection = connect(url, busy_s=5)
    try:
        migrate(connection, component, steps, path=url.path)
    finally:
        connection.close()


def test_only_missing_steps_are_made(url: SqliteUrl):
    lead(url, "ledger", FIRST)
    lead(url, "ledger", FIRST)
    lead(url, "ledger", SECOND)
    assert rows(url, "select x, y from a") == [(1, None)]
    assert rows(url, "select component, version from budget_schema") == [("ledger", 2)]


def test_each_component_has_a_version_of_its_own(url: SqliteUrl):
    lead(url, "ledger", SECOND)
    lead(url, "history", [("create table b (x bigint)",)])
    assert rows(url, "select * from budget_schema order by 1") == [("history", 1), ("ledger", 2)]


def test_a_newer_schema_is_refused_in_one_line(url: SqliteUrl):
    lead(url, "ledger", SECOND)
    with pytest.raises(NewerSchema) as refused:
        lead(url, "ledger", FIRST)
    assert str(refused.value) == (
        "the tables of ledger were made by a newer version of budget_middleware"
        " (schema 2; this one knows up to 1); upgrade budget_middleware"
    )


def test_a_step_that_fails_leaves_nothing(url: SqliteUrl):
    with pytest.raises(Exception, match="no such table: nowhere"):
        lead(url, "ledger", [*FIRST, ("insert into nowhere values (1)",)])
    assert rows(url, "select name from sqlite_master") == []


def test_those_that_start_together_migrate_once(url: SqliteUrl):
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda _: lead(url, "ledger", SECOND), range(16)))
    assert rows(url, "select x from a") == [(1,)]


def test_a_file_that_others_made_is_left_as_it_is(url: SqliteUrl):
    other = sqlite3.connect(url.path)
    other.execute("create table theirs (x)")
    other.commit()
    other.close()
    lead(url, "ledger", FIRST)
    assert rows(url, "select x from theirs") == []
