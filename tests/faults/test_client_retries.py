"""Who repeats a command: the ledger, on purpose. The Redis client's own repetitions are off, and would be harmless.

The client that `redis.asyncio.Redis()` makes sends a command again, up to ten times, when its connection breaks, and
tells nobody. That is safe only as long as every verb done again equals the verb done once, so each is put to that.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Expire, Extend
from budget_middleware.core.windows import Period
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.redis import RedisStore, lua_text
from budget_middleware.stores.redis.scripts import Script, script_of
from tests.faults.proxy import Fault, FaultProxy
from tests.stores.audit import audit
from tests.stores.clocked import evaluate_by_client
from tests.stores.verbs import Verb, adjust, figures, finalize, grow, release, reserve, send, target

pytestmark = pytest.mark.processes

LOST = pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_REPLY])

TOTAL = target(limit="1.00", period=Period.TOTAL)
VERBS: dict[str, Verb] = {
    "reserve": reserve("r", "0.60", TOTAL),
    "extend": Extend("r", 60_000),
    "grow": grow("r", "0.90"),
    "finalize": finalize("r", "0.10", TOTAL),
    "release": release("q"),
    "expire": Expire("p"),
    "adjust": adjust("a", "0.05", TOTAL),
}
"""Of three reservations: each verb has one that it concerns."""

REPEATS = 5


class DefaultClientStore(RedisStore):
    """Behind the client that redis-py gives to whoever asks for nothing else."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._default_client = Redis(unix_socket_path=url.removeprefix("unix://"), decode_responses=True)

    async def _evaluate(self, script: Script, words: tuple[str, ...]) -> Any:
        return await evaluate_by_client(self._default_client, script, words)

    async def aclose(self) -> None:
        await self._default_client.aclose()


@pytest.fixture
async def repeating(proxy: FaultProxy) -> AsyncIterator[RedisStore]:
    store = DefaultClientStore(proxy.url)
    yield store
    await store.aclose()


@pytest.fixture
async def ours(proxy: FaultProxy) -> AsyncIterator[RedisStore]:
    store = RedisStore(proxy.url, timeout_s=5)
    yield store
    await store.aclose()


@LOST
@pytest.mark.parametrize("name", VERBS)
async def test_the_redis_client_repeats_nothing(ours: RedisStore, proxy: FaultProxy, name: str, fault: Fault):
    await ours.head()
    proxy.plan(name, fault)
    with pytest.raises(StoreUnavailable):
        await send(ours, VERBS[name])
    assert proxy.seen[name] == 1


@LOST
async def test_a_client_that_repeats_would_count_once(
    repeating: RedisStore, proxy: FaultProxy, store: RedisStore, fault: Fault
):
    for id_ in "pq":
        await store.reserve(reserve(id_, "0.01", TOTAL))
    for name in VERBS:
        # A server that does not know a script yet applies nothing.
        await store._client().script_load(script_of(name, lua_text("_clock")).text)
    for name, verb in VERBS.items():
        proxy.plan(name, *[fault] * REPEATS)
        answer = await send(repeating, verb)
        assert proxy.seen[name] == REPEATS + 1, "as its authors decided"
        # Where the first attempt was applied, the last is told so.
        assert answer.status is (REPEATED if fault is Fault.LOSE_REPLY else APPLIED)[name]
    assert await figures(store, TOTAL) == ("0.15", "0.00")
    await audit(store)


APPLIED = {
    "reserve": Status.RESERVED,
    "extend": Status.EXTENDED,
    "grow": Status.GROWN,
    "finalize": Status.FINALIZED,
    "release": Status.RELEASED,
    "expire": Status.EXPIRED,
    "adjust": Status.ADJUSTED,
}
REPEATED = {
    "reserve": Status.DUPLICATE,
    "extend": Status.EXTENDED,
    "grow": Status.GROWN,
    "finalize": Status.ALREADY_FINALIZED,
    "release": Status.ALREADY_RELEASED,
    "expire": Status.ALREADY_EXPIRED,
    "adjust": Status.DUPLICATE,
}
