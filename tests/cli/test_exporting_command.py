"""`export`: what was written, and what keeps it from being written."""

import json
from pathlib import Path

import pytest

from budget_middleware.history.connections import open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli
from tests.stores.verbs import UTC, finalize, target


async def copied(store: RedisStore, url: str, namespace: str) -> None:
    team = target("team:search", at_ms=(await store.head()).now_ms)
    await store.finalize(finalize("r1", "0.25", team))
    database = open_database(url)
    await Copier(store, HistoryWriter(database, namespace, timezone=UTC)).copy_all()
    database.close()


async def test_what_was_written(cli: RunCli, store: RedisStore, namespace: str, tmp_path: Path):
    url, folder = f"sqlite:///{tmp_path}/history.db", tmp_path / "out"
    await copied(store, url, namespace)
    ran = cli("export", "--parquet", str(folder), BUDGET_HISTORY_URL=url)
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["table", "rows", "files"],
        ["bookings", "1", "1"],
        ["entries", "1", "1"],
        ["refusals", "0", "0"],
    ]
    (written,) = (folder / "bookings").glob("month=*/part-0.parquet")
    assert written.read_bytes().startswith(b"PAR1")
    again = cli("export", "--parquet", str(folder), "--per", "day", "--json", BUDGET_HISTORY_URL=url)
    assert json.loads(again.out)[0] == {"table": "bookings", "rows": 1, "files": 1}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--parquet", "out"), "an export is of the history: set BUDGET_HISTORY_URL to the one that gateways write"),
        (("--parquet", "out", "--per", "hour"), "'hour': accepted: day, month"),
        ((), "the following arguments are required: --parquet"),
    ],
    ids=["no history", "by hour", "no folder"],
)
def test_what_is_no_export(cli: RunCli, words: tuple[str, ...], why: str):
    ran = cli("export", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert why in ran.err
