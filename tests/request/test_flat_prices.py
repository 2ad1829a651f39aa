"""Calls of tools and agents by JSON-RPC (MCP, A2A) at a price each: held at the call, booked unless it failed."""

import json
from typing import Any

import pytest

from budget_middleware.testing import ScriptedApp, call, chunk, event, json_answer, start
from tests.request.bench import Bench
from tests.request.wire import KEY, bearer

PRICES = """
[models.mcp]
call = 0.1
[models."mcp/search"]
call = 0.4
[models."mcp/free-tool"]
call = 0
[models.a2a]
call = 0.25
[models."a2a/planner"]
call = 0.5
"""
MCP = "/mcp"


@pytest.fixture
def prices(price_file) -> str:
    return price_file(PRICES)


def tool(name: object = "echo", id_: object = 1, **fields: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": name, "arguments": {}}, **fields}


def result(id_: object = 1, **fields: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "result": {"content": [{"type": "text", "text": "hi"}]}, **fields}


def error(id_: object = 1, code: int = -32602) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": "no"}}


def as_body(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


async def booked(memory: Bench, body: Any, answer: Any, *, path: str = MCP, limits: str = "key=900/month") -> str:
    guard = memory.guard(ScriptedApp(*json_answer(answer)), limits=limits)
    played = await call(guard, as_body(body), path=path, headers=bearer())
    assert played.status == 200, played.body
    spent, reserved = await memory.figures()
    assert reserved == "0.00"
    return spent


@pytest.mark.parametrize(
    ("body", "answer", "spent"),
    [
        (tool(), result(), "0.10"),
        (tool("search"), result(), "0.40"),
        (tool("SEARCH"), result(), "0.40"),
        (tool("free-tool"), result(), "0.00"),
        # The tool ran, and failed by itself.
        (tool(), {"jsonrpc": "2.0", "id": 1, "result": {"isError": True, "content": []}}, "0.10"),
        # The server did not do it.
        (tool(), error(), "0.00"),
        (tool(), error(None), "0.00"),
        # A batch, each at its own price.
        ([tool("search", 1), tool("echo", 2), tool("free-tool", 3)], [result(1), result(2), result(3)], "0.50"),
        ([tool("search", 1), tool("echo", 2)], [error(1), result(2)], "0.10"),
        ([tool("echo", 1), tool("echo", 2), tool("echo", 3)], [error(2), result(1)], "0.20"),
        ([tool("echo", 1), tool("echo", 2)], error(None), "0.00"),
        # An error without an id beside a result takes nothing back.
        ([tool("echo", 1), tool("echo", 2)], [error(None), result(1)], "0.20"),
        # An answer to somebody else's call, or to none, takes nothing back either.
        (tool(), error(77), "0.10"),
        (tool(), {"hello": 1}, "0.10"),
        (tool(), [], "0.10"),
    ],
)
async def test_a_call_is_booked_unless_the_server_says_that_it_was_not_done(
    memory: Bench, body: Any, answer: Any, spent: str
):
    assert await booked(memory, body, answer) == spent


NOTICE = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "search"}}
REJECTED_LIST = {"jsonrpc": "1.0", "id": None, "method": "tools/list"}


@pytest.mark.parametrize(
    ("body", "answer", "spent"),
    [
        # An error without an id is about one message; a notification beside it is done, and never answered.
        ([1, NOTICE], [error(None)], "0.50"),
        ([REJECTED_LIST, NOTICE], [error(None)], "0.40"),
        ([tool("echo", None), {**NOTICE, "id": None}], [error(None)], "0.50"),
        # Two messages under one id, which an error may be about either of.
        ([tool("free-tool", 7), tool("search", 7)], [error(7), result(7)], "0.40"),
        ([tool("search", 7), tool("free-tool", 7)], [error(7), result(7)], "0.40"),
        ([tool("free-tool", 1.0), tool("search", 1)], [error(1), result(1)], "0.40"),
        ([tool("free-tool", "1"), tool("search", 1)], [error(1), result(1)], "0.40"),
        ([{"jsonrpc": "2.0", "id": 7, "method": "tools/list"}, tool("search", 7)], [error(7), result(7)], "0.40"),
        ([tool("free-tool", True), tool("search", 1)], [error(1), result(True)], "0.00"),
    ],
)
async def test_an_error_takes_back_no_call_that_it_may_not_be_about(memory: Bench, body: Any, answer: Any, spent: str):
    assert await booked(memory, body, answer) == spent


async def test_an_event_with_an_error_without_an_id_takes_back_no_call_that_has_a_result(memory: Bench):
    begin = start(content_type="text/event-stream")
    app = ScriptedApp(begin, event(error(None)), event(result()), chunk(is_last=True))
    await call(memory.guard(app), as_body(tool()), path=MCP, headers=bearer())
    assert await memory.figures() == ("0.10", "0.00")


async def test_an_event_with_an_error_without_an_id_takes_back_nothing_of_a_batch(memory: Bench):
    """The client may leave once it has come, and the server still does the rest."""
    begin = start(content_type="text/event-stream")
    app = ScriptedApp(begin, event(error(None)), ConnectionError("gone"))
    batch = as_body([1, tool("search", 2)])
    await call(memory.guard(app), batch, path=MCP, headers=bearer())
    assert await memory.figures() == ("0.50", "0.00")


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "server/discover",
        "ping",
        "tools/list",
        "tasks/result",
        "resources/list",
        "prompts/list",
        "notifications/initialized",
    ],
)
@pytest.mark.parametrize("id_", [1, None])
async def test_what_only_asks_what_there_is_costs_nothing_with_a_spent_budget(memory: Bench, method: str, id_: Any):
    guard = memory.guard(ScriptedApp(*json_answer(result())), limits="key=0.01/month")
    body = {"jsonrpc": "2.0", "id": id_, "method": method, "params": {}}
    assert (await call(guard, body, path=MCP, headers=bearer())).status == 200
    assert await memory.figures() == ("0.00", "0.00")


async def test_a_client_that_answers_the_server_pays_nothing(memory: Bench):
    guard = memory.guard(ScriptedApp(*json_answer({})), limits="key=0.01/month")
    assert (await call(guard, result(), path=MCP, headers=bearer())).status == 200


HOSTILE: dict[str, tuple[Any, str]] = {
    "odd capitals": ({"jsonrpc": "2.0", "id": 1, "method": "Tools/Call", "params": {"name": "search"}}, "0.40"),
    "a method of its own": ({"jsonrpc": "2.0", "id": 1, "method": "tools/call2"}, "0.10"),
    "another name of the field": ({"jsonrpc": "2.0", "id": 1, "Method": "tools/list"}, "0.10"),
    "a free method and more": ({"jsonrpc": "2.0", "id": 1, "method": "ping", "meth": "tools/call"}, "0.10"),
    "no method": ({"jsonrpc": "2.0", "id": 1}, "0.10"),
    "a method that is no text": ({"jsonrpc": "2.0", "id": 1, "method": ["ping"]}, "0.10"),
    "an answer with a method": ({"jsonrpc": "2.0", "id": 1, "result": {}, "method": "tools/call"}, "0.10"),
    "a notification": ({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "search"}}, "0.40"),
    "an id that is an object": (tool("search", {"a": [1]}), "0.40"),
    "a name that is no text": (tool(["search"]), "0.10"),
    "a long name": (tool("x" * 5_000), "0.10"),
    "a batch in a batch": ([[tool("search", 1)], [[tool("echo", 2)]]], "0.50"),
    "no object": ([1, "tools/list", None], "0.30"),
    "free ones beside it": ([{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, tool("search", 2)], "0.40"),
    # It may call the most expensive of all.
    "no JSON": (b"tools" * 10, "0.40"),
    "nothing": (b"", "0.10"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_odd_is_a_call(memory: Bench, name: str):
    """An answer that says nothing of an error: all that may have been called is booked."""
    body, spent = HOSTILE[name]
    assert await booked(memory, body, {"jsonrpc": "2.0", "id": "somebody", "result": {}}) == spent


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"free-tool","name":"search"}}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"free-tool","Name":"search"}}',
        # To some servers a long s is an s.
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"free-tool"},"param\\u017f":{"name":"search"}}',
    ],
)
async def test_a_field_twice_is_refused(memory: Bench, text: str):
    app = ScriptedApp(*json_answer(result()))
    played = await call(memory.guard(app), text.encode(), path=MCP, headers=bearer())
    assert played.status == 400
    assert "twice" in played.json()["error"]["message"]


async def test_a_batch_of_a_thousand_calls_is_held_and_booked_as_so_many(memory: Bench):
    batch = [tool("echo", n) for n in range(1_000)]
    answers = [result(n) for n in range(1_000)]
    assert await booked(memory, batch, answers, limits="key=100/month") == "100.00"
    guard = memory.guard(ScriptedApp(*json_answer(result())), limits="key=100/month")
    assert (await call(guard, tool(), path=MCP, headers=bearer())).status == 429


@pytest.mark.parametrize(("limit", "status"), [(999, 429), (100_000, 200)])
async def test_a_batch_that_is_too_long_to_be_read_counts_by_its_length(memory: Bench, limit: int, status: int):
    app = ScriptedApp(*json_answer([result(n) for n in range(100)]))
    guard = memory.guard(app, limits=f"key={limit}/month")
    batch = [tool("echo", n) for n in range(25_000)]
    played = await call(guard, as_body(batch), path=MCP, headers=bearer())
    assert played.status == status
    # Also those that the server answers: which of the others are notifications, done and never answered, nobody reads.
    n_calls = len(as_body(batch)) // 20 if status == 200 else 0
    assert await memory.figures() == (f"{n_calls * 0.4:.2f}", "0.00")


async def test_a_batch_that_costs_more_than_is_left_does_not_reach_the_server(memory: Bench):
    app = ScriptedApp(*json_answer(result()))
    batch = [tool("echo", n) for n in range(11)]
    assert (await call(memory.guard(app), as_body(batch), path=MCP, headers=bearer())).status == 429
    assert not app.bodies


async def test_a_refusal_is_an_error_of_json_rpc_for_the_call(memory: Bench):
    guard = memory.guard(ScriptedApp(*json_answer(result())), limits="key=0.01/month")
    refused = (await call(guard, tool(id_="a"), path=MCP, headers=bearer())).json()
    assert (refused["jsonrpc"], refused["id"], refused["error"]["code"]) == ("2.0", "a", -32000)
    assert refused["error"]["data"] == {"reason": "spent"}


@pytest.mark.parametrize(("last", "spent"), [(result(), "0.40"), (error(), "0.00")])
async def test_an_answer_in_events(memory: Bench, last: dict[str, Any], spent: str):
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    begin = start(content_type="text/event-stream")
    app = ScriptedApp(begin, event(progress), event(last), chunk(is_last=True))
    await call(memory.guard(app), tool("search"), path=MCP, headers=bearer())
    assert await memory.figures() == (spent, "0.00")


async def test_a_call_in_events_is_booked_before_its_answer_is_seen(memory: Bench):
    """So that the next call sees what this one has cost; the stream may stay open."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(content_type="text/event-stream"))
        await send(event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}))
        await send(event(result()))
        seen.append(await memory.figures())
        await send(chunk(is_last=True))

    await call(memory.guard(app), tool("search"), path=MCP, headers=bearer())
    assert seen == [("0.40", "0.00")]


async def test_a_stream_that_breaks_off_is_booked(memory: Bench):
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    app = ScriptedApp(start(content_type="text/event-stream"), event(progress), ConnectionError("gone"))
    await call(memory.guard(app), tool("search"), path=MCP, headers=bearer())
    assert await memory.figures() == ("0.40", "0.00")


@pytest.mark.parametrize(("status", "spent"), [(202, "0.40"), (400, "0.00"), (500, "0.00")])
async def test_an_answer_without_a_body(memory: Bench, status: int, spent: str):
    app = ScriptedApp(start(status), chunk(is_last=True))
    await call(memory.guard(app), {"method": "tools/call", "params": {"name": "search"}}, path=MCP, headers=bearer())
    assert await memory.figures() == (spent, "0.00")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/mcp",
            "/mcp/",
            "/mcp/github",
            "/github/mcp",
            "/v1/mcp",
            "/gateway/%6dcp",
            "/mcp/sse/messages",
            "/sse/messages",
            "/messages",
            "/messages/",
            "/tools/messages/",
            "/message",
        ),
        # LiteLLM's servers have slashes in their names, and take whatever follows them.
        *("/mcp/team/github", "/mcp/github/chat/completions", "/github/mcp/x/y"),
    ],
)
async def test_paths_of_mcp(memory: Bench, path: str):
    assert await booked(memory, tool(), result(), path=path.replace("%6d", "m")) == "0.10"


@pytest.mark.parametrize(
    ("body", "spent"),
    [
        # What manages servers is somebody else's.
        ({"server_name": "github", "url": "https://x"}, "0.00"),
        (b"", "0.00"),
        ({"JSONRPC": "2.0", "METHOD": "tools/call"}, "0.10"),
        ([{"server_name": "github"}], "0.10"),
        ({"name": "search", "arguments": {}}, "0.40"),
        (b"no JSON", "0.40"),
    ],
)
async def test_below_mcp_the_body_says_whether_it_is_a_call(memory: Bench, body: Any, spent: str):
    assert await booked(memory, body, result(), path="/v1/mcp/server") == spent


CLAUDE = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize("path", ["/messages", "/messages/"])
async def test_where_claude_may_be_too_the_body_says_which_it_is(memory: Bench, path: str):
    assert await booked(memory, tool("search"), {}, path=path) == "0.40"
    assert await booked(memory, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {}, path=path) == "0.40"
    assert await booked(memory, [tool(id_=1), tool(id_=2)], {}, path=path) == "0.60"
    # Somebody's own, as before.
    assert await booked(memory, {"text": "hello"}, {}, path=path) == "0.60"
    usage = {"input_tokens": 100_000, "output_tokens": 100_000}
    answer = {"type": "message", "model": CLAUDE["model"], "content": [], "usage": usage, "stop_reason": "end_turn"}
    assert await booked(memory, CLAUDE, answer, path=path) == "2.40"


async def test_what_two_servers_may_read_in_two_ways_is_refused(memory: Bench):
    for body in ({**CLAUDE, **tool()}, {**tool(), "model": "free"}, [tool(), CLAUDE], {**CLAUDE, "params": {}}):
        guard = memory.guard(ScriptedApp(*json_answer({})), limits="key=900/month")
        played = await call(guard, as_body(body), path="/messages?session_id=1", headers=bearer())
        assert played.status == 400, body
        assert b"two APIs" in played.body
    assert await memory.figures() == ("0.00", "0.00")


async def test_what_cannot_be_read_is_no_tool_where_claude_may_be(memory: Bench):
    guard = memory.guard(ScriptedApp(*json_answer({})), limits="key=900/month")
    played = await call(guard, b'{"jsonrpc": "2.0", "method"', path="/messages", headers=bearer())
    assert played.status == 400
    assert b"model" in played.body


async def test_in_shadow_mode_what_may_be_either_is_the_one_that_mostly_costs_more(memory: Bench):
    guard = memory.guard(ScriptedApp(*json_answer({})), limits="key=900/month", mode="shadow")
    assert (await call(guard, as_body({**CLAUDE, **tool()}), path="/messages", headers=bearer())).status == 200
    assert (await memory.figures())[0] not in ("0.00", "0.10")


@pytest.mark.parametrize("path", ["/v1/messages", "/anthropic/messages"])
async def test_a_path_that_is_claudes_alone_takes_no_tools(memory: Bench, path: str):
    guard = memory.guard(ScriptedApp(*json_answer({})), limits="key=900/month")
    assert (await call(guard, as_body(tool()), path=path, headers=bearer())).status == 400


def message(method: str = "message/send", **fields: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": {"parts": []}}, **fields}


@pytest.mark.parametrize(
    ("path", "method", "spent"),
    [
        ("/a2a/planner", "message/send", "0.50"),
        ("/a2a/planner/message/send", "message/send", "0.50"),
        ("/v1/a2a/other/message/stream", "message/stream", "0.25"),
        ("/a2a/planner", "SendMessage", "0.50"),
        ("/a2a/planner", "tasks/get", "0.00"),
        ("/a2a/planner", "GetTask", "0.00"),
        ("/a2a/planner", "SubscribeToTask", "0.00"),
        ("/a2a/planner", "SendStreamingMessage", "0.50"),
        ("/a2a", "message/send", "0.25"),
        # Some gateway may go by the path.
        ("/a2a/planner/message/send", "tasks/get", "0.50"),
    ],
)
async def test_agents(memory: Bench, path: str, method: str, spent: str):
    assert await booked(memory, message(method), result(), path=path) == spent


async def test_an_agent_is_the_one_in_the_path(memory: Bench):
    named = message(params={"name": "planner", "message": {}})
    assert await booked(memory, named, result(), path="/a2a/other") == "0.25"


@pytest.mark.parametrize(
    ("path", "body", "spent"),
    [
        ("/v1/message:send", {"message": {}}, "0.25"),
        ("/message:stream", {"message": {}}, "0.25"),
        ("/a2a/planner/v1/message:send", {"message": {}}, "0.50"),
        ("/a2a/planner/tenant/message:send", {"message": {}}, "0.50"),
        ("/v1/message%3Asend", {"message": {}}, "0.25"),
        ("/v1/message:send", [{"message": {}}], "0.25"),
        ("/v1/message:send", b"no JSON, and rather long" * 9, "0.25"),
        ("/v1/tasks/7:cancel", {}, "0.00"),
        ("/v1/tasks/7:subscribe", {}, "0.00"),
        ("/tasks/7/pushNotificationConfigs", {}, "0.00"),
        ("/mcp-rest/tools/call", {"server_id": "x", "name": "search", "arguments": {}}, "0.40"),
        ("/mcp-rest/tools/call", {"name": "other"}, "0.10"),
        ("/mcp-rest/tools/call", b"name=search", "0.40"),
    ],
)
async def test_a_request_of_the_rest_binding_is_a_call(memory: Bench, path: str, body: Any, spent: str):
    assert await booked(memory, body, {"task": {}}, path=path) == spent


@pytest.mark.parametrize("status", [400, 404, 409, 500])
async def test_a_request_of_the_rest_binding_that_fails_costs_nothing(memory: Bench, status: int):
    app = ScriptedApp(*json_answer({"error": {"code": status}}, status=status))
    guard = memory.guard(app)
    assert (await call(guard, {"message": {}}, path="/v1/message:send", headers=bearer())).status == status
    assert await memory.figures() == ("0.00", "0.00")


async def test_a_refusal_of_the_rest_binding_is_an_error_of_googles(memory: Bench):
    guard = memory.guard(ScriptedApp(*json_answer({})), limits="key=0.01/month")
    refused = await call(guard, {"message": {}}, path="/v1/message:send", headers=bearer())
    error = refused.json()["error"]
    assert (refused.status, error["code"], error["status"]) == (429, 429, "RESOURCE_EXHAUSTED")
    assert error["data"] == {"reason": "spent"}


@pytest.mark.parametrize(("on_abort", "spent"), [("partial", "0.40"), ("input", "0.40"), ("release", "0.00")])
@pytest.mark.parametrize("sent", [[], [start(content_type="text/event-stream")]], ids=["nothing", "a start"])
async def test_a_client_that_leaves_before_the_answer_pays(memory: Bench, sent: list[Any], on_abort: str, spent: str):
    """The tool runs on, and its result is there for a GET with the Last-Event-ID, or for `tasks/get`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for each in sent:
            await send(each)

    guard = memory.guard(app, limits="key=9/month", on_abort=on_abort)
    await call(guard, tool("search"), path=MCP, headers=bearer())
    assert await memory.figures() == (spent, "0.00")


async def test_an_app_that_fails_before_its_answer_is_not_paid(memory: Bench):
    guard = memory.guard(ScriptedApp(RuntimeError("no server")), limits="key=9/month")
    await call(guard, tool("search"), path=MCP, headers=bearer())
    assert await memory.figures() == ("0.00", "0.00")


async def test_a_session_is_ended_with_a_spent_budget(memory: Bench):
    guard = memory.guard(ScriptedApp(start(200), chunk(is_last=True)), limits="key=0.01/month")
    assert (await call(guard, b"", method="DELETE", path=MCP, headers=bearer())).status == 200
    assert await memory.figures() == ("0.00", "0.00")


async def test_what_cannot_be_read_may_call_the_tool_that_a_limit_binds(memory: Bench):
    guard = memory.guard(ScriptedApp(*json_answer(result())), limits="model:mcp/search=0.3/day; key=9/month")
    assert (await call(guard, b"no JSON", path=MCP, headers=bearer())).status == 429
    assert (await call(guard, tool(), path=MCP, headers=bearer())).status == 200


@pytest.mark.parametrize(
    ("routes", "path", "spent"),
    [
        ("/weather=mcp", "/tools/weather", "0.10"),
        ("/agents/*=a2a", "/agents/planner", "0.25"),
        ("-/mcp", MCP, "0.00"),
    ],
)
async def test_routes_of_the_operators_own(memory: Bench, routes: str, path: str, spent: str):
    guard = memory.guard(ScriptedApp(*json_answer(result())), limits="key=9/month", routes=routes)
    assert (await call(guard, tool(), path=path, headers=bearer())).status == 200
    assert await memory.figures() == (spent, "0.00")


async def test_a_route_of_the_operators_own_without_a_price_is_unmetered(tmp_path, memory: Bench):
    path = tmp_path / "none.toml"
    path.write_text("[models.plain]\ninput = 0\noutput = 1\n")
    guard = memory.guard(ScriptedApp(), prices=str(path), unmetered="refuse", routes="/weather=mcp")
    assert (await call(guard, tool(), path="/weather", headers=bearer())).status == 403


async def test_a_stream_of_an_agent_is_one_call(memory: Bench):
    events = [event(result(status={"state": state})) for state in ("working", "working", "completed")]
    app = ScriptedApp(start(content_type="text/event-stream"), *events, chunk(is_last=True))
    await call(memory.guard(app), message("message/stream"), path="/a2a/planner", headers=bearer())
    assert await memory.figures() == ("0.50", "0.00")


async def test_a_limit_on_a_tool_binds_it_alone(memory: Bench):
    guard = memory.guard(ScriptedApp(*json_answer(result())), limits="model:mcp/search=0.4/day; key=9/month")
    asked = [tool("search"), tool("search"), tool("echo")]
    statuses = [(await call(guard, each, path=MCP, headers=bearer())).status for each in asked]
    assert statuses == [200, 429, 200]


@pytest.mark.parametrize(("unmetered", "status"), [("pass", 200), ("refuse", 403)])
async def test_without_a_price_it_is_unmetered(tmp_path, memory: Bench, unmetered: str, status: int):
    path = tmp_path / "none.toml"
    path.write_text("[models.plain]\ninput = 0\noutput = 1\n")
    guard = memory.guard(ScriptedApp(*json_answer(result())), prices=str(path), unmetered=unmetered)
    assert (await call(guard, tool(), path=MCP, headers=bearer())).status == status
    assert await memory.figures(KEY) == ("0.00", "0.00")


async def test_the_bill_counts_calls(memory: Bench):
    guard = memory.guard(ScriptedApp(*json_answer([result(1), result(2)])))
    played = await call(guard, as_body([tool("echo", 1), tool("echo", 2)]), path=MCP, headers=bearer())
    assert played.headers["x-budget-usage"] == "call=2"
    assert played.headers["x-budget-cost-usd"] == "0.20"


async def test_in_shadow_mode_what_is_unclear_passes_and_is_booked(memory: Bench):
    text = b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}'
    guard = memory.guard(ScriptedApp(*json_answer(result())), mode="shadow")
    assert (await call(guard, text, path=MCP, headers=bearer())).status == 200
    assert await memory.figures() == ("0.10", "0.00")
