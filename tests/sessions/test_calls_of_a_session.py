"""Each response on a WebSocket is admitted, followed and ended like a request of its own."""

import asyncio
import json

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.stores.memory.store import MemoryStore
from tests.request.wire import KEY
from tests.sessions.responses import completed, create, created, delta, error, whole
from tests.sessions.socket import ScriptedProvider, Socket, guard_of, opened

TOKEN = 1_000_000
"""A token of `plain`, in nano-dollars; the key has 1,000 of them a day."""


async def tokens_of(store: MemoryStore) -> Balance:
    """What the key has spent and holds, in tokens."""
    views = await store.counters(KEY)
    return Balance(*(figure // TOKEN for figure in views[0].balance)) if views else Balance()


async def test_an_answer_is_booked_before_its_end_is_seen(store, prices):
    provider = ScriptedProvider(lambda event: whole(250))
    socket = await opened(guard_of(provider, prices, store))
    socket.send(create())
    events = await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=250)
    assert [event["type"] for event in events] == [
        "response.created",
        "response.output_text.delta",
        "response.completed",
    ]
    await socket.leave()


async def test_what_is_asked_for_is_held_meanwhile(store, prices):
    provider = ScriptedProvider(lambda event: [created(), delta()])
    socket = await opened(guard_of(provider, prices, store))
    socket.send(create(tokens=600))
    await socket.until("response.output_text.delta")
    assert await tokens_of(store) == Balance(reserved=600)
    await provider.send({"type": "websocket.send", "text": json.dumps(completed(10))})
    assert await tokens_of(store) == Balance(spent=10)
    await socket.leave()


async def test_a_refused_call_gets_an_error_and_the_session_goes_on(store, prices):
    provider = ScriptedProvider(lambda event: whole(10))
    socket = await opened(guard_of(provider, prices, store))
    socket.send(create(tokens=1_001))
    event = await socket.event()
    assert (event["type"], event["status"]) == ("error", 429)
    assert event["error"]["code"] == "budget_exhausted"
    assert provider.received == []
    socket.send(create(tokens=100))
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=10)
    await socket.leave()


async def test_the_error_names_the_lane_that_asked(store, prices):
    socket = await opened(guard_of(ScriptedProvider(lambda event: []), prices, store))
    socket.send(create(tokens=1_001, lane="left"))
    assert (await socket.event())["stream_id"] == "left"
    await socket.leave()


async def test_lanes_are_answered_side_by_side(store, prices):
    waiting = []

    def answer(event):
        waiting.append(event["stream_id"])
        return [created(f"resp_{event['stream_id']}", lane=event["stream_id"])]

    provider = ScriptedProvider(answer)
    socket = await opened(guard_of(provider, prices, store))
    socket.send(create(tokens=400, lane="left"))
    socket.send(create(tokens=300, lane="right"))
    await socket.event()
    await socket.event()
    assert await tokens_of(store) == Balance(reserved=700)
    for lane, tokens, left in (("right", 30, 400), ("left", 40, 0)):
        await provider.send(
            {"type": "websocket.send", "text": json.dumps(completed(tokens, f"resp_{lane}", lane=lane))}
        )
        assert (await tokens_of(store)).reserved == left
    assert await tokens_of(store) == Balance(spent=70)
    await socket.leave()


async def test_calls_of_one_lane_are_answered_in_their_order(store, prices):
    answers = iter([[], [*whole(20, "resp_1"), *whole(3, "resp_2")]])
    socket = await opened(guard_of(ScriptedProvider(lambda event: next(answers)), prices, store))
    socket.send(create(tokens=200))
    socket.send(create(tokens=300))
    await socket.until("response.completed")
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=23)
    await socket.leave()


async def test_a_server_that_names_no_lanes_answers_what_was_asked_for(store, prices):
    socket = await opened(guard_of(ScriptedProvider(lambda event: whole(20)), prices, store))
    socket.send(create(lane="left"))
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=20)
    await socket.leave()


@pytest.mark.parametrize("kind", ["incomplete", "failed"])
async def test_every_end_books_its_usage(store, prices, kind):
    socket = await opened(
        guard_of(ScriptedProvider(lambda event: [created(), delta(), completed(20, kind=kind)]), prices, store)
    )
    socket.send(create())
    await socket.until(f"response.{kind}")
    assert await tokens_of(store) == Balance(spent=20)
    await socket.leave()


async def test_an_end_that_is_told_again_is_booked_once(store, prices):
    """And whoever has the same id for all its responses begins each."""
    provider = ScriptedProvider(lambda event: [*whole(20), completed(20), *whole(30), completed(30), error()])
    socket = await opened(guard_of(provider, prices, store))
    socket.send(create())
    await socket.until("error")
    assert await tokens_of(store) == Balance(spent=50)
    await socket.leave()


async def test_what_the_api_refuses_costs_nothing(store, prices):
    socket = await opened(guard_of(ScriptedProvider(lambda event: [error(400)]), prices, store))
    socket.send(create())
    await socket.until("error")
    assert await tokens_of(store) == Balance()
    await socket.leave()


async def test_an_error_about_something_else_frees_no_answer(store, prices):
    """A client could send nonsense behind what it asks for, and have its hold released by the error that this gets."""
    answers = iter([[], [error(400), *whole(20)]])
    socket = await opened(guard_of(ScriptedProvider(lambda event: next(answers)), prices, store))
    socket.send(create())
    socket.send({"type": "nonsense"})
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=20)
    await socket.leave()


async def test_an_error_within_an_answer_ends_nothing(store, prices):
    answers = iter([[created()], [error(400)]])
    provider = ScriptedProvider(lambda event: next(answers))
    socket = await opened(guard_of(provider, prices, store))
    socket.send(create(tokens=600))
    socket.send({"type": "nonsense"})
    await socket.until("error")
    assert await tokens_of(store) == Balance(reserved=600)
    await provider.send({"type": "websocket.send", "text": json.dumps(completed(20))})
    assert await tokens_of(store) == Balance(spent=20)
    await socket.leave()


async def test_an_answer_that_nobody_asked_for_is_booked(store, prices):
    """The server goes on by itself with what a client has added to a response."""
    steered = {"type": "response.steer.accepted", "steer": {"id": "steer_1"}}
    answers = iter(
        [[created()], [steered, completed(20, kind="incomplete"), created("resp_2"), completed(5, "resp_2")]]
    )
    socket = await opened(guard_of(ScriptedProvider(lambda event: next(answers)), prices, store))
    socket.send(create())
    socket.send({"type": "response.steer", "previous_response_id": "resp_1", "input": "shorter"})
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=25)
    await socket.leave()


async def test_an_answer_that_nobody_asked_for_may_be_refused(store, prices):
    """Nothing but the end of the session stops what its server has begun."""
    answers = iter([whole(990), [created("resp_2"), delta(), delta()]])
    socket = await opened(guard_of(ScriptedProvider(lambda event: next(answers)), prices, store))
    socket.send(create(tokens=1_000))
    await socket.until("response.completed")
    socket.send({"type": "response.steer", "previous_response_id": "resp_1", "input": "more"})
    assert (await socket.event())["error"]["code"] == "budget_exhausted"
    assert (await socket.message())["type"] == "websocket.close"
    await socket.task
    assert await tokens_of(store) == Balance(spent=990)


@pytest.mark.parametrize("how", ["leave", "fail", "close"])
async def test_a_session_that_ends_ends_its_calls(store, prices, how):
    provider = ScriptedProvider(lambda event: [created(), *[delta()] * 100])
    guard = guard_of(provider, prices, store, on_abort="partial")
    socket = await opened(guard)
    socket.send(create())
    for _ in range(101):
        await socket.event()
    if how == "leave":
        await socket.leave()
    elif how == "fail":
        socket.send("[no JSON")
        with pytest.raises(ValueError, match="Expecting value"):
            await socket.task
    else:
        await provider.send({"type": "websocket.close", "code": 1000})
        await socket.leave()
    # Its ending is on its way; a shutdown would have ended it too.
    for _ in range(100):
        await asyncio.sleep(0)
    assert await tokens_of(store) == Balance(spent=100)


async def test_binary_frames_are_read_too(store, prices):
    socket = await opened(guard_of(ScriptedProvider(lambda event: whole(20)), prices, store))
    socket.send(json.dumps(create()).encode())
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=20)
    await socket.leave()


async def test_a_stream_stops_at_its_limit(store, prices):
    provider = ScriptedProvider(lambda event: [created(), *[delta()] * 1_200])
    guard = guard_of(
        provider, prices, store, estimate="learned", estimate_spread="0", default_output_tokens="100", on_limit="stop"
    )
    socket = await opened(guard)
    socket.send(create(tokens=2_000))
    events = await socket.until("error")
    assert events[-1]["error"]["code"] == "budget_exhausted"
    assert (await socket.message())["code"] == 1008
    await socket.task
    assert 100 < (await tokens_of(store)).spent <= 1_000


class TestTheHandshake:
    @pytest.mark.parametrize("extensions", [{"websocket.http.response": {}}, {}])
    async def test_refuses_whom_nobody_can_charge(self, store, prices, extensions):
        socket = Socket(guard_of(ScriptedProvider(lambda event: []), prices, store), token="sk-one sk-two")
        socket.scope["extensions"] = extensions
        answer = await socket.message()
        if extensions:
            assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 400)
        else:
            assert answer == {"type": "websocket.close", "code": 1008, "reason": "ambiguous_credentials"}
        await socket.task

    async def test_wrong_settings_are_told(self, store, prices):
        guard = guard_of(ScriptedProvider(lambda event: []), prices, store, limits="nonsense")
        answer = await Socket(guard).message()
        assert answer["status"] == 500

    async def test_a_path_of_nobodys_passes(self, store, prices):
        provider = ScriptedProvider(lambda event: whole(20))
        socket = await opened(guard_of(provider, prices, store), path="/ws/chat")
        socket.send(create())
        await socket.until("response.completed")
        assert await tokens_of(store) == Balance()
        await socket.leave()

    async def test_switched_off_nothing_is_booked(self, store, prices):
        socket = await opened(guard_of(ScriptedProvider(lambda event: whole(20)), prices, store, mode="off"))
        socket.send(create())
        await socket.until("response.completed")
        assert await tokens_of(store) == Balance()
        await socket.leave()

    async def test_shadow_mode_refuses_nothing(self, store, prices):
        socket = await opened(guard_of(ScriptedProvider(lambda event: whole(20)), prices, store, mode="shadow"))
        socket.send(create(tokens=5_000))
        await socket.until("response.completed")
        assert await tokens_of(store) == Balance(spent=20)
        await socket.leave()

    async def test_of_two_guards_the_outer_one_meters(self, store, prices):
        inner = guard_of(ScriptedProvider(lambda event: whole(20)), prices, store)
        socket = await opened(guard_of(inner, prices, store))
        socket.send(create())
        await socket.until("response.completed")
        assert await tokens_of(store) == Balance(spent=20)
        await socket.leave()


async def test_an_app_adds_to_the_call_that_it_answers(store, prices):
    handles = []

    async def app(scope, receive, send):
        budget = scope["state"]["budget"]
        assert budget.call() is None
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        handles.append(budget.call("left"))
        assert budget.call("right") is None
        handles[0].add_cost("0.1")
        for event in whole(20, lane="left"):
            await send({"type": "websocket.send", "text": json.dumps(event)})
        assert budget.call("left") is None
        await receive()

    socket = await opened(guard_of(app, prices, store))
    socket.send(create(lane="left"))
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=120)
    with pytest.raises(RuntimeError, match="has ended"):
        handles[0].add_cost("0.1")
    await socket.leave()
