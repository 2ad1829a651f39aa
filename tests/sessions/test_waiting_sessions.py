"""Calls of a session that wait for budget which others hold, and how many of them there may be."""

import asyncio
import contextlib
import json

import pytest

from budget_middleware.apis.protocol.session_events import Asked
from budget_middleware.core.model import Balance
from budget_middleware.ledger.waiting import lines as waiting_lines
from budget_middleware.sessions import client_side
from budget_middleware.sessions.ahead import RETRY_S, RefusedAhead
from budget_middleware.sessions.inbox import Inbox
from budget_middleware.sessions.lanes import Lanes
from tests.apis.timing import grows_linearly
from tests.sessions.responses import completed, create, created, whole
from tests.sessions.socket import ScriptedProvider, guard_of, opened
from tests.sessions.test_calls_of_a_session import tokens_of

WAITS = {"wait_s": "3600"}


@pytest.fixture(autouse=True)
def _nobody_asks_unwoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_lines, "RETRY_S", 3600)


async def until_waiting(guard, count=1):
    async with asyncio.timeout(30):
        while guard.ledger.n_waiting != count:
            await asyncio.sleep(0)


async def holding(guard, provider, tokens):
    """A session of the same key with a call under way that holds so many tokens, and what ends that with 10."""
    socket = await opened(guard)
    socket.send(create(tokens=tokens))
    await socket.until("response.created")
    send = provider.send

    async def end():
        await send({"type": "websocket.send", "text": json.dumps(completed(10))})

    return socket, end


async def test_a_call_waits_for_budget_that_is_held(store, prices):
    provider = ScriptedProvider(lambda event: [created()] if event["max_output_tokens"] == 700 else whole(20))
    guard = guard_of(provider, prices, store, **WAITS)
    first, end = await holding(guard, provider, 700)
    second = await opened(guard)
    second.send(create(tokens=400))
    await until_waiting(guard)
    assert len(provider.received) == 1
    await end()
    await second.until("response.completed")
    assert await tokens_of(store) == Balance(spent=30)
    await first.leave()
    await second.leave()


async def test_a_handshake_may_ask_not_to_wait(store, prices):
    provider = ScriptedProvider(lambda event: [created()])
    guard = guard_of(provider, prices, store, **WAITS)
    first, _ = await holding(guard, provider, 700)
    second = await opened(guard, **{"x-budget-wait-s": "0"})
    second.send(create(tokens=400))
    assert (await second.event())["type"] == "error"
    await first.leave()
    await second.leave()


async def test_who_leaves_while_it_waits_is_given_nothing(store, prices):
    provider = ScriptedProvider(lambda event: [created()])
    guard = guard_of(provider, prices, store, on_abort="release", **WAITS)
    first, _ = await holding(guard, provider, 700)
    second = await opened(guard)
    second.send(create(tokens=400))
    await until_waiting(guard)
    second.send({"type": "response.cancel"})
    await second.leave()
    await until_waiting(guard, 0)
    assert [event["type"] for event in provider.received] == ["response.create", "response.cancel"]
    assert await tokens_of(store) == Balance(reserved=700)
    assert guard._responder.in_hand.current().n_waiting_bytes == 0
    await first.leave()


async def test_what_comes_meanwhile_comes_behind_it(store, prices):
    provider = ScriptedProvider(lambda event: [created()] if event.get("max_output_tokens") == 700 else [])
    guard = guard_of(provider, prices, store, on_abort="release", **WAITS)
    first, end = await holding(guard, provider, 700)
    second = await opened(guard)
    second.send(create(tokens=400))
    await until_waiting(guard)
    for number in range(100):
        second.send({"type": "response.steer", "number": number})
    for _ in range(200):
        await asyncio.sleep(0)
    # The rest is left with the server, so that it slows the client down.
    assert second.to_app.qsize() == 36
    await end()
    async with asyncio.timeout(30):
        while len(provider.received) < 102:
            await asyncio.sleep(0)
    assert [event.get("number") for event in provider.received[2:]] == list(range(100))
    await first.leave()
    await second.leave()


@pytest.mark.parametrize("waits", ["0", "3600"])
async def test_an_app_that_gives_up_receiving_loses_nothing(store, prices, waits):
    """As one that sends a ping between two events of its client, and gives up on the next one meanwhile."""
    reserve, asked = store.reserve, asyncio.Event()
    may_answer = asyncio.Event()

    async def slow(*args):
        asked.set()
        await may_answer.wait()
        return await reserve(*args)

    store.reserve = slow
    received = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        receiving = asyncio.ensure_future(receive())
        await asked.wait()
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiving
        may_answer.set()
        received.append(json.loads((await receive())["text"]))
        for event in whole(20):
            await send({"type": "websocket.send", "text": json.dumps(event)})
        await receive()

    socket = await opened(guard_of(app, prices, store, wait_s=waits))
    socket.send(create())
    await socket.until("response.completed")
    assert received == [create()]
    assert await tokens_of(store) == Balance(spent=20)
    await socket.leave()


async def test_so_many_calls_of_a_session_may_be_open(store, prices, monkeypatch):
    monkeypatch.setattr(client_side, "MOST_CALLS", 3)
    provider = ScriptedProvider(lambda event: [])
    socket = await opened(guard_of(provider, prices, store, on_abort="release"))
    for lane in ("one", "two", "three", "four"):
        socket.send(create(tokens=10, lane=lane))
    event = await socket.event()
    assert (event["type"], event["status"], event["stream_id"]) == ("error", 503, "four")
    assert len(provider.received) == 3
    await provider.send({"type": "websocket.send", "text": json.dumps(completed(5, lane="two"))})
    await socket.until("response.completed")
    socket.send(create(tokens=10, lane="four"))
    async with asyncio.timeout(30):
        while len(provider.received) < 4:
            await asyncio.sleep(0)
    await socket.leave()


def test_lanes_take_the_same_time_however_many_calls_wait():
    def work(text: str) -> None:
        lanes: Lanes[object] = Lanes()
        calls = [object() for _ in text[::8]]
        for call in calls:
            lanes.add(f"lane {id(call) % 7}", call)
        while (call := lanes.next("")) is not None:
            lanes.begin("", call)
            lanes.end(call)
        assert len(lanes) == 0

    assert grows_linearly(work, "x")


async def test_a_message_of_ours_comes_before_the_next_of_the_client():
    from_client: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    inbox = Inbox(from_client.get, may_interrupt=True)
    receiving = asyncio.create_task(inbox.next())
    await asyncio.sleep(0)
    inbox.inject({"type": "websocket.receive", "text": "ours"})
    assert (await receiving)["text"] == "ours"
    from_client.put_nowait({"type": "websocket.receive", "text": "theirs"})
    assert (await inbox.next())["text"] == "theirs"
    inbox.close()


def test_a_refused_hold_ahead_is_told_once_and_asked_for_once_a_second():
    now_s = 0.0
    refused = RefusedAhead(lambda: now_s)
    sound, ask = Asked("", is_maybe=True), Asked("")
    assert refused.refuse(sound)
    assert refused.withholds([sound])
    assert not refused.withholds([ask])
    now_s = RETRY_S
    assert not refused.withholds([sound])
    assert not refused.refuse(sound)
    assert refused.refuse(ask)
    refused.admit(ask)
    assert refused.refuse(sound)
