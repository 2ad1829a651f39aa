"""Reserve and finalize against a real server without HTTP in between: what the server does, and nothing else."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from zoneinfo import ZoneInfo

import redis

from benchmarks.workers import Process, redis_url
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Finalize, Release, Reserve
from budget_middleware.core.windows import Period, window_at
from budget_middleware.stores.redis import RedisStore

LIMIT_NANOS = 10**15
_MONTH = window_at(Period.MONTH, time_ms=time.time_ns() // 1_000_000, timezone=ZoneInfo("UTC"))
_TRACE = f"00-{'a1' * 16}-{'b2' * 8}-01"
IN_FLIGHT = 32
_ASKED, _ACTUAL = Amounts(1_000_000, 2_000, 1, 1), Amounts(500_000, 1_000, 1, 0)
_SCRIPT_COMMANDS = frozenset({"cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall"})
# What connections and this measuring itself cost.
_NOT_OURS = frozenset(
    {"cmdstat_info", "cmdstat_config|resetstat", "cmdstat_client|setinfo", "cmdstat_hello", "cmdstat_client|setname"}
)


def target(account: str) -> Target:
    return Target(account, _MONTH, LIMIT_NANOS)


def targets(count: int, *, of: str = "bench") -> tuple[Target, ...]:
    """So many accounts of different kinds."""
    return tuple(target(f"kind{number}:{of}") for number in range(count))


def mixed_targets() -> tuple[Target, ...]:
    """Eight counters of three accounts, of every unit, one of them of a rolling limit."""
    now_ms = time.time_ns() // 1_000_000
    counted = (
        ("key", Period.MONTH, Unit.USD),
        ("key", Period.DAY, Unit.TOKENS),
        ("key", Period.DAY, Unit.REQUESTS),
        ("key", Period.TOTAL, Unit.INFLIGHT),
        ("team", Period("30d"), Unit.USD),
        ("team", Period.DAY, Unit.TOKENS),
        ("global", Period.MONTH, Unit.USD),
        ("global", Period.DAY, Unit.REQUESTS),
    )
    return tuple(
        Target(
            account if account == "global" else f"{account}:bench",
            window_at(period, time_ms=now_ms, timezone=ZoneInfo("UTC")),
            LIMIT_NANOS,
            unit,
        )
        for account, period, unit in counted
    )


@asynccontextmanager
async def store_at(server: Process, *, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url(server), namespace=namespace, timeout_s=30)
    try:
        yield store
    finally:
        await store.aclose()


async def reserve(store: RedisStore, held: Sequence[Target], *, lease_ms: int = 3_600_000) -> str:
    """Make a reservation; returns its id."""
    id_ = secrets.token_hex(16)
    answer = await store.reserve(
        Reserve(
            id_,
            tuple(held),
            _only(_ASKED, held),
            lease_ms,
            enforce=True,
            limits_version=0,
            trace=_TRACE,
        )
    )
    if answer.status is not Status.RESERVED:
        raise SystemExit(f"a reserve was answered {answer.status}: the figures would mean nothing")
    return id_


async def reserve_and_finalize(store: RedisStore, held: Sequence[Target]) -> None:
    """One request's two verbs."""
    id_ = await reserve(store, held)
    answer = await store.finalize(Finalize(id_, tuple(held), _only(_ACTUAL, held), reason=""))
    if answer.status is not Status.FINALIZED:
        raise SystemExit(f"a finalize was answered {answer.status}: the figures would mean nothing")


def _only(amounts: Amounts, held: Sequence[Target]) -> Amounts:
    """The amounts of the units that are counted, as a ledger asks for."""
    units = {target.unit for target in held}
    return Amounts(*(figure if unit in units else 0 for unit, figure in zip(Unit, amounts, strict=True)))


async def release_unknown(store: RedisStore) -> None:
    """Leave the tombstone of an id that the store never saw."""
    await store.release(Release(secrets.token_hex(16), reason=""))


async def do_all(work: Iterable[Awaitable[object]], *, in_flight: int = IN_FLIGHT) -> None:
    """Await all of ``work``, so many at a time; it may be made as it is needed."""
    rest = iter(work)

    async def one() -> None:
        for item in rest:
            await item

    await asyncio.gather(*(one() for _ in range(in_flight)))


class ScriptCalls(NamedTuple):
    """Calls of scripts and the microseconds in them; the commands that these gave, and the microseconds in those."""

    calls: int
    script_us: float
    own_calls: int
    own_us: float


def script_calls(server: Process) -> ScriptCalls:
    """Since the server's statistics were reset."""
    with redis.Redis(port=server.port) as client:
        stats = client.info("commandstats")
    calls, script_us, own_calls, own_us = 0, 0.0, 0, 0.0
    for name, figures in stats.items():
        if name in _SCRIPT_COMMANDS:
            calls += figures["calls"]
            script_us += figures["usec"]
        elif name not in _NOT_OURS:
            own_calls += figures["calls"]
            own_us += figures["usec"]
    return ScriptCalls(calls, script_us, own_calls, own_us)


def reset_statistics(server: Process) -> None:
    with redis.Redis(port=server.port) as client:
        client.config_resetstat()
