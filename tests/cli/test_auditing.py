"""`audit` on a real server: clean, with a figure changed by hand, and beside live traffic."""

import asyncio
import json
import os

import redis.asyncio

from budget_middleware.core.model import Target
from budget_middleware.stores.base import Retention
from budget_middleware.stores.redis import RedisStore, key_prefix
from tests.cli.conftest import COMMAND, RunCli
from tests.stores.verbs import adjust, finalize, reserve, target


async def _change_by_hand(server_url: str, namespace: str, counter: Target, field: str, nanos: int) -> None:
    async with redis.asyncio.Redis.from_url(server_url) as client:
        await client.hincrby(f"{key_prefix(namespace)}c:{'|'.join(counter.counter)}", field, nanos)


async def _some_history(store: RedisStore, month: Target) -> None:
    await store.reserve(reserve("r1", "0.60", month))
    await store.finalize(finalize("r1", "0.10", month))
    await store.reserve(reserve("r2", "0.25", month))
    await store.adjust(adjust("a1", "-5", month))


async def test_no_drift(cli: RunCli, store: RedisStore, month: Target):
    nothing = cli("audit")
    assert (nothing.code, nothing.out) == (
        0,
        "0 counters, 0 reservations, 0 unproved, 0 drift\nevery counter adds up\n",
    )
    await _some_history(store, month)
    ran = cli("audit", "--json")
    assert (ran.code, ran.json) == (0, {"counters": 1, "reservations": 1, "drift": []})


async def test_a_figure_changed_by_hand(cli: RunCli, store: RedisStore, month: Target, server_url: str, namespace: str):
    await _some_history(store, month)
    await _change_by_hand(server_url, namespace, month, "reserved", 1)
    where = {"account": "key:abc", "period": "month", "window": month.window.id}

    ran = cli("audit", "--json")
    assert ran.code == 1
    assert ran.json["drift"] == [
        {**where, "what": "reserved", "expected_usd": "0.25", "found_usd": "0.250000001", "seq": None},
        {**where, "what": "pending", "expected_usd": "0.25", "found_usd": "0.250000001", "seq": None},
    ]

    # Written over by a later entry, which then does not begin where the one before ended.
    await _change_by_hand(server_url, namespace, month, "reserved", -1)
    await _change_by_hand(server_url, namespace, month, "spent", 5_000_000_000)
    await store.adjust(adjust("a2", "1", month))
    ran = cli("audit")
    first, _, drift = ran.out.splitlines()
    assert (ran.code, first) == (1, "1 counters, 1 reservations, 0 unproved, 1 drift")
    assert drift.split() == ["key:abc", "month", month.window.id, "chain_spent", "-4.90", "0.10", "5"]


async def test_counters_whose_entries_were_trimmed(
    cli: RunCli, server_url: str, namespace: str, month: Target, now_ms: int
):
    other = target("key:other", at_ms=now_ms)
    store = RedisStore(server_url, namespace=namespace, timeout_s=10, retention=Retention(journal_max=1))
    await store.adjust(adjust("first", "1", other))
    for number in range(300):  # The server trims by whole nodes of its stream.
        await store.adjust(adjust(f"a{number}", "1", month))
    await store.aclose()
    ran = cli("audit")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "2 counters, 0 reservations, 1 unproved, 0 drift")


async def test_beside_live_traffic(environment: dict[str, str], store: RedisStore, month: Target):
    has_ended = asyncio.Event()

    async def worker(name: str) -> None:
        number = 0
        while not has_ended.is_set():
            number += 1
            await store.reserve(reserve(f"{name}-{number}", "0.60", month))
            await store.finalize(finalize(f"{name}-{number}", "0.10", month))

    workers = [asyncio.create_task(worker(f"w{number}")) for number in range(4)]
    audit = await asyncio.create_subprocess_exec(
        *COMMAND, "audit", "--json", env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await asyncio.wait_for(audit.communicate(), timeout=60)
    has_ended.set()
    await asyncio.gather(*workers)
    assert (audit.returncode, json.loads(told)["drift"]) == (0, [])
