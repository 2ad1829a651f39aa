"""`audit` on a real server: clean, with figures changed by hand and repaired, damaged, and beside live traffic."""

import asyncio
import json
from zoneinfo import ZoneInfo

import redis.asyncio

from budget_middleware.core.model import Target
from budget_middleware.core.windows import Period
from budget_middleware.stores.redis import RedisStore, key_prefix
from budget_middleware.stores.retention import Retention
from tests.cli.conftest import RunCli
from tests.stores.verbs import adjust, finalize, reserve, target


async def _change_by_hand(server_url: str, namespace: str, counter: Target, field: str, nanos: int) -> None:
    async with redis.asyncio.Redis.from_url(server_url) as client:
        await client.hincrby(f"{key_prefix(namespace)}c:{counter.counter.name}", field, nanos)


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
    (first, *_) = [json.loads(line) for line in cli("journal", "--json").out.splitlines()]
    proved = {"unproved": 0, "proved_in_part": 0, "journal_since": first["time"]}
    assert (ran.code, ran.json) == (0, {"counters": 1, "reservations": 1, "drift": [], "damage": [], **proved})
    repaired = cli("audit", "--repair", "--json")
    assert (repaired.code, repaired.json) == (0, {**ran.json, "repaired": [], "mended": []})


async def test_a_figure_changed_by_hand(cli: RunCli, store: RedisStore, month: Target, server_url: str, namespace: str):
    await _some_history(store, month)
    await _change_by_hand(server_url, namespace, month, "reserved", 1)
    where = {"account": "key:abcabc0000000000", "period": "month", "window": month.window.id, "unit": "usd"}

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
    assert (ran.code, first) == (1, "1 counter, 1 reservation, 0 unproved, 1 drift")
    assert drift.split() == ["key:abcabc0000000000", "month", month.window.id, "chain_spent", "-4.90", "0.10", "5"]


async def test_counters_whose_entries_were_trimmed(
    cli: RunCli, server_url: str, namespace: str, month: Target, now_ms: int
):
    other = target("key:efefef0000000000", at_ms=now_ms)
    store = RedisStore(server_url, namespace=namespace, timeout_s=10, retention=Retention(journal_max=1))
    await store.adjust(adjust("first", "1", other))
    for number in range(30):
        await store.adjust(adjust(f"a{number}", "1", month))
    await store.aclose()
    (last,) = [json.loads(line) for line in cli("journal", "--json").out.splitlines()]
    in_part = (
        f"1 of 2 counters add up from their oldest entry on; the journal begins at {last['time']} (seq 31), and what"
        " they showed before is taken as it was"
    )
    unproved = (
        "1 of 2 counters are unproved: the journal has no entry of theirs any more, so only what is pending on them"
        " was checked; BUDGET_JOURNAL_MAX says how many entries it keeps"
    )
    ran = cli("audit")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        [
            "2 counters, 0 reservations, 1 unproved, 0 drift",
            in_part,
            unproved,
        ],
    )


async def test_beside_live_traffic(cli: RunCli, store: RedisStore, month: Target):
    has_ended = asyncio.Event()
    done: list[str] = []

    async def worker(name: str) -> None:
        while not has_ended.is_set():
            id_ = f"{name}-{len(done)}"
            await store.reserve(reserve(id_, "0.60", month))
            await store.finalize(finalize(id_, "0.10", month))
            done.append(id_)

    async with asyncio.TaskGroup() as workers:
        for number in range(4):
            workers.create_task(worker(f"w{number}"))
        for _ in range(3):
            before = len(done)
            ran = await asyncio.to_thread(cli, "audit", "--json")
            assert (ran.code, ran.json["drift"]) == (0, [])
            assert len(done) > before, "nothing went on beside it"
        has_ended.set()


# --repair.


async def test_a_repair_is_an_entry_of_the_journal(
    cli: RunCli, store: RedisStore, month: Target, server_url: str, namespace: str
):
    await _some_history(store, month)
    await _change_by_hand(server_url, namespace, month, "spent", 5_000_000_000)
    await _change_by_hand(server_url, namespace, month, "reserved", 1)
    await store.set_limit("key:abcabc0000000000", period=month.window.period, limit_nanos=10**9)
    ran = cli("audit", "--repair", "--json")
    where = {"account": "key:abcabc0000000000", "period": "month", "window": month.window.id, "unit": "usd"}
    assert (ran.code, ran.json["drift"]) == (0, [])
    assert ran.json["repaired"] == [
        {
            **where,
            "seq": 5,
            "spent_before_usd": "0.10",
            "spent_usd": "-4.90",
            "reserved_before_usd": "0.250000001",
            "reserved_usd": "0.25",
        }
    ]
    (entry,) = await store.latest(count=1)
    assert (entry.op, entry.status, entry.reason, entry.limit) == ("adjust", "repaired", "audit", 10**9)
    assert cli("audit", "--json").json["drift"] == []
    # What was in flight ends as if nothing had happened.
    await store.finalize(finalize("r2", "0.20", month))
    assert cli("audit").code == 0


async def test_a_repair_to_read(cli: RunCli, store: RedisStore, month: Target, server_url: str, namespace: str):
    await _some_history(store, month)
    await _change_by_hand(server_url, namespace, month, "spent", 1)
    async with redis.asyncio.Redis.from_url(server_url) as client:
        await client.delete(f"{key_prefix(namespace)}totals")
    ran = cli("audit", "--repair")
    head, entry, *others = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert head.split()[:3] == ["seq", "account", "period"]
    assert entry.split()[0] == "5"
    assert others[0].split() == ["key", "what"]
    assert others[1].split() == [f"{key_prefix(namespace)}totals", "wrong_total"]
    assert others[2:] == ["1 counter, 1 reservation, 0 unproved, 0 drift", "every counter adds up"]


async def test_damage_is_told_with_its_fix_and_what_is_sound_is_repaired(
    cli: RunCli, store: RedisStore, month: Target, *, now_ms: int, server_url: str, namespace: str
):
    await _some_history(store, month)
    other = target("key:efefef0000000000", at_ms=now_ms)
    await store.finalize(finalize("r9", "0.30", other))
    await _change_by_hand(server_url, namespace, other, "spent", 7)
    key = f"{key_prefix(namespace)}c:{month.counter.name}"
    async with redis.asyncio.Redis.from_url(server_url) as client:
        await client.delete(key)
        await client.set(key, "not ours")
        ran = cli("audit", "--repair", "--json")
        fix = f"DEL {key}, then run budget-middleware audit --repair"
        assert (ran.code, ran.json["damage"]) == (1, [{"key": key, "what": "wrong_type", "fix": fix}])
        assert [row["account"] for row in ran.json["repaired"]] == ["key:efefef0000000000"]
        assert ran.err.startswith("budget-middleware: not repaired: key:abcabc0000000000 month ")
        assert cli("audit").out.splitlines()[-1].endswith(fix)
        # As it says.
        await client.delete(key)
    ran = cli("audit", "--repair", "--json")
    assert (ran.code, ran.json["drift"], ran.json["damage"]) == (0, [], [])
    (view,) = await store.counters("key:abcabc0000000000")
    assert (view.balance.spent, view.balance.reserved) == (-4_900_000_000, 250_000_000)


async def test_a_window_of_another_time_zone_is_repaired(
    cli: RunCli, store: RedisStore, now_ms: int, server_url: str, namespace: str
):
    hour = target("key:abcabc0000000000", period=Period.HOUR, at_ms=now_ms, timezone=ZoneInfo("Asia/Kolkata"))
    await store.finalize(finalize("r1", "0.10", hour))
    await _change_by_hand(server_url, namespace, hour, "spent", 7)
    assert cli("audit", "--repair").code == 0


async def test_repair_beside_live_traffic(
    cli: RunCli, store: RedisStore, month: Target, server_url: str, namespace: str
):
    """What is changed by hand meanwhile is taken back, and every request is booked to the nano-dollar."""
    has_ended = asyncio.Event()
    booked: list[str] = []

    async def worker(name: str) -> None:
        while not has_ended.is_set():
            id_ = f"{name}-{len(booked)}"
            booked.append(id_)
            await store.reserve(reserve(id_, "0.60", month))
            await store.finalize(finalize(id_, "0.10", month))
            # At full speed they would leave a busy machine no time to start the command in.
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as workers:
        for number in range(4):
            workers.create_task(worker(f"w{number}"))
        for number in range(3):
            await _change_by_hand(server_url, namespace, month, "spent", 5_000_000_000 * (number - 1))
            await _change_by_hand(server_url, namespace, month, "reserved", 3 - number)
            ran = await asyncio.to_thread(cli, "audit", "--repair", "--json")
            assert (ran.code, ran.json["drift"]) == (0, [])
        has_ended.set()
    (view,) = await store.counters()
    assert (view.balance.spent, view.balance.reserved) == (100_000_000 * len(booked), 0)
    assert cli("audit").code == 0
