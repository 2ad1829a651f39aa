"""Gemini Live says that it will close, and goes on in another session: what was used is booked once, and all of it."""

import json

import pytest

from budget_middleware.apis import api_at, session_dialect_of
from budget_middleware.apis.google.live.resumption import _MOST, ResumableConversations, packed_usage, unpack_usage
from budget_middleware.apis.google.live.session import GeminiLiveConversation
from budget_middleware.core.costs.usage import Usage
from budget_middleware.core.model import Balance
from tests.sessions.live import PATH, SETUP_COMPLETE, say, setup, text, turn, usage
from tests.sessions.socket import guard_of, opened
from tests.sessions.test_calls_of_a_session import tokens_of
from tests.sessions.test_gemini_live import Live, until_turn_complete
from tests.sessions.test_realtime_responses import settled

GO_AWAY = {"goAway": {"timeLeft": "10s"}}


def handle(name="h1", **fields):
    return {"sessionResumptionUpdate": {"newHandle": name, "resumable": True, **fields}}


async def resumed(guard, name="h1", **fields):
    """A session of `talk`, of which 300 tokens of output are held, that goes on from a handle."""
    socket = await opened(guard, path=PATH)
    socket.send(setup("talk", tokens=300, sessionResumption={"handle": name, **fields}))
    assert await socket.event() == SETUP_COMPLETE
    return socket


async def first_session(provider, guard, *, update):
    socket = await resumed(guard, None)
    socket.send(say("x" * 4))
    await until_turn_complete(socket)
    await provider.say(update, GO_AWAY)
    assert (await socket.event(), await socket.event()) == (update, GO_AWAY)
    await socket.leave()


@pytest.mark.parametrize(
    "update", [handle(), {"session_resumption_update": {"new_handle": "h1"}}], ids=["camel", "snake"]
)
async def test_what_was_said_before_is_held_and_paid_once(store, prices, update):
    provider = Live(turn(20, prompt=50), turn(10, prompt=75))
    guard = guard_of(provider, prices, store, limits="key=9/day")
    await first_session(provider, guard, update=update)
    assert await tokens_of(store) == Balance(spent=50 + 24)
    socket = await resumed(guard)
    # Some servers tell it again.
    await provider.say(usage(20, prompt=50))
    await socket.event()
    assert await settled(store) == Balance(spent=74)
    provider.answer, answer = lambda event: [], provider.answer
    socket.send(say("x" * 4))
    held = (await _until_held(store)).reserved
    # 70 of the conversation, one of what is said now, and 300 of output at a fifth more.
    assert held >= 70 + 1 + 360
    await provider.say(*answer({}))
    await until_turn_complete(socket)
    assert await tokens_of(store) == Balance(spent=74 + 75 + 12)
    await socket.leave()


@pytest.fixture
def another_worker(monkeypatch):
    """Forgets what sessions of this process have told each other."""

    def forget():
        dialect = session_dialect_of(api_at(PATH))
        monkeypatch.setattr(dialect, "_resumable", ResumableConversations())

    return forget


async def test_another_worker_holds_and_pays_it_alike(store, prices, another_worker):
    provider = Live(turn(20, prompt=50), [])
    guard = guard_of(provider, prices, store, limits="key=9/day")
    await first_session(provider, guard, update=handle())
    await settled(store)
    another_worker()
    other = guard_of(provider, prices, store, limits="key=9/day")
    socket = await resumed(other)
    await settled(store)
    await provider.say(usage(20, prompt=50))
    await socket.event()
    assert await settled(store) == Balance(spent=74)
    socket.send(say("x" * 4))
    assert (await _until_held(store)).reserved >= 70 + 1 + 360
    await socket.leave()


def test_what_is_recalled_too_late_changes_nothing():
    conversation = GeminiLiveConversation(ResumableConversations())
    conversation.read_server_event(json.dumps(usage(30, prompt=60)).encode())
    conversation.recall(packed_usage(Usage(input_tokens=7)))
    assert conversation._last_used == Usage(input_tokens=60, output_tokens=30)


@pytest.mark.parametrize("text", ["", "null", "[]", "[1]", '{"input_tokens":"many"}', '{"of_a_later_version":1}'])
def test_what_is_no_usage_is_not_recalled(text):
    conversation = GeminiLiveConversation(ResumableConversations())
    conversation.recall(text)
    assert conversation._last_used is None


def test_a_usage_is_kept_as_a_text():
    used = Usage(input_tokens=50, output_tokens=20, input_audio_tokens=7)
    assert unpack_usage(packed_usage(used)) == used


async def _until_held(store):
    for _ in range(1_000):
        balance = await settled(store)
        if balance.reserved:
            return balance
    raise AssertionError("nothing is held")


async def test_the_same_usage_is_paid_where_something_was_said_for_it(store, prices):
    provider = Live(turn(20, prompt=50), turn(20, prompt=50))
    guard = guard_of(provider, prices, store, limits="key=9/day")
    await first_session(provider, guard, update=handle())
    socket = await resumed(guard)
    socket.send(say("x"))
    await until_turn_complete(socket)
    assert await tokens_of(store) == Balance(spent=2 * 74)
    await socket.leave()


async def test_another_handle_knows_nothing_of_it(store, prices):
    provider = Live(turn(20, prompt=50))
    guard = guard_of(provider, prices, store, limits="key=9/day")
    await first_session(provider, guard, update=handle())
    socket = await resumed(guard, "another")
    await provider.say(usage(20, prompt=50))
    await socket.event()
    assert await settled(store) == Balance(spent=2 * 74)
    await socket.leave()


async def test_a_turn_that_is_cut_off_is_paid_by_what_was_seen(store, prices):
    provider = Live([text("word")] * 30 + [GO_AWAY])
    guard = guard_of(provider, prices, store, on_abort="partial")
    socket = await opened(guard, path=PATH)
    socket.send(setup())
    await socket.event()
    socket.send(say())
    for _ in range(31):
        await socket.event()
    # The server closes the connection.
    await provider.send({"type": "websocket.close", "code": 1000, "reason": ""})
    assert await settled(store) == Balance(spent=30)
    await socket.leave()


def test_of_handles_some_are_kept():
    conversations = ResumableConversations()
    for number in range(_MOST + 1):
        conversations.keep(f"h{number}", Usage(input_tokens=number + 1))
    assert conversations.find("h0") is None
    assert conversations.find(f"h{_MOST}") == Usage(input_tokens=_MOST + 1)
    conversations.keep(None, Usage())
    conversations.keep("h0", None)
    assert conversations.find("h0") is conversations.find(None) is None
