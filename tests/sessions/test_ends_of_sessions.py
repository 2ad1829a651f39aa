"""However a session ends, what it has held is booked as the settings say, and nothing is held behind its end."""

import asyncio
import json

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.sessions.responses import completed, create, created, delta
from tests.sessions.socket import ScriptedProvider, Socket, guard_of, opened
from tests.sessions.test_calls_of_a_session import tokens_of


def event_of(event):
    return {"type": "websocket.send", "text": json.dumps(event)}


class Relay:
    """An app with a task for each direction; it ends when one of them has ended."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self.received: list[dict[str, object]] = []

    async def __call__(self, scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        tasks = [asyncio.create_task(self._up(receive)), asyncio.create_task(self._down(send))]
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        for task in done:
            task.result()

    async def _up(self, receive):
        while (message := await receive())["type"] != "websocket.disconnect":
            self.received.append(message)

    async def _down(self, send):
        await send(event_of(created()))
        await self.may_go_on.wait()
        for event in (delta(), delta(), completed(250)):
            await send(event_of(event))


async def test_drain_reads_an_answer_to_its_end(store, prices):
    """As servers do, the one here raises once its client has left."""
    relay = Relay()
    guard = guard_of(relay, prices, store, on_abort="drain")
    socket = await opened(guard)
    socket.send(create())
    await socket.until("response.created")
    socket.breaks = True
    socket.to_app.put_nowait({"type": "websocket.disconnect", "code": 1001})
    relay.may_go_on.set()
    await asyncio.wait((socket.task,))
    assert await tokens_of(store) == Balance(spent=250)


async def test_without_drain_an_app_hears_at_once_that_nobody_reads(store, prices):
    relay = Relay()
    socket = await opened(guard_of(relay, prices, store, on_abort="partial"))
    socket.send(create())
    await socket.until("response.created")
    socket.breaks = True
    relay.may_go_on.set()
    with pytest.raises(ConnectionResetError):
        await socket.task
    await asyncio.sleep(0)
    assert (await tokens_of(store)).spent < 250


async def test_what_is_admitted_behind_the_end_is_given_up(store, prices):
    """The app is over while a task of its own still waits for what its client asks for."""
    asked, may_answer = asyncio.Event(), asyncio.Event()
    reserve = store.reserve

    async def slow(*args):
        asked.set()
        await may_answer.wait()
        return await reserve(*args)

    store.reserve = slow
    left = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        left.append(asyncio.create_task(receive()))
        await asked.wait()

    socket = await opened(guard_of(app, prices, store, on_abort="release"))
    socket.send(create())
    await socket.task
    may_answer.set()
    assert (await left[0])["type"] == "websocket.disconnect"
    for _ in range(100):
        await asyncio.sleep(0)
    assert (await tokens_of(store)).reserved == 0


async def test_what_comes_between_two_answers_breaks_neither(store, prices):
    between = {"type": "response.something.new", "sequence_number": 9}
    answers = iter([[], [created(), completed(20), between, created("resp_2"), completed(30, "resp_2")]])
    socket = await opened(guard_of(ScriptedProvider(lambda event: next(answers)), prices, store))
    socket.send(create(tokens=200))
    socket.send(create(tokens=300))
    await socket.until("response.completed")
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=50)
    await socket.leave()


class StallingSocket(Socket):
    """A client that reads three messages, and then none until it may."""

    may_read = asyncio.Event()

    async def _take(self, message):
        if len(self.sent) == 3:
            await self.may_read.wait()
        await super()._take(message)


async def test_a_client_that_stops_reading_is_not_waited_for_for_ever(store, prices):
    provider = ScriptedProvider(lambda event: [created(), *[delta()] * 5])
    guard = guard_of(provider, prices, store, on_abort="partial", idle_hold_s="0.1")
    socket = StallingSocket(guard)
    assert (await socket.message())["type"] == "websocket.accept"
    socket.send(create())
    async with asyncio.timeout(30):
        while (await tokens_of(store)) != Balance(spent=2):
            await asyncio.sleep(0.01)
    socket.may_read.set()
    assert [event["type"] for event in await socket.until("error")][-2:] == ["response.output_text.delta", "error"]
    assert (await socket.message())["code"] == 1008
    await socket.leave()
    assert await tokens_of(store) == Balance(spent=2)


async def test_what_its_provider_has_finished_and_keeps_is_booked_by_a_look(store, prices):
    socket = await opened(guard_of(ScriptedProvider(lambda event: [created(), delta()]), prices, store))
    socket.send(create())
    await socket.until("response.output_text.delta")
    await socket.leave()
    kept = completed(250)["response"]
    guard = guard_of(ScriptedApp(*json_answer(kept)), prices, store)
    await call(guard, path="/v1/responses/resp_1", method="GET", headers={"authorization": "Bearer sk-one"})
    await guard.ledger.drain()
    assert await tokens_of(store) == Balance(spent=250)
