"""`alerts`: what was told, what waits, what failed; `alerts test` sends one to each receiver."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from budget_middleware.alerts.board import Board
from budget_middleware.alerts.queue import AlertQueue, Delivery, Sending
from budget_middleware.core.alerts.alerts import gap_alert, trial_alert
from budget_middleware.stores.redis import RedisStore
from tests.alerts.receiver import ReceiverServer, receiving
from tests.cli.conftest import RunCli


@pytest.fixture
async def receiver() -> AsyncIterator[ReceiverServer]:
    async with receiving() as server:
        yield server


async def run(cli: RunCli, *words: str, **settings: str):
    return await asyncio.to_thread(cli, *words, **settings)


@pytest.fixture
async def queue(server_url: str, namespace: str) -> AsyncIterator[AlertQueue]:
    store = RedisStore(server_url, namespace=namespace, timeout_s=30)
    yield AlertQueue(store)
    await store.aclose()


async def test_a_test_is_sent_to_each_and_says_what_they_answer(cli: RunCli, receiver: ReceiverServer):
    alerts = f"{receiver.url}#whsec_c2VjcmV0; slack+{receiver.url}"
    ran = await run(cli, "alerts", "test", BUDGET_ALERTS=alerts)
    assert (ran.code, ran.err) == (0, "")
    assert [taken.headers["webhook-id"] for taken in receiver.taken if "webhook-id" in taken.headers] != []
    assert len(receiver.taken) == 2
    receiver.answer = "403 No"
    ran = await run(cli, "alerts", "test", "--json", BUDGET_ALERTS=alerts)
    assert ran.code == 1
    assert [(row["status"], row["is_taken"], row["why"]) for row in ran.json] == [(403, False, "it answers 403")] * 2
    assert "c2VjcmV0" not in ran.out


async def test_without_a_receiver_a_test_says_what_is_missing(cli: RunCli):
    ran = await run(cli, "alerts", "test")
    assert (ran.code, ran.out) == (2, "")
    assert "BUDGET_ALERTS names no receiver; set it as the gateway's is" in ran.err


async def test_what_was_told_waits_and_failed_is_listed(cli: RunCli, queue: AlertQueue):
    ran = await run(cli, "alerts")
    assert (ran.code, ran.out) == (0, "no alerts\n")
    assert "no gateway follows the journal" in ran.err
    sent = trial_alert("budget", time_ms=1_795_012_200_000)
    failed = gap_alert("budget", "", "2 bookings were dropped", seq=7, time_ms=1_795_012_201_000)
    for alert in (sent, failed):
        await queue.add(alert, ["slack:h#123456"])
    await queue.put(sent.id, "slack:h#123456", Delivery(Sending.SENT, 1))
    await queue.put(failed.id, "slack:h#123456", Delivery(Sending.FAILED, 3, 0, "it answers 400"))
    board = Board(queue._store, owner="worker")
    now_ms = (await queue._store.head()).now_ms
    assert await board.take_lease(now_ms)
    await board.put("left_out", {"alerts": 2, "last_ms": now_ms})
    ran = await run(cli, "alerts")
    first, second, third = ran.out.splitlines()
    assert first.split("  ")[1:3] == ["test", "sent"]
    assert second.split("  ")[1:3] == ["journal_gap", "failed"]
    assert third == "    slack:h#123456 failed after 3 attempts: it answers 400"
    assert "2 alerts found no room in the queue" in ran.err
    ran = await run(cli, "alerts", "--json", "--state", "failed")
    assert (ran.json["followed_by"], ran.json["left_out"]) == ("worker", 2)
    (alert,) = ran.json["alerts"]
    assert (alert["id"], alert["time"]) == (failed.id, "2026-11-18T14:30:01.000+00:00")
    assert alert["deliveries"] == [
        {"receiver": "slack:h#123456", "state": "failed", "tries": 3, "next_at": None, "why": "it answers 400"}
    ]
    assert (await run(cli, "alerts", "--account", "team:search")).out == "no alerts\n"
