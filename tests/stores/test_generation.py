"""A store that somebody else empties, wholly or in part, says so and goes on."""

from collections.abc import Callable

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock
from tests.stores.audit import audit
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import KEY, adjust, figures, finalize, reserve, seqs, target, whole_journal

HOUR = target(period=Period.HOUR)

in_redis = pytest.mark.parametrize("make_store", ["server"], indirect=True)


@pytest.fixture
def redis(open_store: Callable[..., Store]) -> ClockedRedisStore:
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    return store


@in_redis
async def test_an_emptied_store_says_so(redis: ClockedRedisStore):
    await redis.reserve(reserve("r1", "0.60"))
    before = await redis.head()
    assert (await redis.head()).generation == before.generation
    await redis.forget_everything()
    answer = await redis.finalize(finalize("r1", "0.10"))
    assert (answer.status, answer.seq) == (Status.FINALIZED_UNRESERVED, 1)
    assert answer.entries[0].seq == 1
    assert await figures(redis) == ("0.10", "0.00")
    await audit(redis)


@in_redis
async def test_each_loss_makes_another_generation_whoever_notices(
    redis: ClockedRedisStore, open_store: Callable[..., Store]
):
    other = open_store()
    generations = [(await redis.head()).generation]
    assert (await other.head()).generation == generations[0]
    await redis.forget_everything()
    generations.append((await other.head()).generation)
    assert (await redis.head()).generation == generations[1]
    assert generations[0] != generations[1]


@in_redis
async def test_the_same_worker_names_each_generation_anew(redis: ClockedRedisStore):
    """It may be the only one, and must notice that the store was emptied twice."""
    generations = set()
    for _ in range(3):
        generations.add((await redis.head()).generation)
        await redis.forget_everything()
    assert len(generations) == 3


@in_redis
async def test_seq_continues_where_only_the_meta_hash_was_lost(redis: ClockedRedisStore):
    for at in range(3):
        await redis.adjust(adjust(f"a{at}", "0.10", KEY, HOUR))
    before = await redis.head()
    await redis._client().delete(f"{redis._prefix}meta")
    after = await redis.head()
    assert (after.seq, after.generation != before.generation) == (6, True)
    await redis.adjust(adjust("next", "0.10", KEY))
    assert seqs(await whole_journal(redis)) == list(range(1, 8))
    await audit(redis)


@in_redis
async def test_scripts_reload_by_themselves(redis: ClockedRedisStore):
    await redis.reserve(reserve("r1", "0.60"))
    await redis._client().script_flush()
    assert (await redis.reserve(reserve("r1", "0.60"))).admits


async def test_memory_has_one_generation_a_life(clock: MovableClock):
    memory = MemoryStore(clock_ms=clock)
    assert (await memory.head()).generation == (await memory.head()).generation
    assert (await memory.head()).generation != (await MemoryStore(clock_ms=clock).head()).generation
