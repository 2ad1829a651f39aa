"""What workers learn from answers, merged by the store: alike on every store, and never in the way of anything."""

import random
from collections.abc import Iterator

import pytest

from budget_middleware.core.costs.learning import (
    MOST_ANSWERS,
    NO_ANSWERS,
    AnswerGroup,
    AnswerSeen,
    Sums,
    merge,
    sums_of,
)
from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.stores.base import LEARNT_AT_ONCE, LEARNT_MS, Store
from budget_middleware.stores.records.learnt_sums import pack_sums, unpack_sums
from budget_middleware.testing import MovableClock
from tests.stores.clocked import ClockedRedisStore
from tests.stores.conftest import OpenStore

GROUP = AnswerGroup("gpt-4o", "key:1f3a5b7c1f3a5b7c")
MODEL = AnswerGroup("gpt-4o")
ONE = sums_of([AnswerSeen(tokens=610, seconds=12.5, estimated=300, billed=375)])

on_redis = pytest.mark.parametrize("make_store", ["server"], indirect=True)


async def test_what_one_worker_tells_another_hears(open_store: OpenStore):
    one, other = open_store(), open_store()
    assert await one.learn({GROUP: ONE}) == {}
    assert await other.learn({GROUP: NO_ANSWERS, MODEL: NO_ANSWERS}) == {GROUP: ONE}
    assert await other.learn({GROUP: ONE}) == {GROUP: merge(ONE, ONE)}
    assert await one.learn({GROUP: NO_ANSWERS}) == {GROUP: merge(ONE, ONE)}


async def test_asking_alone_leaves_nothing_behind(store: Store):
    assert await store.learn({GROUP: NO_ANSWERS}) == {}
    assert await store.learn({GROUP: ONE}) == {}


async def test_nothing_at_all_may_be_told(store: Store):
    assert await store.learn({}) == {}


@pytest.mark.parametrize("sums", [Sums(float("nan")), Sums(0.5, 1.0), Sums(1.0, float("inf")), Sums(1.0, -1.0)])
async def test_sums_that_cannot_be_are_not_learnt(store: Store, sums: Sums):
    assert await store.learn({GROUP: sums}) == {}
    assert await store.learn({GROUP: ONE}) == {}
    assert await store.learn({GROUP: sums}) == {GROUP: ONE}


def random_sums(seed: int, how_many: int) -> Iterator[Sums]:
    """Sums as workers tell them, and some as no worker ever would."""
    chance = random.Random(seed)
    for number in range(how_many):
        answers = [
            AnswerSeen(chance.randrange(1, 10**6), chance.random() * 100, e := chance.randrange(1, 10**9), e * 3 // 7)
            for _ in range(chance.randrange(1, 40))
        ]
        sums = sums_of(answers)
        yield Sums(*[MOST_ANSWERS * chance.random() + 0.5, *sums[1:]]) if number % 3 == 0 else sums


async def test_every_store_comes_to_the_same_bits(open_store: OpenStore):
    store = open_store()
    groups = [AnswerGroup(f"model-{number}", "team:a") for number in range(40)]
    expected: dict[AnswerGroup, Sums] = {}
    for seed in range(8):
        told = dict(zip(groups, random_sums(seed, len(groups)), strict=True))
        known = dict(expected)
        for group, newer in told.items():
            if newer.is_sound:
                expected[group] = merge(expected.get(group, NO_ANSWERS), newer)
        merged = await store.learn(told)
        assert merged == {group: expected[group] for group in known}


async def test_what_is_not_told_any_more_is_forgotten(open_store: OpenStore, clock: MovableClock):
    store = open_store()
    await store.learn({GROUP: ONE, MODEL: ONE})
    if isinstance(store, ClockedRedisStore):
        # Of a key's own expiry the server's clock decides.
        life_ms = await store._client().pttl(f"{store._prefix}e:{GROUP.name}")
        assert LEARNT_MS - 60_000 < life_ms <= LEARNT_MS
        return
    clock.advance(ms=LEARNT_MS - 1)
    assert await store.learn({MODEL: ONE}) == {MODEL: merge(ONE, ONE)}
    clock.advance(ms=1)
    assert await store.learn({GROUP: NO_ANSWERS, MODEL: NO_ANSWERS}) == {MODEL: merge(ONE, ONE)}


async def test_what_was_learnt_is_no_drift(store: Store):
    await store.learn({AnswerGroup(f"model-{number}"): ONE for number in range(LEARNT_AT_ONCE)})
    assert await store.damage() == []


DAMAGED = [
    "",
    "x",
    "1 2 3 4 5 6",
    "1 2 3 4 5 6 7 8",
    "nan 1 1 1 1 1 1",
    "1 inf 1 1 1 1 1",
    "1 -1 1 1 1 1 1",
    "0 1 1 1 1 1 1",
    "1e999 1 1 1 1 1 1",
    "1 1e37 1 1 1 1 1",
    "1445 1 1 1 1 1 1",
    "0x1 1 1 1 1 1 1",
    "1_0 1 1 1 1 1 1",
    "1 1e 1 1 1 1 1",
]


@on_redis
@pytest.mark.parametrize("text", DAMAGED)
async def test_a_damaged_record_is_told_by_an_audit_and_learnt_anew(open_store: OpenStore, text: str):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    key = f"{store._prefix}e:{GROUP.name}"
    assert unpack_sums(text) is None
    await store._client().set(key, text)
    assert await store.damage() == [Damage(key, Flaw.UNREADABLE)]
    assert await store.learn({GROUP: NO_ANSWERS}) == {}
    assert not await store._client().exists(key)
    await store._client().set(key, text)
    assert await store.learn({GROUP: ONE}) == {}
    assert await store.learn({GROUP: NO_ANSWERS}) == {GROUP: ONE}
    assert await store.damage() == []


@on_redis
async def test_a_record_of_another_type_is_learnt_anew(open_store: OpenStore):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await store._client().hset(f"{store._prefix}e:{GROUP.name}", "spent", "1")
    assert await store.learn({GROUP: ONE, MODEL: ONE}) == {}
    assert await store.learn({GROUP: NO_ANSWERS, MODEL: NO_ANSWERS}) == {GROUP: ONE, MODEL: ONE}


@on_redis
async def test_a_repair_takes_a_damaged_record_away(open_store: OpenStore):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await store._client().set(f"{store._prefix}e:{GROUP.name}", "x")
    await store.damage(mend=True)
    assert await store.damage() == []


@pytest.mark.parametrize("sums", [ONE, merge(ONE, ONE), Sums(1.0, 0.1, 1e-300, 5e-324, 1e36, 1 / 3, 2 / 3)])
def test_a_record_tells_every_bit(sums: Sums):
    assert unpack_sums(pack_sums(sums)) == sums
