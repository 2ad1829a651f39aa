"""The script of requests as a function of the server: used where it can be, and left without a verb lost or doubled."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.windows import Period
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.redis import RedisStore, keys
from budget_middleware.stores.redis.functions import libraries
from budget_middleware.stores.redis.scripts import LIBRARY_PREFIX
from tests.e2e.servers import UnixValkey
from tests.stores.audit import audit
from tests.stores.by_hand import change_word
from tests.stores.verbs import figures, finalize, reserve, target, whole_journal

ACL_WITHOUT_FUNCTIONS = "on >secret ~* &* +@all -function -fcall"
FREE = target("team:free", period=Period.TOTAL)
TOGETHER = 40


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    with UnixValkey(tmp_path) as server:
        yield server.url


@pytest.fixture
async def store(server: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(server, namespace="functions", timeout_s=10)
    yield store
    await audit(store)
    await store.aclose()


async def way_of(store: RedisStore) -> str:
    """The command by which the next verbs go."""
    # Whatever was offered has been answered by then.
    while under_way := store._gathered.current().under_way:
        await asyncio.wait(under_way)
    wire = await store._place.wire()
    return wire.commands[store._request_script.digest][0]


async def play(store: RedisStore, name: str) -> None:
    """Many at a time, each of them once."""
    before = len(await whole_journal(store))
    ids = [f"{name}-{number}" for number in range(TOGETHER)]
    held = await asyncio.gather(*(store.reserve(reserve(id_, "0.01", FREE)) for id_ in ids))
    assert {answer.status for answer in held} == {Status.RESERVED}
    ended = await asyncio.gather(*(store.finalize(finalize(id_, "0.01", FREE)) for id_ in ids))
    assert {answer.status for answer in ended} == {Status.FINALIZED}
    assert len(await whole_journal(store)) == before + 2 * TOGETHER


async def calls(store: RedisStore, command: str) -> int:
    told = (await store._client().info("commandstats")).get(f"cmdstat_{command}", {"calls": 0})
    return int(told["calls"])


async def test_a_connection_goes_on_by_function(store: RedisStore):
    await play(store, "first")
    assert await way_of(store) == "FCALL"
    by_digest = await calls(store, "evalsha")
    await play(store, "then")
    assert await calls(store, "fcall") > 2
    # Reads of the test itself.
    assert await calls(store, "evalsha") - by_digest <= 4
    assert (await libraries(store._client(), store._request_script)).is_used


async def test_a_hold_that_somebody_else_changed_ends_as_it_stands_in_the_store(store: RedisStore):
    await play(store, "warm")
    assert await way_of(store) == "FCALL"
    await store.reserve(reserve("r1", "0.60", FREE))
    # As a gateway of another version does, which has a library of its own.
    await change_word(store, "r:r1", "made", "1234567890123")
    assert (await store.finalize(finalize("r1", "0.20", FREE))).status is Status.FINALIZED
    assert "made=1234567890123" in await store._client().get(f"{store._prefix}r:r1")
    assert await figures(store, FREE) == (f"{TOGETHER / 100 + 0.2:.2f}", "0.00")


async def test_a_verb_that_failed_leaves_nothing_behind_for_the_next(store: RedisStore):
    await play(store, "warm")
    assert await way_of(store) == "FCALL"
    await store.reserve(reserve("r1", "0.60", FREE))
    client, journal = store._client(), f"{store._prefix}{keys.JOURNAL}"
    await client.rename(journal, "kept")
    await client.set(journal, "not a journal")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await store.finalize(finalize("r1", "0.10", FREE))
    await client.rename("kept", journal)
    assert (await store.finalize(finalize("r1", "0.20", FREE))).status is Status.FINALIZED
    assert await figures(store, FREE) == (f"{TOGETHER / 100 + 0.2:.2f}", "0.00")


async def test_more_holds_than_a_server_keeps_at_hand_end_alike(store: RedisStore):
    ids = [f"r{number}" for number in range(1_100)]
    await asyncio.gather(*(store.reserve(reserve(id_, "0.01", FREE)) for id_ in ids))
    await asyncio.gather(*(store.finalize(finalize(id_, "0.01", FREE)) for id_ in ids))
    assert await figures(store, FREE) == ("11.00", "0.00")


async def test_functions_that_are_flushed_are_offered_again(store: RedisStore):
    for turn in range(3):
        await play(store, f"turn{turn}")
        assert await way_of(store) == "FCALL"
        await store._client().execute_command("FUNCTION", "FLUSH")
        await store._client().script_flush()


async def test_a_flush_in_the_middle_loses_and_doubles_nothing(store: RedisStore):
    await play(store, "warm")
    assert await way_of(store) == "FCALL"
    ids = [f"r{number}" for number in range(600)]

    async def flush() -> None:
        for _ in range(20):
            await store._client().execute_command("FUNCTION", "FLUSH")
            await store._client().script_flush()

    async def verbs(mine: list[str]) -> None:
        for id_ in mine:
            assert (await store.reserve(reserve(id_, "0.01", FREE))).status is Status.RESERVED
            assert (await store.finalize(finalize(id_, "0.01", FREE))).status is Status.FINALIZED

    await asyncio.gather(flush(), *(verbs(ids[at::30]) for at in range(30)))
    assert await figures(store, FREE) == (f"{(TOGETHER + 600) / 100:.2f}", "0.00")


async def test_who_may_not_use_functions_goes_by_digest(server: str, tmp_path: Path):
    admin = RedisStore(server, namespace="functions", timeout_s=10)
    await admin._client().execute_command("ACL", "SETUSER", "gateway", *ACL_WITHOUT_FUNCTIONS.split())
    store = RedisStore(f"{server}?username=gateway&password=secret", namespace="functions", timeout_s=10)
    await play(store, "r")
    assert await way_of(store) == "EVALSHA"
    assert await calls(store, "fcall") == 0
    told = await libraries(store._client(), store._request_script)
    assert not told.is_used
    assert "permissions" in told.why_not
    await store.aclose()
    await admin.aclose()


async def test_who_loses_the_right_goes_on_by_digest(server: str):
    admin = RedisStore(server, namespace="functions", timeout_s=10)
    client = admin._client()
    await client.execute_command("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "&*", "+@all")
    store = RedisStore(f"{server}?username=gateway&password=secret", namespace="functions", timeout_s=10)
    await play(store, "before")
    assert await way_of(store) == "FCALL"
    await client.execute_command("ACL", "SETUSER", "gateway", "-fcall")
    await play(store, "after")
    assert await way_of(store) == "EVALSHA"
    await store.aclose()
    await admin.aclose()


async def test_a_full_server_still_gives_holds_back(store: RedisStore):
    """A function is refused as a whole; a script only where it would take memory."""
    assert (await store.reserve(reserve("r1", "0.01", FREE))).status is Status.RESERVED
    assert await way_of(store) == "FCALL"
    client: Any = store._client()
    await client.config_set("maxmemory", "1mb")
    assert (await store.finalize(finalize("r1", "0.01"))).status is Status.FINALIZED
    await client.config_set("maxmemory", "0")
    await play(store, "then")


async def test_libraries_of_other_versions_are_told(store: RedisStore):
    client: Any = store._client()
    other = f"{LIBRARY_PREFIX}{'0' * 40}"
    text = f"#!lua name={other}\nredis.register_function('{other}', function() return 1 end)"
    await client.execute_command("FUNCTION", "LOAD", text)
    assert (await libraries(client, store._request_script)).others == [other]
