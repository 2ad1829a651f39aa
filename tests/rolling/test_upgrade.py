"""A file of SQLite that an earlier version has made, by its own code: the newer one opens it, adds up and goes on.

What a Redis has from the format before is upgraded by `test_rolling_deploy.py`, under load and in both directions.
"""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from budget_middleware.databases.migrations import VERSIONS_TABLE
from budget_middleware.stores.sql.schema import COMPONENT, SQLITE_STEPS
from tests.e2e.servers import REPOSITORY
from tests.rolling.versions import Version, unpack

pytestmark = pytest.mark.processes

FIRST_COMMIT = "e4aef02"
"""Its files have the first schema of version 0.1: one table fewer than today's."""

LEAVES = """
import asyncio, os, sys
from budget_middleware import open_ledger

async def main() -> None:
    ledger = open_ledger()
    async with ledger.reservation({"team": "a"}, estimate_usd="0.50") as done:
        done.add_cost("0.125")
    async with ledger.reservation({"team": "a"}, estimate_usd="0.25") as left:
        print(left.reservation_id, flush=True)
        os._exit(0)  # Killed: what it holds stays until its lease is over.

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return Version("first", unpack(FIRST_COMMIT, tmp_path_factory.mktemp("first")), format=2)


def rows(version: Version, *words: str, settings: dict[str, str]) -> list[dict[str, str]]:
    ran = version.run(*words, "--json", settings=settings)
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


def schema_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        (version,) = connection.execute(f"select version from {VERSIONS_TABLE} where component = ?", [COMPONENT])
        return version[0]


def test_a_file_of_the_first_schema_is_taken_over(first: Version, tmp_path: Path):
    newest = Version("newest", REPOSITORY, format=2)
    settings = {
        "BUDGET_STORE_URL": f"sqlite:///{tmp_path / 'budget.db'}",
        "BUDGET_LIMITS": "team=1/month",
        "BUDGET_ACCOUNTS": "team=header:x-team",
        "BUDGET_LEASE_S": "300",
    }
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | settings
    left = subprocess.run(
        [sys.executable, "-c", LEAVES], cwd=first.tree, env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert first.run("limit", "set", "team:a", "2/month", settings=settings).returncode == 0
    before = rows(first, "status", settings=settings)
    assert [(row["spent_usd"], row["reserved_usd"], row["limit_usd"]) for row in before] == [("0.125", "0.25", "2.00")]

    assert schema_of(tmp_path / "budget.db") == 1

    assert rows(newest, "status", settings=settings) == before
    id_ = left.stdout.strip()
    assert [hold["id"] for hold in rows(newest, "holds", settings=settings)] == [id_]
    assert newest.run("release", id_, "--reason", "its worker is gone", settings=settings).returncode == 0
    assert newest.run("adjust", "team:a", "-0.025", "--reason", "credit", settings=settings).returncode == 0

    (after,) = rows(newest, "status", settings=settings)
    assert (after["spent_usd"], after["reserved_usd"]) == ("0.10", "0.00")
    assert schema_of(tmp_path / "budget.db") == len(SQLITE_STEPS) > 1
    audit = newest.run("audit", settings=settings)
    assert (audit.returncode, audit.stdout.splitlines()[-1]) == (0, "every counter adds up")
