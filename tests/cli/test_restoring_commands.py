"""`history`, `restore` and what `doctor` says of a history, on a real server that forgets everything."""

import json
from pathlib import Path
from typing import Any

import pytest

from budget_middleware.core.model import Target
from budget_middleware.core.windows import Period
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import Ran, RunCli
from tests.stores.verbs import adjust, finalize


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {"BUDGET_HISTORY_URL": f"sqlite:///{tmp_path}/history.db"}


async def lose(store: RedisStore) -> None:
    client = store._client()
    await client.unlink(*[key async for key in client.scan_iter(f"{store._prefix}*")])


def health_of_history(ran: Ran) -> str:
    (status,) = [finding["status"] for finding in ran.json if finding["check"] == "history"]
    return str(status)


async def test_a_lost_store_is_restored(cli: RunCli, store: RedisStore, month: Target, settings: dict[str, Any]):
    await store.finalize(finalize("r1", "0.10", month))
    await store.adjust(adjust("a1", "0.05", month))
    await store.set_limit("key:*", period=Period.MONTH, limit_nanos=10**10)
    assert health_of_history(cli("doctor", "--json", **settings)) == "fail"
    copied = cli("history", "--copy", "--json", **settings)
    assert (copied.code, copied.err) == (0, "budget-middleware: 2 entries copied\n")
    (generation,) = copied.json["generations"]
    assert (generation["last_seq"], generation["behind"], generation["is_current"]) == (2, 0, True)
    assert copied.json["gaps"] == []
    assert health_of_history(cli("doctor", "--json", **settings)) == "ok"

    await lose(store)
    await store.finalize(finalize("r2", "0.20", month))
    assert health_of_history(cli("doctor", "--json", **settings)) == "fail"
    refused = cli("restore", **settings)
    assert refused.code == 2
    assert refused.err.startswith("budget-middleware: the store has 1 counter already; add --live")
    counter = {"account": "key:abcabc0000000000", "period": "month", "window": month.window.id, "unit": "usd"}
    figures = {"spent_usd": "0.20", "restored_usd": "0.15", "spent_after_usd": "0.35"}
    looked = cli("restore", "--live", "--dry-run", "--json", **settings)
    assert looked.json["counters"] == [{**counter, **figures}]
    done = cli("restore", "--live", "--json", **settings)
    assert (done.code, done.json) == (0, looked.json)
    assert (done.json["endings"], done.json["limits"]) == (1, 1)
    again = cli("restore", "--live", **settings)
    assert again.out.startswith("no counter of it lacks anything\n0 counters restored as of ")
    assert cli("audit").code == 0
    assert {view.counter: view.balance.spent for view in await store.counters()} == {month.counter: 350_000_000}
    assert (await store.limits()).limits == {("key:*", Period.MONTH): 10**10}


async def test_what_was_migrated_is_not_booked_again(
    cli: RunCli, store: RedisStore, month: Target, settings: dict[str, Any], server_url: str
):
    await store.finalize(finalize("r1", "0.10", month))
    assert cli("history", "--copy", **settings).code == 0
    moved = settings["BUDGET_HISTORY_URL"].replace("history.db", "moved.db")
    assert cli("migrate", server_url, moved, "--until-quiet", "0").code == 0
    generation = (await store.head()).generation
    reported = cli("report", "--since", "2000-01", "--json", **settings, BUDGET_STORE_URL=moved)
    total = json.loads(reported.out.splitlines()[-1])["total"]
    assert (total["requests"], total["cost_usd"]) == (1, "0.10")
    for words in (("--live",), ("--live", "--dry-run"), ("--live", "--generation", generation)):
        ran = cli("restore", *words, **settings, BUDGET_STORE_URL=moved)
        refusal = f"generation {generation} was migrated to this store with all that it had booked: nothing was lost"
        assert (ran.code, ran.err) == (2, f"budget-middleware: {refusal}\n")


@pytest.mark.parametrize("words", [("restore",), ("history",), ("history", "--copy")], ids=" ".join)
def test_without_a_history_it_says_which_setting_is_missing(cli: RunCli, words: tuple[str, ...]):
    ran = cli(*words)
    assert ran.code == 2
    assert ran.err.startswith("budget-middleware: BUDGET_HISTORY_URL is not set")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("words", [("restore",), ("history",)], ids=" ".join)
def test_a_history_that_is_not_there(cli: RunCli, words: tuple[str, ...], tmp_path: Path):
    ran = cli(*words, BUDGET_HISTORY_URL=f"sqlite:///{tmp_path}/none.db")
    assert ran.code == 2
    assert "there is no history in" in ran.err
    assert not (tmp_path / "none.db").exists()


def test_a_generation_that_was_never_there(cli: RunCli, store: RedisStore, settings: dict[str, Any]):
    ran = cli("history", "--copy", **settings)
    assert (ran.code, ran.err) == (0, "budget-middleware: 0 entries copied\n")
    ran = cli("restore", "--generation", "abc", **settings)
    assert ran.code == 2
    assert "'abc' is no generation that was lost; the history has " in ran.err
