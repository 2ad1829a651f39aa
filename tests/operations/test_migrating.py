"""A ledger is moved while its gateways go on: every counter arrives, to the nano-dollar, nothing twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest

from budget_middleware.core.limits.limits import LimitMode, Slot, Terms
from budget_middleware.core.model import Balance
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Unit
from budget_middleware.core.verbs import Expire, Extend
from budget_middleware.core.windows import Period
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.migrating import Migration, MigrationReport, Renaming, alone, migrate, renaming_of
from budget_middleware.operations.migrating import migration as moving
from budget_middleware.operations.migrating.following import _Journal
from budget_middleware.stores.base import Store
from budget_middleware.stores.opening import open_store
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sharded.shard_map import parse_shard_by
from tests.e2e.servers import UnixValkey
from tests.stores.audit import audit_report
from tests.stores.clocked import put_on
from tests.stores.verbs import START_MS, adjust, finalize, grow, release, reserve, target

OpenStore = Callable[..., RedisStore]


@dataclass
class Two:
    """Two ledgers in one server."""

    source: RedisStore
    destination: RedisStore
    asked: Migration

    async def move(self, **changes: object) -> MigrationReport:
        return await migrate(replace(self.asked, **changes))  # type: ignore[arg-type]

    async def spent(self, store: RedisStore) -> dict[str, tuple[Balance, int]]:
        return {each.counter.name: (each.balance, each.adjusted) for each in await store.counters()}


@pytest.fixture(autouse=True)
def _quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "ROUND_S", 0.005)


@pytest.fixture(autouse=True)
def _on_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on, for leases are waited for, from the middle of a month and day, where a minute begins."""
    began_s = time.monotonic()
    put_on(lambda: START_MS + int(1000 * (time.monotonic() - began_s)), monkeypatch)


@pytest.fixture
async def open_ledger(server_url: str) -> AsyncIterator[OpenStore]:
    opened: list[RedisStore] = []

    def make(namespace: str, url: str = server_url, **retention: int) -> RedisStore:
        opened.append(RedisStore(url, namespace=namespace, timeout_s=10, retention=Retention(**retention)))
        return opened[-1]

    yield make
    for store in opened:
        await store.aclose()


@pytest.fixture
async def two(open_ledger: OpenStore, server_url: str, namespace: str) -> Two:
    asked = Migration(server_url, server_url, namespace, f"{namespace}-new", quiet_s=0.02)
    return Two(open_ledger(namespace), open_ledger(f"{namespace}-new"), asked)


@pytest.fixture
async def now_ms(two: Two) -> int:
    return (await two.source.head()).now_ms


async def used(store: Store, now_ms: int) -> None:
    """Every unit, kinds of windows, a credit, an expired one, a released one."""
    day, month = target(at_ms=now_ms, period=Period.DAY), target("team:a", limit="10", at_ms=now_ms)
    rolling, total = target(at_ms=now_ms, period=Period("24h")), target("global", period=Period.TOTAL, at_ms=now_ms)
    tokens = target("team:a", unit=Unit.TOKENS, at_ms=now_ms)
    requests = target(period=Period.MINUTE, unit=Unit.REQUESTS, at_ms=now_ms)
    inflight = target(period=Period.TOTAL, unit=Unit.INFLIGHT, at_ms=now_ms)
    everything = (day, month, rolling, total, tokens, requests, inflight)
    await store.reserve(reserve("r1", "0.60 900 1 1", *everything))
    await store.finalize(finalize("r1", "0.123456789 812 1", *everything))
    await store.reserve(reserve("r2", "0.60 900 1 1", *everything))
    await store.release(release("r2"))
    await store.reserve(reserve("r3", "0.60", day, month, charge="0.01"))
    await store.expire(Expire("r3"))
    await store.finalize(finalize("r3", "0.02", day, month))
    await store.adjust(adjust("a1", "-0.5", month))
    past = target("key:b", at_ms=now_ms - 40 * 86_400_000)
    await store.adjust(adjust("a2", "0.25", past, any_window=True))


@pytest.mark.proves("I4", "I9")
async def test_counters_of_every_unit_and_window_arrive(two: Two, now_ms: int):
    await used(two.source, now_ms)
    report = await two.move()
    assert report.is_equal
    assert (report.unproved, report.recounts) == (0, 0)
    of_source = {name: balance for name, (balance, _) in (await two.spent(two.source)).items()}
    of_destination = await two.spent(two.destination)
    assert {name: balance for name, (balance, _) in of_destination.items()} == of_source
    assert len(of_source) == 7
    # It is explained by the journal, as adjustments.
    assert all(balance.spent == adjusted for balance, adjusted in of_destination.values())
    for store in (two.source, two.destination):
        assert (await audit_report(store)).drift == ()
        assert list(await store.damage()) == []


@pytest.mark.processes
@pytest.mark.parametrize(
    ("old", "new"),
    [("redis", "sqlite"), ("sqlite", "redis"), ("sqlite", "sqlite"), ("sqlite", "postgres"), ("postgres", "redis")],
)
async def test_from_each_kind_of_store_to_each(
    request: pytest.FixtureRequest, old: str, new: str, namespace: str, tmp_path: Path
):
    fixtures = {
        "redis": lambda: request.getfixturevalue("server_url"),
        "sqlite": lambda: f"sqlite:///{tmp_path}/budget.db",
        "postgres": lambda: request.getfixturevalue("postgres").url(),
    }
    urls = {kind: fixtures[kind]() for kind in (old, new)}
    asked = Migration(urls[old], urls[new], namespace, f"{namespace}-new", quiet_s=0.02)
    stores = [
        open_store(urls[kind], namespace=name, timeout_s=10, retention=Retention())
        for kind, name in ((old, namespace), (new, f"{namespace}-new"))
    ]
    await used(stores[0], (await stores[0].head()).now_ms)
    await stores[0].set_limit("team:a", period=Period.MONTH, limit_nanos=5)
    report = await migrate(asked)
    assert (report.is_equal, len(report.counters), report.limits, report.unproved) == (True, 7, 1, 0)
    assert await migrate(asked) == replace(report, entries=report.entries)
    shown = [{each.counter: each.balance for each in await store.counters()} for store in stores]
    assert shown[0] == shown[1]
    for store in stores:
        assert (await audit_report(store)).drift == ()
        await store.aclose()


@pytest.mark.parametrize(("old", "new"), [("", "team/3"), ("team/3", ""), ("team/3", "team/2")])
async def test_from_and_to_a_ledger_with_shards(two: Two, old: str, new: str, server_url: str):
    source, destination = (
        open_store(server_url, namespace=name or "", timeout_s=10, retention=Retention(), shards=parse_shard_by(shards))
        for name, shards in ((two.asked.from_namespace, old), (two.asked.to_namespace, new))
    )
    now_ms = (await source.head()).now_ms
    team, key = target("team:x", limit="1.00", at_ms=now_ms), target("key:b", at_ms=now_ms)
    await used(source, now_ms)
    await source.reserve(reserve("h1", "0.40", team, key, lease_s=600))
    async with Mover(two, from_shard_by=old, to_shard_by=new) as mover:
        assert [hold.id for hold in await destination.holds()] == ["h1"]
        assert (await destination.reserve(reserve("d1", "0.70", team))).status is Status.REJECTED
        await destination.finalize(finalize("d2", "0.50", team))
        await mover.rounds()
        assert (await source.reserve(reserve("r7", "0.20", team))).status is Status.REJECTED
        await source.finalize(finalize("h1", "0.30", team, key))
        await mover.rounds()
        assert (await destination.finalize(finalize("h1", "0.30", team, key))).status is Status.ALREADY_FINALIZED
    report = await two.move(from_shard_by=old, to_shard_by=new)
    assert (report.is_equal, len(report.counters), report.unproved) == (True, 9, 0)
    spent = {each.counter: each.balance.spent for each in await destination.counters()}
    assert (spent[team.counter], spent[key.counter]) == (800_000_000, 300_000_000)
    for store in (source, destination):
        assert list(await store.damage()) == []
        await store.aclose()


async def test_a_rolling_limit_counts_what_came_from_the_old_store(two: Two, now_ms: int):
    day = target(at_ms=now_ms, period=Period("24h"), limit="1.00")
    await two.source.finalize(finalize("r1", "0.80", day))
    await two.move()
    assert (await two.destination.reserve(reserve("r2", "0.30", day))).status is Status.REJECTED
    assert (await two.destination.reserve(reserve("r3", "0.20", day))).status is Status.RESERVED


async def test_counters_are_kept_as_long_as_a_carry_over_may_ask_for_them(two: Two, now_ms: int):
    year = target(at_ms=now_ms, period=Period.YEAR)
    await two.source.finalize(finalize("r1", "0.80", year))
    await two.move()
    left_ms = await two.destination._client().pttl(f"{two.destination._prefix}c:{year.counter.name}")
    assert left_ms > year.window.ends_ms - now_ms + 365 * 86_400_000


@pytest.mark.proves("I10")
async def test_again_and_again_comes_to_the_same(two: Two, now_ms: int):
    await used(two.source, now_ms)
    first = await two.move()
    seq = (await two.destination.head()).seq
    assert await two.move() == replace(first, entries=first.entries)
    assert (await two.destination.head()).seq == seq
    await two.source.finalize(finalize("r9", "0.07", target(at_ms=now_ms)))
    assert (await two.move()).is_equal
    assert (await two.destination.head()).seq == seq + 1


async def test_what_comes_back_to_nothing_is_taken_back(two: Two, now_ms: int):
    """Also where the counter was dropped, and the migration had forgotten of it."""
    month = target(at_ms=now_ms)
    await two.source.reserve(reserve("r1", "0.60", month, charge="0.30"))
    await two.source.expire(Expire("r1"))
    await two.source.reserve(reserve("r2", "0.60", month, charge="0.30", lease_s=0))
    await two.source.sweep(at_most=10)
    await two.move()
    assert (await two.spent(two.destination))[month.counter.name][0].spent == 300_000_000
    await two.source.release(release("r2"))
    assert await two.source.counters() == []
    seq = (await two.source.head()).seq
    assert (await two.move()).is_equal
    assert await two.destination.counters() == []
    # Nobody took it for the new store's own.
    assert (await two.source.head()).seq == seq


# While gateways go on.


class Mover:
    """A migration under way, that a test lets do whole rounds."""

    def __init__(self, two: Two, **changes: object) -> None:
        self._asked = replace(two.asked, quiet_s=3_600.0, **changes)  # type: ignore[arg-type]
        self._rounds = 0
        self._round_over = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(migrate(self._asked, on_progress=self._on_progress))
        self._task.add_done_callback(self._on_progress)
        await self.rounds(2)
        return self

    def _on_progress(self, _: object) -> None:
        self._rounds += 1
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._wake()))

    async def _wake(self) -> None:
        async with self._round_over:
            self._round_over.notify_all()

    async def rounds(self, n_rounds: int = 2) -> None:
        """Until so many more rounds are over: two have seen all that was done before."""
        until = self._rounds + n_rounds
        async with asyncio.timeout(60), self._round_over:
            while self._rounds < until:
                if self._task.done():
                    await self._task
                await self._round_over.wait()

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_limits_hold_over_both_while_both_serve(two: Two, now_ms: int):
    """What is held and spent at the old store is in the way at the new one; what is given back is not."""
    key, flying = target(at_ms=now_ms, limit="1.00"), target(period=Period.TOTAL, unit=Unit.INFLIGHT, limit="2")
    await two.source.reserve(reserve("r1", "0.40 0 0 1", key, flying))
    async with Mover(two) as mover:
        assert [hold.id for hold in await two.destination.holds()] == ["r1"]
        assert (await two.destination.reserve(reserve("d1", "0.70", key))).status is Status.REJECTED
        assert (await two.destination.reserve(reserve("d2", "0.60 0 0 1", key, flying))).status is Status.RESERVED
        assert (await two.destination.reserve(reserve("d3", "0 0 0 1", flying))).status is Status.REJECTED
        await two.source.grow(grow("r1", "0.50 0 0 1"))
        await mover.rounds()
        assert (await two.spent(two.destination))[key.counter.name][0].reserved == 1_100_000_000
        await two.source.finalize(finalize("r1", "0.10", key, flying))
        await mover.rounds()
        assert (await two.destination.finalize(finalize("d2", "0.55", key))).status is Status.FINALIZED
        assert (await two.spent(two.destination))[key.counter.name][0] == Balance(650_000_000, 0)
        await two.source.reserve(reserve("r4", "0.20", key))
        await mover.rounds()
        await two.source.release(release("r4"))
        await mover.rounds()
        assert await two.destination.holds() == []
    report = await two.move()
    [row] = report.counters
    assert (row.source, row.own, row.spent, row.is_equal) == ("0.10", "0.55", "0.65", True)
    for store in (two.source, two.destination):
        assert (await audit_report(store)).drift == ()


@pytest.mark.parametrize("period", [Period.MONTH, Period("24h")])
async def test_the_old_store_counts_what_the_new_one_has_spent_and_holds(two: Two, now_ms: int, period: Period):
    """It holds that, and books nothing; at the end it is given back."""
    key = target(at_ms=now_ms, limit="1.00", period=period)
    flying = target(period=Period.TOTAL, unit=Unit.INFLIGHT, limit="1")
    await two.source.finalize(finalize("r1", "0.10", key))
    async with Mover(two) as mover:
        await two.destination.finalize(finalize("d1", "0.30", key))
        await two.destination.reserve(reserve("d2", "0.20 0 0 1", key, flying))
        await mover.rounds()
        assert (await two.source.reserve(reserve("r2", "0.41", key))).status is Status.REJECTED
        assert (await two.source.reserve(reserve("r3", "0 0 0 1", flying))).status is Status.REJECTED
        await two.destination.finalize(finalize("d2", "0.05"))
        await mover.rounds()
        assert (await two.source.reserve(reserve("r4", "0.56", key))).status is Status.REJECTED
        assert (await two.source.reserve(reserve("r5", "0.55", key, flying))).status is Status.RESERVED
        await two.source.finalize(finalize("r5", "0.50"))
        await mover.rounds()
        balances = [(await two.spent(store))[key.counter.name][0] for store in (two.source, two.destination)]
        assert balances == [Balance(600_000_000, 350_000_000), Balance(950_000_000, 0)]
    # It was cut off, and goes on.
    assert (await two.move()).is_equal
    balances = [(await two.spent(store))[key.counter.name][0] for store in (two.source, two.destination)]
    assert balances == [Balance(600_000_000, 0), Balance(950_000_000, 0)]
    for store in (two.source, two.destination):
        assert (await audit_report(store)).drift == ()


async def test_an_ending_that_a_worker_sends_to_the_new_store_too_is_booked_once(two: Two, now_ms: int):
    """Its answer had been lost, so it was in the spool when the worker was moved."""
    key = target(at_ms=now_ms)
    await two.source.finalize(finalize("r0", "0.01", key))
    await two.source.reserve(reserve("r1", "0.40", key))
    await two.source.finalize(finalize("r1", "0.10", key))
    await two.move()
    for id_, cost in (("r0", "0.01"), ("r1", "0.10")):
        assert (await two.destination.finalize(finalize(id_, cost, key))).status is Status.ALREADY_FINALIZED
    # And the worker was faster than the migration.
    await two.source.finalize(finalize("r2", "0.07", key))
    await two.destination.finalize(finalize("r2", "0.07", key))
    assert (await two.move()).is_equal
    assert (await two.spent(two.destination))[key.counter.name][0].spent == 180_000_000
    assert (await two.move()).is_equal
    assert (await two.spent(two.destination))[key.counter.name][0].spent == 180_000_000


async def test_an_ending_that_comes_to_the_new_store_only_is_not_lost(two: Two, now_ms: int):
    key = target(at_ms=now_ms)
    await two.source.reserve(reserve("r1", "0.40", key))
    await two.source.reserve(reserve("r2", "0.40", key))
    async with Mover(two) as mover:
        # One while its hold is copied, one after the old store let it expire.
        assert (await two.destination.finalize(finalize("r1", "0.10", key))).status is Status.FINALIZED
        await two.source.expire(Expire("r1"))
        await two.source.expire(Expire("r2"))
        await mover.rounds()
        assert (await two.destination.finalize(finalize("r2", "0.20", key))).status is Status.FINALIZED_LATE
    assert (await two.move()).is_equal
    assert (await two.spent(two.destination))[key.counter.name][0] == Balance(300_000_000, 0)
    assert (await audit_report(two.destination)).drift == ()


async def test_a_copy_that_has_expired_holds_again(two: Two, now_ms: int):
    """A migration that was away for longer than a lease: its holds were given back meanwhile."""
    key = target(at_ms=now_ms)
    await two.source.reserve(reserve("r1", "0.40", key, lease_s=600))
    for _ in range(3):
        async with Mover(two):
            assert (await two.spent(two.destination))[key.counter.name][0].reserved == 400_000_000
        [hold] = await two.destination.holds()
        await two.destination.expire(Expire(hold.id))
    async with Mover(two) as mover:
        await two.source.finalize(finalize("r1", "0.10", key))
        await mover.rounds()
        assert (await two.spent(two.destination))[key.counter.name][0] == Balance(100_000_000, 0)


async def test_copies_whose_originals_ended_while_it_was_cut_off_are_given_back(two: Two, now_ms: int):
    key = target(at_ms=now_ms)
    for id_ in ("r1", "r2", "r3"):
        await two.source.reserve(reserve(id_, "0.40", key))
    await two.destination.reserve(reserve("d1", "0.01", key))
    async with Mover(two, is_merge=True):
        assert len(await two.destination.holds()) == 4
    await two.source.release(release("r1"))
    await two.source.finalize(finalize("r2", "0.10", key))
    await two.source.expire(Expire("r3"))
    assert (await two.move()).is_equal
    assert [hold.id for hold in await two.destination.holds()] == ["d1"]
    assert (await two.destination.finalize(finalize("r3", "0.20", key))).status is Status.FINALIZED_LATE


async def test_leases_that_nobody_sweeps_at_the_old_store_are_booked(two: Two, now_ms: int):
    """All its gateways are gone, and one of them was killed."""
    key = target(at_ms=now_ms)
    await two.source.reserve(reserve("r1", "0.40", key, charge="0.30", lease_s=0))
    assert (await two.move()).is_equal
    assert (await two.spent(two.destination))[key.counter.name][0] == Balance(300_000_000, 0)


async def test_entries_that_were_trimmed_before_they_were_read_cost_nothing(
    two: Two, now_ms: int, open_ledger: OpenStore
):
    short = open_ledger(two.asked.from_namespace or "", journal_max=40)
    keys = [target(f"team:{number}", at_ms=now_ms) for number in range(100)]
    await short.finalize(finalize("r", "0.01", keys[0]))
    async with Mover(two) as mover:
        pages = _Journal.pages

        async def pages_of_a_slow_reader(self: _Journal) -> AsyncIterator[object]:
            monkeypatched.undo()
            for number in range(300):
                await short.finalize(finalize(f"r{number}", "0.01", keys[number % 100]))
            async for page in pages(self):
                yield page

        monkeypatched = pytest.MonkeyPatch()
        monkeypatched.setattr(_Journal, "pages", pages_of_a_slow_reader)
        await mover.rounds()
        of_source = {name: figures[0] for name, figures in (await two.spent(two.source)).items()}
        assert {name: figures[0] for name, figures in (await two.spent(two.destination)).items()} == of_source
        assert of_source[keys[0].counter.name].spent == 40_000_000
    assert (await two.move()).is_equal


# Limits.


async def test_runtime_limits_arrive_and_follow(two: Two, now_ms: int):
    change = two.source.change_limits
    await two.source.set_limit("team:a", period=Period.MONTH, limit_nanos=5)
    await change("team:*", {Slot(Period("24h"), Unit.TOKENS, LimitMode.SOFT): Terms(8, alerts=(50, 80), carry=0)})
    await change("global", {None: Terms(None), Slot(Period.DAY): Terms(9)})
    await two.source.finalize(finalize("r1", "0.01", target(at_ms=now_ms)))
    async with Mover(two) as mover:
        assert (await two.destination.limits()).limits == (await two.source.limits()).limits
        await two.source.clear_limit("team:*", period=None)
        await two.source.set_limit("team:a", period=Period.DAY, limit_nanos=7)
        await two.destination.set_limit("team:own", period=Period.DAY, limit_nanos=1)
        await mover.rounds()
        limits = dict((await two.destination.limits()).limits)
        assert limits.pop(("team:own", "day")) == 1
        assert limits == (await two.source.limits()).limits
    report = await two.move()
    assert (report.limits, report.unequal_limits) == (2, ())


# Another hash secret.

TOKENS = ["sk-alice", "sk-bob"]


def by_old(token: str) -> str:
    return key_id(token, secret="old")


def by_new(token: str) -> str:
    return key_id(token, secret="new")


def renaming(*tokens: str) -> Renaming:
    return renaming_of(tokens, old_secret="old", new_secret="new")


async def test_keys_get_the_names_of_another_secret(two: Two, now_ms: int):
    alice, both = (
        target(f"key:{by_old('sk-alice')}", at_ms=now_ms),
        target(f"key+model:{by_old('sk-bob')}+gpt-4o", at_ms=now_ms),
    )
    await two.source.finalize(finalize("r1", "0.10", alice, both))
    await two.source.finalize(finalize("r2", "0.20", target("key:-", at_ms=now_ms)))
    await two.source.set_limit(alice.account, period=Period.DAY, limit_nanos=5)
    await two.source.set_limit("key:*", period=Period.DAY, limit_nanos=6)
    report = await two.move(renaming=renaming("sk-alice\n", "", " sk-bob "))
    assert (report.is_equal, report.unrenamed) == (True, ())
    spent = {each.counter.account: each.balance.spent for each in await two.destination.counters()}
    assert spent == {
        f"key:{by_new('sk-alice')}": 100_000_000,
        f"key+model:{by_new('sk-bob')}+gpt-4o": 100_000_000,
        "key:-": 200_000_000,
    }
    assert set((await two.destination.limits()).limits) == {(f"key:{by_new('sk-alice')}", "day"), ("key:*", "day")}


async def test_keys_without_a_token_are_refused_or_keep_their_names(two: Two, now_ms: int):
    alice = target(f"key:{by_old('sk-alice')}", at_ms=now_ms)
    await two.source.finalize(finalize("r1", "0.10", alice))
    with pytest.raises(OperationError, match=f"no token was given for {alice.account};"):
        await two.move(renaming=renaming("sk-bob"))
    assert (await two.destination.head()).seq == 0
    report = await two.move(renaming=renaming("sk-bob"), keeps_unknown_keys=True)
    assert (report.is_equal, report.unrenamed) == (True, (alice.account,))


async def test_holds_of_renamed_keys_are_in_the_way_of_the_new_name(two: Two, now_ms: int):
    await two.source.reserve(reserve("r1", "0.40", target(f"key:{by_old('sk-alice')}", at_ms=now_ms)))
    new = target(f"key:{by_new('sk-alice')}", at_ms=now_ms, limit="0.50")
    async with Mover(two, renaming=renaming(*TOKENS)):
        assert (await two.destination.reserve(reserve("d1", "0.20", new))).status is Status.REJECTED


def test_files_get_the_new_names_of_keys():
    old = by_old("sk-alice")
    text = f'[keys."{old}"]\nteam = "search"\n[keys."0123456789abcdef"]\n# {old}0 stays\n'
    assert renaming("sk-alice").text(text) == text.replace(f'"{old}"', f'"{by_new("sk-alice")}"')


# What is refused.


async def test_wrong_uses_are_refused_in_one_line(two: Two, now_ms: int, server_url: str, namespace: str):
    cases = {
        "there is nothing to move in .*; other namespaces there: ": {},
        "TO_URL is the same ledger as FROM_URL": {"to_namespace": namespace},
        "FROM_URL is memory://: its counters live in a gateway's process": {"from_url": "memory://"},
        "TO_URL is memory://": {"to_url": "memory://"},
        "TO_URL: .*accepted": {"to_url": "http://x"},
        "TO_URL: no answer from unix:///nowhere": {"to_url": "unix:///nowhere"},
    }
    for said, changes in cases.items():
        with pytest.raises(OperationError, match=said) as refused:
            await two.move(**changes)
        assert "\n" not in str(refused.value)
    await two.source.finalize(finalize("r1", "0.10", target(at_ms=now_ms)))
    await two.destination.finalize(finalize("r2", "0.10", target(at_ms=now_ms)))
    with pytest.raises(OperationError, match=r"TO_URL is in use: .*; name an empty namespace"):
        await two.move()
    [row] = (await two.move(is_merge=True)).counters
    assert (row.source, row.own, row.spent, row.is_equal) == ("0.10", "0.10", "0.20", True)


async def test_another_ledger_is_not_moved_into_what_was_begun(
    two: Two, now_ms: int, open_ledger: OpenStore, namespace: str
):
    await two.source.finalize(finalize("r1", "0.10", target(at_ms=now_ms)))
    await two.move()
    other = open_ledger(f"{namespace}-other")
    await other.finalize(finalize("r1", "0.10", target(at_ms=now_ms)))
    with pytest.raises(OperationError, match="was begun from another ledger"):
        await two.move(from_namespace=f"{namespace}-other")


async def test_a_source_that_loses_writes_ends_the_migration(two: Two, now_ms: int):
    await two.source.finalize(finalize("r1", "0.10", target(at_ms=now_ms)))
    async with Mover(two) as mover:
        await two.source._client().delete(*await two.source._client().keys(f"{two.source._prefix}*"))
        await two.source.finalize(finalize("r2", "0.10", target(at_ms=now_ms)))
        with pytest.raises(OperationError, match="FROM_URL: it has lost writes"):
            await mover.rounds(50)


async def test_a_server_without_rights_is_named(two: Two, now_ms: int, tmp_path: Path):
    await two.source.finalize(finalize("r1", "0.10", target(at_ms=now_ms)))
    with UnixValkey(tmp_path) as server:
        client = RedisStore(server.url, namespace="x", timeout_s=10)
        await client._client().execute_command("ACL SETUSER reader on nopass ~* +@read +@connection")
        await client.aclose()
        with pytest.raises(OperationError, match=r"TO_URL: .* refused: ") as refused:
            await two.move(to_url=f"unix://reader:x@{server.socket}")
        assert "reader:x" not in str(refused.value)


async def test_a_lease_of_a_copy_is_renewed(two: Two, now_ms: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("budget_middleware.operations.migrating.holds.RENEWED_S", 0)
    await two.source.reserve(reserve("r1", "0.40", target(at_ms=now_ms), lease_s=600))
    async with Mover(two) as mover:
        [before] = await two.destination.holds()
        await two.destination.extend(Extend("r1", 1_000))
        await mover.rounds(3)
        [after] = await two.destination.holds()
        assert after.deadline_ms >= before.deadline_ms


async def test_a_second_migration_to_one_ledger_is_refused_while_the_first_runs(
    two: Two, now_ms: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alone, "_RENEW_S", 0.05)
    await used(two.source, now_ms)
    await two.source.reserve(reserve("pending", "0.10", target(at_ms=now_ms)))
    first = asyncio.create_task(two.move())
    while not await two.destination.holds() and not first.done():
        await asyncio.sleep(0)
    with pytest.raises(OperationError, match=r"another migration to .* is under way; let it end"):
        await two.move()
    await two.source.release(release("pending"))
    assert (await first).is_equal
    assert (await two.move()).is_equal, "the lease is given up at the end"


async def test_a_migration_whose_lease_another_took_ends(two: Two, now_ms: int, monkeypatch: pytest.MonkeyPatch):
    """As after a machine slept for longer than the lease."""
    monkeypatch.setattr(alone, "_RENEW_S", 0.3)
    await used(two.source, now_ms)
    await two.source.reserve(reserve("pending", "0.10", target(at_ms=now_ms)))
    first = asyncio.create_task(two.move())
    while not await two.destination.holds() and not first.done():
        await asyncio.sleep(0)
    while not await two.destination.swap_text(
        "migration",
        "lease",
        before=(await two.destination.texts("migration"))["lease"],
        after=f"another {now_ms + 60_000}",
        keep_ms=60_000,
    ):
        await asyncio.sleep(0)
    with pytest.raises(OperationError, match="another migration"):
        await first
    assert (await two.destination.texts("migration"))["lease"].startswith("another"), "it is left alone"


async def test_a_migration_waits_for_the_lease_of_one_that_was_killed(two: Two, now_ms: int):
    await used(two.source, now_ms)
    head = await two.destination.head()
    await two.destination.swap_text(
        "migration", "lease", before=None, after=f"killed {head.now_ms + 300}", keep_ms=60_000
    )
    assert (await two.move()).is_equal
