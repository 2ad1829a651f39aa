"""What passes through: WebSockets, the extensions of ASGI, and a second middleware by mistake."""

import asyncio
import json

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from budget_middleware import BudgetMiddleware
from budget_middleware.core.statuses import Op
from budget_middleware.testing import ScriptedApp, call, chunk, event
from tests.request.wire import DONE, LAST, STREAM_START, ask, bearer, completion, stream, usage_event, words


async def echo(socket: WebSocket) -> None:
    await socket.accept(subprotocol="realtime")
    await socket.send_json({"heard": await socket.receive_json()})
    await socket.close()


def test_a_websocket_passes_untouched(prices):
    """Also at a path whose POST is metered, and with a budget that is spent."""
    routes = [WebSocketRoute("/v1/realtime", echo), WebSocketRoute("/v1/chat/completions", echo)]
    guard = Middleware(BudgetMiddleware, limits="key=0/month", prices=prices)
    with TestClient(Starlette(routes=routes, middleware=[guard])) as client:
        for path in ("/v1/realtime", "/v1/chat/completions"):
            with client.websocket_connect(path, subprotocols=["realtime"], headers=bearer()) as socket:
                assert socket.accepted_subprotocol == "realtime"
                socket.send_json({"type": "hello"})
                assert socket.receive_json() == {"heard": {"type": "hello"}}


async def test_a_websocket_keeps_scope_receive_and_send(memory):
    seen = []

    async def app(*arguments):
        seen.append(arguments)

    given = ({"type": "websocket", "path": "/ws/other"}, object(), object())
    await memory.guard(app)(*given)
    assert all(mine is theirs for mine, theirs in zip(given, seen[0], strict=True))


@pytest.mark.parametrize(
    "extension",
    [
        {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]},
        {"type": "http.response.push", "path": "/style.css", "headers": []},
        {"type": "http.response.debug", "info": {"template": "index"}},
    ],
)
async def test_messages_before_the_answer_are_sent_at_once(memory, extension):
    sent: list[dict] = []

    async def app(scope, receive, send):
        await send(extension)
        assert sent == [extension]
        for message in completion(100):
            await send(message)

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b'{"model": "plain", "messages": [], "max_tokens": 100}'}

    guard = memory.guard(app)
    headers = [(name.encode(), value.encode()) for name, value in bearer().items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
    await guard({**scope, "extensions": {"http.response.early_hint": {}}}, receive, send)
    assert [message["type"] for message in sent[1:]] == ["http.response.start", "http.response.body"]
    assert await memory.figures() == ("0.10", "0.00")


async def test_a_stream_keeps_its_trailers(bench):
    begin, body = completion(100)
    trailers = {"type": "http.response.trailers", "headers": [(b"x-checksum", b"1")]}
    guard = bench.guard(ScriptedApp({**begin, "trailers": True}, {**body, "more_body": True}, chunk(), trailers))
    played = await call(guard, ask(100), headers=bearer())
    assert played.messages[-1] == trailers
    assert played.is_complete
    assert await bench.figures() == ("0.10", "0.00")


async def test_stacked_twice_it_meters_once_and_warns_once(bench, caplog):
    app = ScriptedApp(*completion(100))
    inner = bench.guard(app)
    outer = bench.guard(inner)
    for _ in range(2):
        played = await call(outer, ask(100), headers=bearer())
        names = [name for name, _ in played.messages[0]["headers"]]
        assert names.count(b"x-budget-reservation-id") == 1
    assert await bench.figures() == ("0.20", "0.00")
    assert await bench.ops() == [Op.RESERVE, Op.FINALIZE] * 2
    assert [record.message for record in caplog.records if "stacked twice" in record.message] == [
        "BudgetMiddleware is stacked twice: the outer one meters, this one does nothing; remove one"
    ]


async def test_within_one_that_is_switched_off_the_inner_one_meters(bench, caplog):
    inner = bench.guard(ScriptedApp(*completion(100)))
    await call(bench.guard(inner, mode="off"), ask(100), headers=bearer())
    assert await bench.figures() == ("0.10", "0.00")
    assert "stacked twice" not in caplog.text


async def test_what_the_outer_one_does_not_know_the_inner_one_meters(bench):
    """A sub-app may have routes of its own."""
    inner = bench.guard(ScriptedApp(*completion(100)), routes="/agents/run=openai-chat")
    await call(bench.guard(inner), ask(100), path="/agents/run", headers=bearer())
    assert await bench.figures() == ("0.10", "0.00")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("answer", [completion(100), stream(100)], ids=["json", "stream"])
async def test_whatever_holds_the_bytes(bench, kind, answer):
    """Starlette lets an app stream memoryviews, and a layer outside may have read the request into one."""
    app = ScriptedApp(*({**part, "body": kind(part["body"])} if "body" in part else part for part in answer))
    asked = json.dumps(ask(100)).encode()
    for parts in ([asked], [asked[:9], asked[9:]]):
        played = await call(bench.guard(app), [kind(part) for part in parts], headers=bearer())
        assert (played.status, played.raised) == (200, None)
        assert played.body == b"".join(part.get("body", b"") for part in answer)
    assert app.bodies == [asked, asked]
    assert await bench.figures() == ("0.20", "0.00")


WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
ODD = {
    "no body": {"type": "http.response.body", "more_body": True},
    "a file": {"type": "http.response.zerocopysend", "file": 3, "more_body": True},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_a_message_without_bytes_in_the_midst_of_a_stream(bench, odd):
    script = (STREAM_START, *words(5), odd, *words(5), event(usage_event(100)), DONE, LAST)
    played = await call(bench.guard(ScriptedApp(*script)), ask(100, **WITH_USAGE), headers=bearer())
    assert played.raised is None
    assert played.messages[1:] == [*script[1:]]
    assert await bench.figures() == ("0.10", "0.00")


async def test_an_app_that_sends_without_waiting(bench):
    told = event(usage_event(100))["body"]

    async def send_both(_, send):
        halves = (told[:30], told[30:])
        await asyncio.gather(
            *(send({"type": "http.response.body", "body": half, "more_body": True}) for half in halves)
        )

    script = (STREAM_START, *words(5), send_both, LAST)
    played = await call(bench.guard(ScriptedApp(*script)), ask(100, **WITH_USAGE), headers=bearer())
    assert played.body == b"".join(each["body"] for each in words(5)) + told
    assert await bench.figures() == ("0.10", "0.00")
