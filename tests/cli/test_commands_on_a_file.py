"""Commands on a file of SQLite, from processes that are not the gateway's."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from budget_middleware.operations.doctor.file import LEAST_FREE_BYTES, disk_finding
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from tests.cli.conftest import RunCli
from tests.stores.verbs import LASTING, reserve


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/budget.db"


async def test_what_gateways_keep_is_there_for_every_command(cli: RunCli, url: str):
    store = SqliteStore(url, namespace="budget")
    await store.reserve(reserve("r1", "0.25", LASTING))
    settings = {"BUDGET_STORE_URL": url, "BUDGET_NAMESPACE": "budget"}
    (counter,) = cli("status", "--json", **settings).json
    assert (counter["account"], counter["reserved_usd"]) == ("key:a", "0.25")
    assert cli("limit", "set", "team:b", "2/day", "--new", **settings).code == 0
    assert (await store.limits()).limits == {("team:b", "day"): 2_000_000_000}
    await store.aclose()


async def make_file(url: str) -> None:
    """As a gateway does; commands make none."""
    store = SqliteStore(url)
    await store.check()
    await store.aclose()


async def test_the_doctor_looks_at_the_file(cli: RunCli, url: str, tmp_path: Path):
    await make_file(url)
    ran = cli("doctor", "--json", BUDGET_STORE_URL=f"{url}?synchronous=full", BUDGET_LIMITS="key=1/day")
    found = {finding["check"]: (finding["status"], finding["message"]) for finding in ran.json}
    assert ran.code == 0
    assert found["store"][0] == found["file"][0] == found["disk"][0] == "ok"
    assert "answers in" in found["store"][1]
    assert found["file"] == ("ok", "quick_check finds it sound")
    path = tmp_path / "budget.db"
    assert found["persistence"] == ("ok", f"{path}: neither a crash nor a power cut loses a commit")


async def test_who_has_a_locked_file_is_for_the_operator_to_find(cli: RunCli, url: str, tmp_path: Path):
    await make_file(url)
    settings = {"BUDGET_STORE_URL": url, "BUDGET_STORE_TIMEOUT_S": "0.2"}
    assert cli("status", **settings).code == 0
    with closing(sqlite3.connect(tmp_path / "budget.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        assert cli("status", **settings).code == 0, "readers never wait"
        ran = cli("limit", "set", "team:b", "2/day", "--new", **settings)
    assert ran.code == 2
    assert "locked" in ran.err
    assert ran.err.endswith(f"`fuser {tmp_path}/budget.db` tells which processes have it open\n")


@pytest.mark.parametrize(("free", "status"), [(LEAST_FREE_BYTES, "ok"), (LEAST_FREE_BYTES - 1, "warn")])
def test_a_disk_with_little_room(free: int, status: str):
    assert disk_finding(free_bytes=free, total_bytes=2**40).status == status
