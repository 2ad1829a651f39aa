"""What a newer version wrote: a command that needs it says so in one line, with what to do, and changes nothing."""

import re

import pytest

from budget_middleware.core.model import Target
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli
from tests.stores.verbs import reserve

KEY = "key:abcabc0000000000"
ID = "ab" * 16
UPGRADE = r"was written by a newer version of budget_middleware \(format 3; this one reads up to 2\): upgrade\n"

OF_A_RESERVATION = [
    ("holds",),
    ("audit",),
    ("audit", "--repair"),
    ("explain", KEY),
    ("explain", ID),
    ("release", ID, "--reason", "a test"),
]
OF_A_STORE = [
    ("status",),
    ("journal",),
    ("adjust", KEY, "0.25", "--reason", "a test"),
    ("limit", "set", KEY, "5/day"),
    *OF_A_RESERVATION,
]


@pytest.mark.parametrize("words", OF_A_STORE, ids=" ".join)
async def test_a_store_of_a_newer_version(cli: RunCli, store: RedisStore, month: Target, words: tuple[str, ...]):
    await store.reserve(reserve(ID, "1", month))
    await store._client().hset(f"{store._prefix}meta", "format", "3")
    await refused(cli, store, words, rf"this store {UPGRADE}")


@pytest.mark.parametrize("words", OF_A_RESERVATION, ids=" ".join)
async def test_a_reservation_of_a_newer_version(cli: RunCli, store: RedisStore, month: Target, words: tuple[str, ...]):
    await store.reserve(reserve(ID, "1", month))
    client, name = store._client(), f"{store._prefix}r:{ID}"
    await client.set(name, "3" + (await client.get(name))[1:])
    await refused(cli, store, words, rf"reservation {ID} {UPGRADE}")


async def refused(cli: RunCli, store: RedisStore, words: tuple[str, ...], why: str) -> None:
    before = await everything(store)
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert re.fullmatch(rf"budget-middleware: the store refused and changed nothing: (BUDGET )?{why}", ran.err)
    assert await everything(store) == before


async def everything(store: RedisStore) -> dict[str, object]:
    """All keys of the ledger, and what they hold."""
    client = store._client()
    reads = {
        "hash": client.hgetall,
        "string": client.get,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return {key: await reads[await client.type(key)](key) async for key in client.scan_iter(f"{store._prefix}*")}
