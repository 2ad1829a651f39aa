"""A key that has nothing left is refused at the handshake; whatever may still be possible is left to the first call."""

import asyncio
import json

import openai
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from budget_middleware.core.model import Balance
from budget_middleware.stores.errors import StoreAway
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import call
from tests.request.wire import ask, bearer
from tests.sessions.live import PATH as LIVE_PATH
from tests.sessions.realtime import PATH, QUERY, create, whole
from tests.sessions.serving import SERVERS, served
from tests.sessions.socket import ScriptedProvider, Socket, guard_of
from tests.sessions.test_realtime_responses import settled

TRANSLATIONS, RESPONSES, LIVE = "/v1/realtime/translations", "/v1/responses", "/v1/live/sessions"


def silent():
    return ScriptedProvider(lambda event: [])


def handshake(guard, path=PATH, query=QUERY, **named):
    return Socket(guard, path=path, query=query, **named)


async def denied(socket):
    start = await socket.message()
    body = await socket.message()
    return start, json.loads(body["body"])


@pytest.mark.parametrize("limit", ["key=0/day", "key=0 tokens/day"], ids=["money", "tokens"])
@pytest.mark.parametrize(
    ("path", "query"),
    [(PATH, QUERY), ("/openai/realtime", b"deployment=plain"), (TRANSLATIONS, QUERY), (LIVE, b""), (LIVE_PATH, b"")],
)
async def test_a_spent_key_is_refused(store, prices, path, query, limit):
    provider = silent()
    socket = handshake(guard_of(provider, prices, store, limits=limit), path, query)
    start, body = await denied(socket)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert (b"x-should-retry", b"false") in start["headers"]
    assert "budget" in json.dumps(body) or "RESOURCE_EXHAUSTED" in json.dumps(body)
    assert provider.send is None
    await asyncio.wait((socket.task,))


async def test_so_it_is_by_a_close_where_the_server_has_no_denials(store, prices):
    guard = guard_of(silent(), prices, store, limits="key=0/day")
    socket = handshake(guard)
    socket.scope["extensions"] = {}
    closed = await socket.message()
    assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 1008, "spent")


OPEN = {
    "something is left": (PATH, QUERY, {"limits": "key=0.001/day"}),
    "a free model": (PATH, b"model=gift", {"limits": "key=0/day"}),
    "a model that is not known": (PATH, b"model=unheard-of", {"limits": "key=0/day"}),
    "no model": (PATH, b"", {"limits": "key=0/day"}),
    "each call names its own": (RESPONSES, b"", {"limits": "key=0/day"}),
    "a rate": (PATH, QUERY, {"limits": "key=0 requests/minute"}),
    "shadow mode": (PATH, QUERY, {"limits": "key=0/day", "mode": "shadow"}),
}


@pytest.mark.parametrize("name", OPEN)
async def test_others_are_let_in_and_nothing_stays_held(store, prices, name):
    path, query, settings = OPEN[name]
    guard = guard_of(silent(), prices, store, **settings)
    socket = handshake(guard, path, query)
    assert (await socket.message())["type"] == "websocket.accept"
    assert await settled(store) == Balance()
    await socket.leave()


async def test_what_is_only_held_refuses_no_handshake(store, prices):
    guard = guard_of(ScriptedProvider(lambda event: [whole(10)[0]]), prices, store)
    first = handshake(guard)
    assert (await first.message())["type"] == "websocket.accept"
    first.send(create(tokens=1_000))
    await first.until("response.created")
    second = handshake(guard)
    assert (await second.message())["type"] == "websocket.accept"
    for socket in (first, second):
        await socket.leave()


async def test_what_another_way_has_spent_counts(store, prices):
    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            pytest.fail("it was let in")
        await receive()
        answer = json.dumps({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 1_000}}).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    guard = guard_of(app, prices, store)
    assert (await call(guard, ask(1_000), headers=bearer())).status == 200
    start, _ = await denied(handshake(guard))
    assert start["status"] == 429


async def test_an_outage_is_left_to_the_first_call(prices):
    class Away(MemoryStore):
        async def reserve(self, verb):
            raise StoreAway("the store is away")

    guard = guard_of(silent(), prices, Away(), store_timeout_s="0.05")
    socket = handshake(guard)
    assert (await socket.message())["type"] == "websocket.accept"
    await socket.leave()


@pytest.mark.processes
@pytest.mark.parametrize("server", SERVERS)
async def test_openais_client_is_told_by_the_server(server, tmp_path, server_url, namespace):
    app = "tests.sessions.realtime_gateway:app"
    settings = {"store_url": server_url, "namespace": namespace, "BUDGET_LIMITS": "key=0/day"}
    with served(app, server, tmp_path, **settings) as each:
        async with openai.AsyncOpenAI(base_url=f"http://{each.address}/v1", api_key="sk-one") as client:
            with pytest.raises(InvalidStatus) as refused:
                async with client.realtime.connect(model="plain"):
                    pytest.fail("it was let in")
            assert refused.value.response.status_code == 429
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://{each.address}/v1/realtime?model=plain", additional_headers={"api-key": "k"}):
                pytest.fail("it was let in")
        assert json.loads(refused.value.response.body)["error"]["code"] == "budget_exhausted"
