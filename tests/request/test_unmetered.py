"""Requests by their path: metered however it is spelled, somebody else's, or on no known route."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.notes import Topic
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.middleware.test_passing import echo
from tests.request.wire import ask, bearer, completion, usage

SPENT = "key=0/month"


def pass_through(upstream: Starlette) -> Starlette:
    """A gateway that passes on whatever is below `/openai`, as LiteLLM does: the decoded path, read as a URL."""
    transport = httpx.ASGITransport(upstream)
    client = httpx.AsyncClient(transport=transport, base_url="http://upstream", follow_redirects=True)

    async def forward(request):
        path = httpx.URL("/" + request.path_params["endpoint"]).path
        answer = await client.request(request.method, path, content=await request.body())
        return JSONResponse(answer.json(), answer.status_code)

    return Starlette(routes=[Route("/openai/{endpoint:path}", forward, methods=["POST", "PUT", "QUERY"])])


async def answered(_):
    return JSONResponse({"choices": [{"message": {"content": "hello"}}], "usage": usage(100)})


UPSTREAM = Starlette(routes=[Route("/v1/chat/completions", answered, methods=["POST", "PUT", "QUERY"])])
SPELLINGS = ["/.", "%3Fx", "/x/%2e%2e", "/x/%2E%2e/", "%23x", "/./x/../%2e", "%3Fx/v1/files", "%23/v1/embeddings"]


@pytest.mark.parametrize("spelling", ["", *SPELLINGS])
async def test_f42_another_spelling_of_a_path(memory, spelling):
    """Real URLs through a real router to an upstream that answers: what it serves is metered."""
    path = f"/openai/v1/chat/completions{spelling}"
    open_, spent = memory.guard(pass_through(UPSTREAM)), memory.guard(pass_through(UPSTREAM), limits=SPENT)
    for guard, status in ((open_, 200), (spent, 429)):
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=bearer()) as client:
            # httpx normalises what it is given as text.
            url = httpx.URL("http://gateway").copy_with(raw_path=path.encode())
            played = await client.send(client.build_request("POST", url, json=ask(100)))
        assert played.status_code == status
        assert "x-budget-reservation-id" in played.headers
    assert await memory.figures() == ("0.10", "0.00")


@pytest.mark.parametrize("method", ["PUT", "QUERY", "PATCH", "DELETE"])
async def test_a_metered_path_is_metered_by_any_method_that_changes_something(memory, method):
    guard = memory.guard(ScriptedApp(*completion(100)))
    await call(guard, ask(100), method=method, headers=bearer())
    assert await memory.figures() == ("0.10", "0.00")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("header", ["x-http-method-override", "X-HTTP-Method", "x-method-override"])
async def test_so_it_is_by_one_that_is_meant_as_such_a_method(memory, method, header):
    app = ScriptedApp(*completion(100))
    played = await call(memory.guard(app), ask(100), method=method, headers={**bearer(), header: "Post"})
    assert (played.status, app.scopes[0]["method"]) == (200, method)
    assert await memory.figures() == ("0.10", "0.00")
    await call(memory.guard(app), ask(100), method=method, headers={**bearer(), header: "get"})
    assert await memory.figures() == ("0.10", "0.00")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_refused_is_what_is_meant_as_a_post_on_no_known_route(memory, method):
    guard = memory.guard(ScriptedApp(*completion(100)), unmetered="refuse")
    played = await call(guard, path="/v1/unknown", method=method, headers={"x-http-method-override": "POST"})
    assert played.status == 403
    assert (await call(guard, path="/v1/unknown", method=method)).status == 200


@pytest.mark.parametrize("named", ["", " ", "GET", "PATCH", "delete"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_what_is_meant_as_no_post_passes(memory, method, named):
    guard = memory.guard(ScriptedApp(*completion(100)), unmetered="refuse")
    headers = {"x-http-method-override": named}
    assert (await call(guard, path="/v1/unknown", method=method, headers=headers)).status == 200


async def test_a_get_that_names_no_other_method_is_free(memory):
    headers = {**bearer(), "x-http-method-override": ""}
    assert (await call(memory.guard(ScriptedApp(*completion(100))), b"", method="GET", headers=headers)).status == 200
    assert await memory.figures() == ("0.00", "0.00")


async def test_readings_that_name_two_models_are_refused(memory):
    app = ScriptedApp(*completion(100))
    path = "/openai/deployments/gift/chat/completions;/../../../plain/chat/completions"
    refused = await call(memory.guard(app), ask(100), path=path, headers=bearer())
    assert (refused.status, refused.json()["error"]["code"], app.scopes) == (400, "budget_bad_request", [])
    # In shadow mode nothing is refused.
    assert (await call(memory.guard(app, mode="shadow"), ask(100), path=path, headers=bearer())).status == 200


async def test_off_reads_no_path(memory, monkeypatch):
    guard = memory.guard(ScriptedApp(*completion(100)), mode="off")
    monkeypatch.setattr(guard, "_router", None)
    monkeypatch.setattr(guard, "_unmetered", None)
    for path in ("/v1/chat/completions", "/a_" + "1" * 100_000):
        assert (await call(guard, ask(100), path=path, headers=bearer())).status == 200


async def test_f55_a_message_of_mcp_passes_under_a_limit(memory, caplog):
    app = ScriptedApp(*json_answer({"jsonrpc": "2.0", "id": 1, "result": {}}))
    guard = memory.guard(app, limits=SPENT)
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for path in ("/mcp/sse/messages", "/messages/", "/forms/7/responses"):
        assert (await call(guard, message, path=path, headers=bearer())).status == 200
        assert (await call(guard, ask(100), path=path, headers=bearer())).status == 429
    assert [b"ping" in body for body in app.bodies] == [True] * 3
    assert [record.getMessage().split()[1] for record in caplog.records if "unmetered" in record.getMessage()] == [
        "'/mcp/sse/messages'",
        "'/messages/'",
        "'/forms/{id}/responses'",
    ]
    # The same message where only an LLM's API is, weird as it is there.
    assert (await call(guard, message, path="/v1/messages", headers=bearer())).status == 400


async def test_f55_the_app_gets_the_whole_body_of_somebody_elses_request(memory):
    app = ScriptedApp(*json_answer({}))
    parts = [b'{"jsonrpc": "2.0", ', b'"params": "', b"x" * 100_000, b'"}']
    await call(memory.guard(app, limits=SPENT), parts, path="/mcp/messages", headers=bearer())
    assert app.bodies == [b"".join(parts)]


# BUDGET_UNMETERED.

REFUSE = {"unmetered": "refuse"}
SHAPES = {
    "openai": ({}, lambda error: (error["error"]["code"], error["error"]["type"])),
    "anthropic": ({"anthropic-version": "2023-06-01"}, lambda error: (error["type"], error["error"]["type"])),
    "gemini": ({"x-goog-api-key": "sk-one"}, lambda error: (error["error"]["code"], error["error"]["status"])),
}
TOLD = {
    "openai": ("budget_unmetered", "invalid_request_error"),
    "anthropic": ("error", "permission_error"),
    "gemini": (403, "PERMISSION_DENIED"),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_post_on_no_known_route_is_refused(memory, caplog, shape):
    app = ScriptedApp(*json_answer({}))
    guard = memory.guard(app, **REFUSE)
    headers, read = SHAPES[shape]
    for _ in range(2):
        refused = await call(guard, {}, path="/v1/agents/7/run", headers={**bearer(), **headers})
        assert (refused.status, app.scopes, read(refused.json())) == (403, [], TOLD[shape])
        assert "BUDGET_UNMETERED" in refused.json()["error"]["message"]
        assert refused.headers["x-should-retry"] == "false"
    assert [record.message for record in caplog.records if "BUDGET_UNMETERED" in record.message] == [
        "POST '/v1/agents/{id}/run' is refused by BUDGET_UNMETERED=refuse (BUDGET_ROUTES can let it pass)"
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/files", 200),
        ("POST", "/v1/messages/count_tokens", 200),
        ("POST", "/v1/chat/completions", 200),
        ("POST", "/key/generate", 200),
        ("POST", "/mcp/a/messages", 200),
        ("POST", "/key/generate/.", 200),
        ("GET", "/v1/agents", 200),
        ("PUT", "/v1/agents", 200),
        ("PATCH", "/v1/agents", 200),
        ("DELETE", "/v1/agents/7", 200),
        ("POST", "/v1/agents", 403),
        ("QUERY", "/v1/agents", 403),
        ("INVENTED", "/v1/agents", 403),
        ("POST", "/v1/agents?/v1/files", 403),
        ("POST", "/v1/agents?/key/generate", 403),
        ("POST", "/mcp/sse/messages/x", 403),
        ("POST", "/forms/7/responses", 403),
    ],
)
async def test_what_refuse_lets_pass(memory, caplog, method, path, status):
    guard = memory.guard(ScriptedApp(*completion(100)), **REFUSE, routes="-/key/generate; -/mcp/*/messages")
    body = ask(100) if path.endswith("completions") else {"text": "x"}
    assert (await call(guard, body, method=method, path=path, headers=bearer())).status == status
    assert "passes unmetered" not in caplog.text


async def test_in_shadow_and_off_nothing_is_refused(memory):
    for mode in ("shadow", "off"):
        guard = memory.guard(ScriptedApp(*json_answer({})), **REFUSE, mode=mode)
        assert (await call(guard, {}, path="/v1/agents", headers=bearer())).status == 200


async def test_methods_are_noted_with_the_path(memory):
    guard = memory.guard(ScriptedApp(*json_answer({})))
    for method in ("POST", "QUERY"):
        await call(guard, {}, method=method, path="/v1/agents", headers=bearer())
    await memory.settle()
    assert {note.text for note in await memory.reader.notes() if note.topic is Topic.UNMETERED} == {
        "/v1/agents",
        "QUERY /v1/agents",
    }


# WebSockets.

SOCKETS = [
    "/v1/text-to-speech/voice/stream-input",
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateMusic",
    "/queue",
]


def sockets(prices, **settings: Any) -> TestClient:
    guard = Middleware(BudgetMiddleware, prices=prices, **settings)
    return TestClient(Starlette(routes=[WebSocketRoute(path, echo) for path in SOCKETS], middleware=[guard]))


@pytest.mark.parametrize("path", SOCKETS)
def test_a_handshake_passes_is_counted_and_logged(prices, caplog, path):
    with sockets(prices, limits=SPENT) as client:
        for _ in range(2):
            with client.websocket_connect(path, subprotocols=["realtime"], headers=bearer()) as socket:
                socket.send_json(1)
                assert socket.receive_json() == {"heard": 1}
    logged = [record.message for record in caplog.records if "unmetered" in record.message]
    assert len(logged) == 1
    assert logged[0].startswith(f"WebSocket '{path}' passes unmetered")


@pytest.mark.parametrize("path", SOCKETS)
def test_a_handshake_is_refused(prices, path):
    with (
        sockets(prices, **REFUSE) as client,
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect(path, headers=bearer()),
    ):
        pytest.fail("it was let in")
    assert denied.value.status_code == 403
    assert "BUDGET_UNMETERED" in denied.value.json()["error"]["message"]


def test_a_handshake_passes_where_its_route_is_taken_out(prices, caplog):
    with sockets(prices, **REFUSE, routes="-/queue") as client, client.websocket_connect("/queue") as socket:
        socket.send_json(1)
        assert socket.receive_json() == {"heard": 1}
    assert "unmetered" not in caplog.text


async def test_a_server_without_denial_responses_closes_before_it_accepts(memory):
    sent = []
    app = ScriptedApp()

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/queue", "headers": []}
    await memory.guard(app, **REFUSE)(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert app.scopes == []
