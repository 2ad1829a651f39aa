"""Requests that wait for budget that others hold: what they ask for, and what their clients see of it."""

import asyncio
import math

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Terms
from budget_middleware.ledger.waiting import lines as waiting_lines
from budget_middleware.request.waiting import terms_of
from budget_middleware.settings_loading import load
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call
from tests.request.bench import Bench
from tests.request.wire import OTHER_TOKEN, ask, bearer, completion

WAITS = {"wait_s": "3600"}


@pytest.fixture(autouse=True)
def _nobody_asks_unwoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_lines, "RETRY_S", 3600)


class InFlight:
    """A request that the app has been given, and answers when it is told to."""

    def __init__(self, app: ScriptedApp, gate: Gate, task: "asyncio.Task[PlayedRequest]") -> None:
        self.app = app
        self._gate = gate
        self._task = task

    async def end(self) -> None:
        self._gate.open()
        assert (await self._task).status == 200


async def in_flight(bench: Bench, **settings: str) -> tuple[BudgetMiddleware, InFlight]:
    """A guard one of whose requests holds 600 of 1,000 tokens, and comes to 100."""
    gate = Gate()
    app = ScriptedApp(gate, *completion(100))
    guard = bench.guard(app, **settings)
    task = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await gate.reached()
    return guard, InFlight(app, gate, task)


async def waits(guard: BudgetMiddleware, count: int = 1) -> None:
    async with asyncio.timeout(30):
        while guard.ledger.n_waiting != count:
            await asyncio.sleep(0)


class LeavingRequest(PlayedRequest):
    """A client that leaves when it is told to."""

    def leave(self) -> None:
        self._is_over.set()


@pytest.mark.parametrize(
    ("headers", "terms"),
    [
        ({}, Terms(15)),
        ({"x-budget-wait-s": "2.5"}, Terms(2.5)),
        ({"x-budget-wait-s": "0"}, Terms(0)),
        ({"x-budget-wait-s": "16"}, Terms(15)),
        ({"x-budget-wait-s": "-1"}, Terms(15)),
        ({"x-budget-wait-s": "nan"}, Terms(15)),
        ({"x-budget-wait-s": "1e9"}, Terms(15)),
        ({"x-budget-wait-s": "soon"}, Terms(15)),
        ({"x-priority": "7"}, Terms(15, 7)),
        ({"x-priority": "-7"}, Terms(15, -7)),
        ({"x-priority": "+999999999"}, Terms(15, 999_999_999)),
        ({"x-priority": "1000000000"}, Terms(15, -math.inf)),
        ({"x-priority": "high"}, Terms(15, -math.inf)),
        ({"x-priority": ""}, Terms(15, -math.inf)),
        ({"x-priority": "\u0664".encode().decode("latin-1")}, Terms(15, -math.inf)),
    ],
)
def test_what_a_request_asks_for(headers: dict[str, str], terms: Terms):
    table = HeaderTable([(name.encode(), value.encode("latin-1")) for name, value in headers.items()])
    assert terms_of(table, load(wait_s="15", priority="header:X-Priority")) == terms


def test_two_priorities_are_none():
    settings = load(wait_s="15", priority="header:x-priority")
    twice = [(b"x-priority", b"1"), (b"X-Priority", b"9")]
    assert terms_of(HeaderTable(twice), settings).priority == -math.inf
    assert terms_of(HeaderTable(twice[:1] * 2), settings).priority == 1
    assert terms_of(HeaderTable(twice), load(wait_s="15")).priority == 0


async def test_a_request_waits_and_is_served(memory: Bench):
    guard, first = await in_flight(memory, **WAITS)
    waiting = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await waits(guard)
    await first.end()
    assert (await waiting).status == 200
    assert await memory.figures() == ("0.20", "0.00")


async def test_the_last_refusal_is_what_it_always_was(memory: Bench):
    guard, first = await in_flight(memory, **WAITS)
    other = memory.guard(ScriptedApp(), store=memory.store_of(guard))
    refusals = [
        await call(guard, ask(600), headers={**bearer(), "x-budget-wait-s": "0.01"}),
        await call(other, ask(600), headers=bearer()),
    ]
    headers = [{**refusal.headers, "x-budget-reservation-id": ""} for refusal in refusals]
    assert headers[0] == headers[1]
    assert headers[0]["retry-after"] == "1"
    assert refusals[0].status == 429
    assert refusals[0].body == refusals[1].body
    await first.end()


async def test_who_asks_for_no_time_does_not_wait(memory: Bench):
    guard, first = await in_flight(memory, **WAITS)
    assert (await call(guard, ask(600), headers={**bearer(), "x-budget-wait-s": "0"})).status == 429
    await first.end()


async def test_nobody_waits_by_default(memory: Bench):
    guard, first = await in_flight(memory)
    assert (await call(guard, ask(600), headers={**bearer(), "x-budget-wait-s": "60"})).status == 429
    await first.end()


async def test_shadow_mode_waits_for_nothing(memory: Bench):
    guard, first = await in_flight(memory, mode="shadow", **WAITS)
    both = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await first.end()
    assert (await both).status == 200


async def test_a_client_that_leaves_is_told_nothing_and_holds_nothing(memory: Bench):
    guard, first = await in_flight(memory, **WAITS)
    left = LeavingRequest(ask(600), headers=bearer())
    waiting = asyncio.create_task(left.run(guard))
    await waits(guard)
    left.leave()
    assert (await waiting).messages == []
    assert left.raised is None
    assert guard.ledger.n_waiting == 0
    await first.end()
    assert await memory.figures() == ("0.10", "0.00")


async def test_a_client_that_leaves_while_it_is_admitted_holds_nothing(memory: Bench):
    guard, first = await in_flight(memory, **WAITS)
    left, gate = LeavingRequest(ask(600), headers=bearer()), Gate()
    waiting = asyncio.create_task(left.run(guard))
    await waits(guard)
    memory.store_of(guard).after["reserve"] = gate.wait
    await first.end()
    await gate.reached()
    left.leave()
    await asyncio.sleep(0)
    gate.open()
    assert (await waiting).messages == []
    assert await memory.figures() == ("0.10", "0.00")


async def test_the_app_hears_of_a_client_that_leaves_after_the_wait(memory: Bench):
    """Nothing that the server has to say is taken from it."""
    heard = asyncio.Event()

    async def listens(receive, _send) -> None:
        if (await receive())["type"] == "http.disconnect":
            heard.set()

    guard, first = await in_flight(memory, **WAITS)
    left = LeavingRequest(ask(600), headers=bearer())
    first.app.script = (listens,)
    waiting = asyncio.create_task(left.run(guard))
    await waits(guard)
    await first.end()
    await waits(guard, 0)
    left.leave()
    await waiting
    assert heard.is_set()


async def test_who_waits_for_budget_is_not_in_the_way_of_others(memory: Bench):
    guard, first = await in_flight(memory, max_waiting="1", **WAITS)
    waiting = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await waits(guard)
    other = asyncio.create_task(call(guard, ask(600), headers=bearer(OTHER_TOKEN)))
    await first.end()
    assert (await waiting).status == 200
    assert (await other).status == 200


async def test_bodies_of_those_who_wait_leave_half_of_the_room_to_others(memory: Bench):
    guard, first = await in_flight(memory, max_bodies_bytes="10000", **WAITS)
    large = ask(600, user="x" * 2_000)
    waiting = [asyncio.create_task(call(guard, large, headers=bearer())) for _ in range(2)]
    await waits(guard, 2)
    assert (await call(guard, large, headers=bearer())).status == 429
    first.app.script = completion(100)
    assert (await call(guard, ask(600, user="x" * 4_000), headers=bearer(OTHER_TOKEN))).status == 200
    await first.end()
    assert [(await each).status for each in waiting] == [200, 200]
    assert guard._responder.in_hand.current().n_waiting_bytes == 0


async def test_the_body_of_a_client_that_leaves_takes_no_room(memory: Bench):
    guard, first = await in_flight(memory, max_bodies_bytes="10000", **WAITS)
    left = LeavingRequest(ask(600, user="x" * 4_000), headers=bearer())
    waiting = asyncio.create_task(left.run(guard))
    await waits(guard)
    left.leave()
    await waiting
    in_hand = guard._responder.in_hand.current()
    assert (in_hand.n_waiting_bytes, in_hand.n_bytes) == (0, 0)
    await first.end()


@pytest.mark.parametrize(("policy", "status"), [("closed", 503), ("open", 200)])
async def test_a_store_that_goes_away_ends_the_wait_by_its_policy(memory: Bench, policy: str, status: int):
    guard, first = await in_flight(memory, on_store_error=policy, wait_s="3600", store_timeout_s="0.2")
    waiting = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await waits(guard)
    store = memory.store_of(guard)

    async def away() -> None:
        raise StoreUnavailable("away")

    store.before["reserve"] = away
    await first.end()
    assert (await waiting).status == status
    store.before.clear()
