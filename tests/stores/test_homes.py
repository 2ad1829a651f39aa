"""The home of an account: recorded once, for as long as its counters live, and never for a stranger."""

from typing import Any

import pytest

from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.homes import Homes, Keep
from budget_middleware.stores.sharded.memory_shard import MemoryShard
from budget_middleware.stores.sharded.shard_map import ShardMap
from budget_middleware.testing import MovableClock
from tests.stores.shards import opener_of_redis_shards

SHARDS = ShardMap("team", 4)
KEY = "key:00000000000000aa"
DAY_MS = 86_400_000
RETENTION = Retention()
ONE, OTHER = SHARDS.shard_of("search"), SHARDS.shard_of("ads")


class Directories:
    """Counts what is asked of them."""

    def __init__(self, clock: MovableClock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, int]] = []
        self._shards: dict[str, MemoryShard] = {}

    def open(self, name: str) -> Any:
        shard = self._shards.setdefault(name, MemoryShard(RETENTION, clock_ms=self.clock))
        directories = self

        class Counting:
            async def claim_homes(self, proposals: dict[str, str], *, keep_ms: int) -> Any:
                directories.asked += [(account, keep_ms) for account in proposals]
                return await shard.claim_homes(proposals, keep_ms=keep_ms)

        return Counting()

    def forget(self) -> None:
        self._shards.clear()

    def homes(self) -> Homes:
        return Homes(SHARDS, self.open, RETENTION, clock_s=lambda: self.clock.now_ms / 1000)


@pytest.fixture
def directories(clock: MovableClock) -> Directories:
    return Directories(clock)


async def test_the_first_subject_decides_for_all_workers(directories: Directories):
    first, second = directories.homes(), directories.homes()
    assert await first.claim([KEY], subject="search", keep=Keep.BRIEFLY) == {KEY: ONE}
    assert await second.claim([KEY], subject="ads", keep=Keep.BRIEFLY) == {KEY: ONE}
    assert await directories.homes().look_up(KEY) == ONE
    assert await directories.homes().look_up("key:00000000000000bb") is None


async def test_what_is_known_is_not_asked_for_again(directories: Directories):
    homes = directories.homes()
    for _ in range(3):
        await homes.claim([KEY, "team:search", "global"], subject="search", keep=Keep.BRIEFLY)
    assert len(directories.asked) == 1
    assert homes.known([KEY], keep=Keep.BRIEFLY) == {KEY: ONE}
    assert homes.known([KEY], keep=Keep.LASTING) is None


async def test_a_stranger_is_forgotten_and_whoever_booked_is_not(directories: Directories):
    homes = directories.homes()
    await homes.claim(["key:0000000000000001"], subject="search", keep=Keep.BRIEFLY)
    await homes.claim([KEY], subject="search", keep=Keep.LASTING)
    await homes.claim(["user:for-ever"], subject="search", keep=Keep.FOREVER)
    directories.clock.advance(ms=2 * DAY_MS)
    known = directories.homes()
    assert [await known.look_up(name) for name in ("key:0000000000000001", KEY)] == [None, ONE]
    directories.clock.advance(ms=1_000 * DAY_MS)
    known = directories.homes()
    assert [await known.look_up(name) for name in (KEY, "user:for-ever")] == [None, ONE]


async def test_a_record_in_use_is_renewed_before_half_of_its_time(directories: Directories):
    homes = directories.homes()
    for _ in range(5):
        await homes.claim([KEY], subject="search", keep=Keep.LASTING)
        directories.clock.advance(ms=20 * DAY_MS)
    assert len(directories.asked) == 5
    assert await directories.homes().look_up(KEY) == ONE


async def test_a_record_that_was_lost_is_made_again_as_it_was(directories: Directories):
    homes = directories.homes()
    await homes.claim([KEY], subject="search", keep=Keep.LASTING)
    directories.forget()
    homes.suspect()
    assert homes.known([KEY], keep=Keep.BRIEFLY) is None
    # The key belongs to another team by now, and its counters are where they were.
    assert await homes.claim([KEY], subject="ads", keep=Keep.LASTING) == {KEY: ONE}
    assert await directories.homes().look_up(KEY) == ONE


async def test_a_server_keeps_a_record_as_long_as_the_longest_claim(
    server_url: str, namespace: str, clock: MovableClock
):
    shard: Any = opener_of_redis_shards(server_url, namespace=namespace, clock_ms=clock)(None, "00")
    client, key = shard._client(), f"{shard._prefix}o:{KEY}"
    for keep_ms, least, most in ((60_000, 1, 60_000), (90_000, 60_001, 90_000), (30_000, 60_001, 90_000)):
        assert await shard.claim_homes({KEY: "03"}, keep_ms=keep_ms) == {KEY: "03"}
        assert least <= await client.pttl(key) <= most
    assert await shard.claim_homes({KEY: ""}, keep_ms=0) == {KEY: "03"}
    assert await client.pttl(key) > 0
    for keep_ms in (0, 60_000):
        assert await shard.claim_homes({KEY: "01"}, keep_ms=keep_ms) == {KEY: "03"}
        assert await client.pttl(key) == -1
    assert await shard.damage() == []
    await shard.forget_everything()
    await shard.aclose()
