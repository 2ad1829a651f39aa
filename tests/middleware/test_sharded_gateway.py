"""Gateways over a ledger with shards: requests of all teams, at two workers, on a real server."""

import asyncio
from collections import Counter

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.core.model import Balance
from budget_middleware.stores.journals import journals_of
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.stores.audit import audit

BODY = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
ANSWER = {"model": "test-model", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
COST_NANOS = 9 * 1_000 + 3 * 2_000


@pytest.mark.proves("I4", "I6")
async def test_each_request_is_booked_on_its_team_and_on_what_all_share(server_url: str, namespace: str):
    workers = [
        BudgetMiddleware(
            ScriptedApp(*json_answer(ANSWER)),
            store_url=server_url,
            namespace=namespace,
            shard_by="team/4",
            accounts="key=token;team=header:x-team",
            limits="team=1/day; team:poor=0.00002/day; global=1/day",
            unknown_model="1/2",
            store_timeout_s="10",
        )
        for _ in range(2)
    ]

    async def ask(number: int, team: str) -> int:
        headers = {"authorization": f"Bearer k{number % 5}", "x-team": team}
        return (await call(workers[number % 2], BODY, headers=headers)).status

    teams = ["search", "ads", "maps", "poor"] * 6
    statuses = Counter(
        zip(teams, await asyncio.gather(*[ask(number, team) for number, team in enumerate(teams)]), strict=True)
    )
    for team in ("search", "ads", "maps"):
        assert statuses[team, 200] == 6
    assert statuses["poor", 429] == 6 - statuses["poor", 200] > 0
    served = sum(count for (_, status), count in statuses.items() if status == 200)
    store = workers[0].ledger.store
    shown = {view.counter.account: view.balance for view in await store.counters()}
    assert shown["global"] == Balance(served * COST_NANOS, 0)
    for team in ("search", "ads", "maps"):
        assert shown[f"team:{team}"] == Balance(6 * COST_NANOS, 0)
    assert sum(balance.spent for account, balance in shown.items() if account.startswith("key:")) == served * COST_NANOS
    assert {"main"} < set(await journals_of(store))
    await audit(store)
    for worker in workers:
        await worker.ledger.drain()
