"""`explain`, `journal` and `audit --history` say where their answer is from."""

from pathlib import Path

import pytest

from budget_middleware.history.connections import open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.redis.keys import key_prefix
from tests.cli.conftest import RunCli
from tests.stores.verbs import UTC, adjust, finalize, target

ID = "a" * 32


@pytest.fixture
async def history_url(store: RedisStore, namespace: str, tmp_path: Path) -> str:
    """That of a ledger of which the journal has dropped all but the last entry."""
    url = f"sqlite:///{tmp_path}/history.db"
    team = target("team:search", at_ms=(await store.head()).now_ms)
    await store.finalize(finalize(ID, "0.25", team))
    await store.adjust(adjust("b" * 32, "1", team))
    database = open_database(url)
    await Copier(store, HistoryWriter(database, namespace, timezone=UTC)).copy_all()
    database.close()
    async with store._reading() as client:
        await client.zremrangebyrank(f"{key_prefix(namespace)}entries", 0, 0)
    return url


def test_explain(cli: RunCli, history_url: str):
    ran = cli("explain", ID, BUDGET_HISTORY_URL=history_url)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{ID}: it is over and has booked $0.25;")
    assert ran.out.splitlines()[-1] == "from the history, and from the journal what that has not yet"
    assert cli("explain", ID).code == 1, "the journal has nothing of it any more"
    account = cli("explain", "team:search", BUDGET_HISTORY_URL=history_url)
    assert "$0.25 was booked" in account.out
    assert "NOTHING EXPLAINS" not in account.out


def test_journal(cli: RunCli, history_url: str):
    ran = cli("journal", BUDGET_HISTORY_URL=history_url)
    first, _, *entries = ran.out.splitlines()
    assert first == "the first 1 of these are from the history, the others from the journal"
    assert [line.split()[0] for line in entries] == ["1", "2"]
    assert len(cli("journal", "--json", BUDGET_HISTORY_URL=history_url).out.splitlines()) == 2
    assert len(cli("journal", "--json").out.splitlines()) == 1


def test_audit(cli: RunCli, history_url: str):
    assert "1 of 1 counters add up from their oldest entry on" in cli("audit").out
    assert cli("audit", "--history", BUDGET_HISTORY_URL=history_url).out.endswith("every counter adds up\n")
    ran = cli("audit", "--history")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--history needs BUDGET_HISTORY_URL" in ran.err


def test_a_report_while_the_store_is_away(cli: RunCli, history_url: str):
    away = {"BUDGET_HISTORY_URL": history_url, "BUDGET_STORE_URL": "redis://127.0.0.1:1/0"}
    ran = cli("report", "--by", "team", **away)
    assert ran.code == 0
    assert ran.out.splitlines()[1].split()[:3] == ["team:search", "1", "1.25"]
    (warning,) = [line for line in ran.err.splitlines() if "warning" in line]
    assert "bookings missing after 20" in warning
    assert "the store gives no answer" in warning
    assert cli("report", BUDGET_STORE_URL="redis://127.0.0.1:1/0").code == 2
    assert cli("explain", ID, **away).code == 2
