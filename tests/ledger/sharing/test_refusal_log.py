"""The ledger's side of the refusal log: beside the path, soon, bounded, and nobody's error."""

import asyncio
from collections.abc import Callable
from unittest import mock

import pytest

from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.statuses import Status
from budget_middleware.ledger import BudgetRejected, Ledger
from budget_middleware.ledger.sharing import refusal_log
from budget_middleware.stores.base import Store
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import hold, nanos
from tests.ledger.faults import FaultyStore, refused, request_held, request_lost

OpenLedger = Callable[..., Ledger]


async def written(ledger: Ledger, base: Store) -> list[LoggedRefusal]:
    """What the log holds when all that waits has been written."""
    ledger._refusals.write()
    await ledger._tasks.drain(timeout_s=10)
    return list(await base.refusals())


async def test_a_refusal_is_logged_with_all_that_explains_it(open_ledger: OpenLedger, base: Store, clock: MovableClock):
    ledger = open_ledger("key=1/month; team=0.5/month")
    asked = hold("0.60", model="gpt-4o")
    asked.payers = {"key": "a", "team": "b"}
    answer = await ledger.reserve(asked)
    assert answer.rejection is not None
    assert await written(ledger, base) == [
        LoggedRefusal(clock(), asked.id, ("key:a", "team:b"), answer.rejection, model="gpt-4o")
    ]
    (told,) = await base.refusals()
    assert told.rejection.target.account == "team:b"
    assert not told.rejection.is_held
    assert (told.rejection.limit, told.rejection.estimate) == (nanos("0.5"), nanos("0.60"))


async def test_held_and_shadow_are_told_apart(open_ledger: OpenLedger, base: Store, clock: MovableClock):
    enforcing, shadow = open_ledger(), open_ledger(enforce=False)
    assert (await enforcing.reserve(hold())).status is Status.RESERVED
    assert (await enforcing.reserve(hold())).status is Status.REJECTED
    clock.advance(ms=1)
    assert (await shadow.reserve(hold())).status is Status.RESERVED
    await written(enforcing, base)
    told = await written(shadow, base)
    assert [(refusal.is_enforced, refusal.rejection.is_held) for refusal in told] == [(True, True), (False, True)]


async def test_what_is_admitted_and_what_an_outage_refuses_is_not_logged(
    ledger: Ledger, faults: FaultyStore, base: Store
):
    await ledger.reserve(hold("0.10"))
    faults.meets("reserve", refused)
    with pytest.raises(Exception, match="refused"):
        await ledger.reserve(hold("0.10"))
    assert await written(ledger, base) == []
    assert faults.count("log_refusals") == 0


async def test_code_outside_http_is_logged_too(ledger: Ledger, base: Store):
    with pytest.raises(BudgetRejected):
        async with ledger.reservation({"key": "1f3a9c0b2d4e5f60"}, estimate_usd="1.01"):
            pass
    (told,) = await written(ledger, base)
    assert told.accounts == ("key:1f3a9c0b2d4e5f60",)


async def test_a_refusal_waits_for_no_log(ledger: Ledger, faults: FaultyStore, base: Store):
    """It is answered while the log's call hangs, and so are those after it."""
    gate = Gate()
    faults.meets("log_refusals", request_held(gate))
    assert (await ledger.reserve(hold("2"))).status is Status.REJECTED
    await gate.reached()
    assert (await ledger.reserve(hold("2"))).status is Status.REJECTED
    assert await base.refusals() == []
    gate.open()
    assert len(await written(ledger, base)) == 2


@pytest.mark.parametrize("fault", [request_lost, refused])
async def test_a_log_that_fails_is_counted_and_nobodys_error(
    ledger: Ledger, faults: FaultyStore, base: Store, fault, caplog: pytest.LogCaptureFixture
):
    faults.meets("log_refusals", fault)
    with mock.patch.object(ledger.telemetry.metrics, "count_unlogged") as counted:
        assert (await ledger.reserve(hold("2"))).status is Status.REJECTED
        assert await written(ledger, base) == []
    assert counted.mock_calls == [mock.call(1)]
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_many_alike_stand_together_and_push_nobody_out(ledger: Ledger, faults: FaultyStore, base: Store):
    asked = [hold("2") for _ in range(50)]
    for each in asked:
        await ledger.reserve(each)
    await ledger.reserve(hold("3", key="z"))
    told = await written(ledger, base)
    of_a = [refusal for refusal in told if refusal.accounts == ("key:a",)]
    assert sum(refusal.times for refusal in of_a) == 50
    assert len(of_a) <= refusal_log.ALIKE * faults.count("log_refusals")
    assert of_a[-1].reservation_id == asked[-1].id, "the last one stands for those before it"
    assert [refusal.times for refusal in told if refusal.accounts == ("key:z",)] == [1]


async def test_what_waits_is_bounded_and_the_rest_counted(ledger: Ledger, base: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refusal_log, "AT_MOST", 5)
    monkeypatch.setattr(refusal_log, "EVERY_S", 1_000)
    await ledger.reserve(hold("2"))
    await written(ledger, base)
    with mock.patch.object(ledger.telemetry.metrics, "count_unlogged") as counted:
        for n in range(8):
            await ledger.reserve(hold("2", key=f"k{n}"))
        await ledger.reserve(hold("2", key="k0"))
    assert len(counted.mock_calls) == 3
    told = {refusal.accounts: refusal.times for refusal in await written(ledger, base)}
    assert told == {("key:a",): 1, ("key:k0",): 2, **{(f"key:k{n}",): 1 for n in range(1, 5)}}


async def test_a_shutdown_writes_what_waits(open_ledger: OpenLedger, base: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refusal_log, "EVERY_S", 1_000)
    ledger = open_ledger()
    first, second = hold("2"), hold("2")
    await ledger.reserve(first)
    await written(ledger, base)
    await ledger.reserve(second)
    assert len(await base.refusals()) == 1
    await ledger.drain()
    assert {refusal.reservation_id for refusal in await base.refusals()} == {first.id, second.id}


async def test_the_log_writes_by_itself(ledger: Ledger, faults: FaultyStore, base: Store):
    gate = Gate()
    faults.meets("log_refusals", request_held(gate))
    await ledger.reserve(hold("2"))
    async with asyncio.timeout(10):
        await gate.reached()
    gate.open()
