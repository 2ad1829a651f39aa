"""A store that loses acknowledged writes: emptied, replaced, or failed over to an older state."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.calls import monitor
from budget_middleware.ledger.endings import endings, owed
from budget_middleware.ledger.endings.spool_file import set_aside_in
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.redis import RedisStore, key_prefix
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, drain, hold, nanos
from tests.ledger.faults import FaultyStore, after, reply_held, reply_lost, request_lost
from tests.stores.replicas import restore, snapshot_of
from tests.stores.verbs import figures, reserve, target


def _move_clock(monkeypatch: pytest.MonkeyPatch, monotonic_s: Callable[[], float]) -> None:
    """The clock of endings is the test's own."""
    for module in (endings, owed):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic_s))


async def empty(faults: FaultyStore, clock: MovableClock, namespace: str) -> None:
    """What FLUSHALL does, or a restart without persistence; other tests keep their keys."""
    if not isinstance(faults.inner, RedisStore):
        faults.inner = MemoryStore(clock_ms=clock)
        return
    client = faults.inner._client()
    async for key in client.scan_iter(match=f"{key_prefix(namespace)}*", count=1000):
        await client.delete(key)


def fail_over(faults: FaultyStore, replica: MemoryStore) -> None:
    faults.inner = replica


def replica_of(store: Store) -> MemoryStore:
    """A copy of a memory store as it is now, as a replica that lags would have it."""
    assert isinstance(store, MemoryStore)
    copied = MemoryStore(store._retention, clock_ms=store._clock_ms)
    restore(copied, snapshot_of(store))
    return copied


async def test_f31_emptied_with_ten_in_flight(faults: FaultyStore, clock: MovableClock, namespace: str, ledger: Ledger):
    holds = [hold("0.05") for _ in range(10)]
    for held in holds:
        assert (await ledger.reserve(held)).admits
    await empty(faults, clock, namespace)
    endings = [ledger.finalize(held, actual=Amounts(usd=nanos("0.04"))) for held in holds]
    statuses = {answer.status for answer in await asyncio.gather(*endings) if answer}
    assert statuses == {Status.FINALIZED_UNRESERVED}
    await ledger.drain()
    assert await figures(faults.inner) == ("0.40", "0.00")
    held = hold("0.60")
    assert (await ledger.reserve(held)).admits, "new requests work"
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.01")))
    assert await figures(faults.inner) == ("0.41", "0.00")


async def test_an_ending_that_is_sent_again_brings_its_bill(
    faults: FaultyStore, clock: MovableClock, namespace: str, ledger: Ledger
):
    held = hold("0.10")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")), reason="usage", bill='{"v":1}')
    await empty(faults, clock, namespace)
    # Its answer shows that the store is another one.
    await ledger.reserve(hold("0"))
    await drain(ledger)
    (entry,) = await faults.inner.latest(count=10)
    assert (entry.status, entry.reason, entry.bill) == (Status.FINALIZED_UNRESERVED, "usage", '{"v":1}')


async def test_endings_of_the_last_minutes_are_sent_again_once(
    faults: FaultyStore, clock: MovableClock, namespace: str, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    for _ in range(3):
        held = hold("0.10")
        await ledger.reserve(held)
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    given_back = hold("0.10")
    await ledger.reserve(given_back)
    await ledger.release(given_back)
    await empty(faults, clock, namespace)
    for _ in range(2):
        held = hold("0")
        await ledger.reserve(held)
        await ledger.release(held)
        await ledger.drain()
        assert await figures(faults.inner) == ("0.06", "0.00")
    assert caplog.text.count("the store lost writes") == 1
    assert (await faults.inner.reserve(_reserve_again(given_back))).status is Status.DUPLICATE, "its tombstone too"


def _reserve_again(held: Any) -> Any:
    return reserve(held.id, "0.10", *held.targets)


async def test_what_ended_before_the_last_minutes_is_not_sent_again(
    faults: FaultyStore, clock: MovableClock, namespace: str, *, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(endings, "REPLAYED_S", 0)
    held = hold("0.10")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    await empty(faults, clock, namespace)
    await ledger.sweep()
    await ledger.drain()
    assert await figures(faults.inner) == ("0.00", "0.00")


async def test_emptied_twice(faults: FaultyStore, clock: MovableClock, namespace: str, ledger: Ledger):
    held = hold("0.10")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    for _ in range(2):
        await empty(faults, clock, namespace)
        await ledger.sweep()
        await ledger.drain()
        assert await figures(faults.inner) == ("0.02", "0.00")


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_failover_to_an_older_state(faults: FaultyStore, ledger: Ledger):
    """Its generation is the same, its seq is behind: what was acknowledged since is sent again, and only once."""
    holds = [hold("0.10") for _ in range(6)]
    for held in holds:
        await ledger.reserve(held)
    for held in holds[:3]:
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    replica = replica_of(faults.inner)
    for held in holds[3:]:
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    fail_over(faults, replica)
    assert await figures(replica) == ("0.06", "0.30")
    await ledger.sweep()
    await ledger.drain()
    assert await figures(replica) == ("0.12", "0.00")


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_answers_that_overtake_each_other_are_no_loss(
    faults: FaultyStore, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    gates, asking = [Gate() for _ in range(5)], []
    await ledger.reserve(hold("0"))
    for gate in gates:
        faults.meets("reserve", reply_held(gate))
        asking.append(asyncio.create_task(ledger.reserve(hold("0.10"))))
        await gate.reached()
    for gate, task in reversed(list(zip(gates, asking, strict=True))):
        gate.open()
        await task
    assert "lost writes" not in caplog.text


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_failover_is_noticed_once_by_many_in_flight(
    faults: FaultyStore, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    await ledger.reserve(hold("0"))
    replica = replica_of(faults.inner)
    ended = hold("0.10")
    await ledger.reserve(ended)
    await ledger.finalize(ended, actual=Amounts(usd=nanos("0.01")))
    fail_over(faults, replica)
    await asyncio.gather(*(ledger.reserve(hold("0.02")) for _ in range(10)))
    await drain(ledger)
    assert caplog.text.count("lost writes") == 1
    assert [view.balance.spent for view in await replica.counters()] == [nanos("0.01")]


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_an_acknowledgement_from_before_the_loss_that_comes_late(
    faults: FaultyStore, clock: MovableClock, ledger: Ledger
):
    """The old store booked it and is gone; its reply arrives when the new one has been seen already."""
    held, gate = hold("0.10"), Gate()
    await ledger.reserve(held)
    faults.meets("finalize", reply_held(gate))
    ending = ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    await gate.reached()
    faults.inner = MemoryStore(clock_ms=clock)
    await ledger.reserve(hold("0.10"))
    gate.open()
    await ending
    await ledger.sweep()
    await drain(ledger)
    assert [view.balance.spent for view in await faults.inner.counters()] == [nanos("0.02")]


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_an_acknowledgement_without_entries_is_not_proven_by_what_others_wrote_since(
    faults: FaultyStore, clock: MovableClock, ledger: Ledger
):
    """The repetition was told that all is done; when the entry that stood last is read, it is another store's."""
    held = hold("0.10")
    await ledger.reserve(held)
    replica = replica_of(faults.inner)
    faults.meets("finalize", reply_lost)
    faults.meets("journal", after(lambda: fail_over(faults, replica)))
    clock.now_ms += 1
    assert (await replica.reserve(reserve("others", "0.03", target("key:b")))).admits
    clock.now_ms -= 1
    answer = await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    assert answer is not None
    assert answer.status is Status.ALREADY_FINALIZED
    while not faults.count("journal"):
        await asyncio.sleep(0)
    await ledger._serve_loop()
    await ledger.drain()
    assert await figures(replica) == ("0.02", "0.00")


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_lost_release_is_sent_again_that_others_have_written_over(
    faults: FaultyStore, clock: MovableClock, ledger: Ledger
):
    """The seq has not gone back, and the last entry that is lasting still stands: only the voided one is another."""
    booked, given_back = hold("0.10"), hold("0.10")
    await ledger.reserve(booked)
    await ledger.finalize(booked, actual=Amounts(usd=nanos("0.02")))
    await ledger.reserve(given_back)
    replica = replica_of(faults.inner)
    await ledger.release(given_back)
    fail_over(faults, replica)
    await _write_as_another(replica, clock)
    assert await figures(replica) == ("0.02", "0.10")
    await ledger._serve_loop()
    await ledger.drain()
    assert await figures(replica) == ("0.02", "0.00")


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_lost_release_is_sent_again_that_was_the_last_before_a_silence(
    faults: FaultyStore, clock: MovableClock, *, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    """As before, and the worker has written again by the time that it looks: its last entry stands."""
    given_back, after_it = hold("0.10"), hold("0.01")
    await ledger.reserve(given_back)
    replica = replica_of(faults.inner)
    await ledger.release(given_back)
    fail_over(faults, replica)
    await _write_as_another(replica, clock)
    monkeypatch.setattr(monitor, "SILENCE_S", 0)
    await ledger.reserve(after_it)
    await ledger.finalize(after_it, actual=Amounts(usd=nanos("0.01")))
    await ledger._serve_loop()
    await ledger.drain()
    assert await figures(replica) == ("0.01", "0.00")


async def _write_as_another(store: MemoryStore, clock: MovableClock) -> None:
    """As many entries as were lost, and more, by another worker a moment later."""
    clock.advance(s=1)
    for number in range(3):
        assert (await store.reserve(reserve(f"others-{number}", "0.01", target("key:b")))).admits


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_what_the_store_has_rightly_forgotten_is_not_booked_again(
    faults: FaultyStore, clock: MovableClock, monkeypatch: pytest.MonkeyPatch, open_ledger: OpenLedger, caplog
):
    """Older than the store remembers: known no more, though booked. Its age goes with it, and the store declines."""
    monotonic_s = 1000.0
    _move_clock(monkeypatch, lambda: monotonic_s)
    faults.inner = MemoryStore(Retention(remember_ms=60_000), clock_ms=clock)
    ledger = open_ledger()
    held = hold("0.10")
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    replica = replica_of(faults.inner)
    lost = hold("0.10")
    await ledger.reserve(lost)
    clock.advance(s=200)
    monotonic_s += 200
    fail_over(faults, replica)
    await ledger.sweep()
    with caplog.at_level(logging.ERROR):
        await drain(ledger)
    assert await figures(replica) == ("0.02", "0.00")
    assert f"too late to rule out that it was booked before: Finalize(id='{held.id}'" in caplog.text


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_long_outage_is_not_too_old_while_it_is_remembered(
    faults: FaultyStore, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
):
    """Answered just now, owed since long: a loss now must send it again all the same."""
    monotonic_s = 1000.0
    _move_clock(monkeypatch, lambda: monotonic_s)
    held = hold("0.10")
    await ledger.reserve(held)
    faults.meets("finalize", request_lost)
    ending = ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    await asyncio.sleep(0)
    monotonic_s += 900
    await ending
    faults.inner = MemoryStore(clock_ms=MovableClock())
    await ledger.sweep()
    await ledger.drain()
    assert [view.balance.spent for view in await faults.inner.counters()] == [nanos("0.02")]


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_too_late_to_be_sure_is_said_and_not_booked(
    faults: FaultyStore,
    monkeypatch: pytest.MonkeyPatch,
    ledger: Ledger,
    caplog: pytest.LogCaptureFixture,
):
    monotonic_s = 1000.0
    _move_clock(monkeypatch, lambda: monotonic_s)
    held = hold("0.10")
    faults.meets("finalize", request_lost)
    held.targets = await _targets(ledger)
    ending = ledger.finalize(held, actual=Amounts(usd=nanos("0.02")))
    await asyncio.sleep(0)
    monotonic_s += 2 * 3600
    answer = await ending
    assert answer is not None
    assert answer.status is Status.TOO_OLD
    assert await faults.inner.counters() == []
    assert "too late to rule out that it was booked before" in caplog.text
    assert "usd=20000000" in caplog.text


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_what_came_too_late_stays_in_the_spool_for_an_operator(
    faults: FaultyStore, monkeypatch: pytest.MonkeyPatch, *, open_ledger: OpenLedger, tmp_path: Path
):
    monotonic_s = 1000.0
    _move_clock(monkeypatch, lambda: monotonic_s)
    ledger = open_ledger(spool_path=tmp_path)
    held, given_up = hold("0.10"), hold("0.10")
    held.targets = await _targets(ledger)
    for method in ("finalize", "release"):
        faults.meets(method, request_lost)
    owed = [ledger.finalize(held, actual=Amounts(usd=nanos("0.02"))), ledger.release(given_up)]
    await asyncio.sleep(0)
    monotonic_s += 2 * 3600
    assert [answer.status for answer in await asyncio.gather(*owed) if answer] == [Status.TOO_OLD] * 2
    await drain(ledger)
    (left,) = set_aside_in(tmp_path)
    assert json.loads(left.read_text())["id"] == held.id


async def _targets(ledger: Ledger) -> Any:
    probe = hold("0")
    await ledger.reserve(probe)
    return probe.targets


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_replay_leaves_room_for_requests(faults: FaultyStore, clock: MovableClock, ledger: Ledger):
    for _ in range(100):
        held = hold("0.01")
        await ledger.reserve(held)
        await ledger.finalize(held, actual=Amounts(usd=nanos("0.001")))
    faults.inner = MemoryStore(clock_ms=clock)
    gate = Gate()
    faults.always["finalize"] = reply_held(gate)
    before = faults.count("finalize")
    await ledger.sweep()
    await gate.reached(endings.REPLAYED_AT_ONCE)
    assert faults.count("finalize") - before == endings.REPLAYED_AT_ONCE
    gate.open()
    await ledger.drain()
    assert await figures(faults.inner) == ("0.10", "0.00")
