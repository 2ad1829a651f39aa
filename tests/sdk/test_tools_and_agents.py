"""The SDKs of MCP and A2A against servers of their own, through a guard: what is booked, and what a refusal raises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from a2a.client.client import ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.client.errors import A2AClientError
from a2a.helpers.proto_helpers import new_text_message
from a2a.types.a2a_pb2 import GetTaskRequest, Role, SendMessageRequest
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from budget_middleware.core.money import usd_from_nanos
from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import free_port, uvicorn_worker, wait_for_port
from tests.sdk.tools_gateway import card_at
from tests.sessions.serving import tokens_in

pytestmark = pytest.mark.processes

# A tool costs a tenth, `search` four of them, an agent half a dollar; a key has two dollars.
PRICES = """
[models.mcp]
call = 0.1
[models."mcp/search"]
call = 0.4
[models.a2a]
call = 0.3
[models."a2a/planner"]
call = 0.5
"""
KEY = {"authorization": "Bearer sk-one"}
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, server_url):
    folder = tmp_path_factory.mktemp("tools")
    (folder / "prices.toml").write_text(PRICES)
    env = {
        "BUDGET_PRICES": str(folder / "prices.toml"),
        "BUDGET_LIMITS": "key=2/day",
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": f"tools-{folder.name}",
        "BUDGET_STORE_TIMEOUT_S": "10",
    }
    port, log = free_port(), folder / "log"
    with uvicorn_worker("tests.sdk.tools_gateway:app", listen=["--port", str(port)], env=env, log=log) as process:
        wait_for_port(port, process, log)
        yield f"http://127.0.0.1:{port}", env["BUDGET_NAMESPACE"]


@pytest.fixture
def url(gateway):
    return gateway[0]


@pytest.fixture
async def spent(gateway, server_url):
    store = RedisStore(server_url, namespace=gateway[1], timeout_s=10)
    read = tokens_in(store)

    async def spent_of(key: str) -> str:
        """What a key has paid, once nothing is held: the stream of an agent ends after its last event."""
        async with asyncio.timeout(30):
            while (balance := await read(key)).reserved:
                await asyncio.sleep(0.01)
        # In thousandths of a dollar: see `tokens_in`.
        return usd_from_nanos(balance.spent * 1_000_000)

    yield spent_of
    await store.aclose()


@asynccontextmanager
async def mcp_client(url: str, key: str, mode: Any) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_tools_are_booked_by_the_call(url, spent, mode):
    key = f"sk-{mode}"
    async with mcp_client(url, key, mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "fails", "slow"}
        assert await spent(key) == "0.00"
        found = await client.call_tool("search", {"words": "x"})
        assert found.content[0].model_dump()["text"] == "X"
        assert await spent(key) == "0.40"
        assert (await client.call_tool("fails", {})).is_error
        assert await spent(key) == "0.50"
        # What the server refuses costs nothing.
        with pytest.raises(MCPError):
            await client.get_prompt("none")
        for _ in range(3):
            await client.call_tool("search", {"words": "x"})
        with pytest.raises(MCPError) as refused:
            await client.call_tool("search", {"words": "x"})
        assert refused.value.code == -32000
        assert "budget" in str(refused.value).lower()
        # A spent key still lists, and ends its session.
        assert (await client.list_tools()).tools


async def test_tools_of_the_older_transport_are_booked_by_the_call(url, spent):
    headers = {"authorization": "Bearer sk-sse"}
    async with Client(sse_client(f"{url}/sse", headers=headers), mode="legacy") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "fails", "slow"}
        assert await spent("sk-sse") == "0.00"
        found = await client.call_tool("search", {"words": "x"})
        assert found.content[0].model_dump()["text"] == "X"
        assert await spent("sk-sse") == "0.40"
        assert (await client.call_tool("fails", {})).is_error
        assert await spent("sk-sse") == "0.50"
        for _ in range(3):
            await client.call_tool("search", {"words": "x"})
        assert await spent("sk-sse") == "1.70"
        # A spent key still lists.
        assert (await client.list_tools()).tools


async def test_a_spent_key_is_refused_at_the_messages_of_the_older_transport(raw, spent):
    raw.headers["authorization"] = "Bearer sk-sse-spent"
    async with raw.http.stream("GET", "/sse", headers=raw.headers) as events:
        # It ends with its stream, and that with what reads it.
        lines = events.aiter_lines()
        address = await _address(lines)
        calls = [raw.call("search", words="x") for _ in range(6)]
        answers = [await raw.http.post(address, json=each, headers=raw.headers) for each in calls]
        assert [answer.status_code for answer in answers] == [202] * 5 + [429]
        assert answers[-1].json()["error"]["code"] == -32000
    assert await spent("sk-sse-spent") == "2.00"


async def _address(lines: AsyncIterator[str]) -> str:
    """Where messages go, as the stream of the older transport says it first."""
    async for line in lines:
        if line.startswith("data: "):
            return line.removeprefix("data: ")
    raise AssertionError("the stream has ended")


class _Raw:
    """MCP without its SDK, which sends no batches, and does not leave early."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.headers = {**KEY, "accept": "application/json, text/event-stream"}
        self._n = 0

    async def begin(self, key: str) -> None:
        self.headers["authorization"] = f"Bearer {key}"
        answer = await self.post(self.message("initialize", INITIALIZE))
        self.headers |= {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def message(self, method: str, params: object) -> dict[str, object]:
        self._n += 1
        return {"jsonrpc": "2.0", "id": self._n, "method": method, "params": params}

    def call(self, tool: str, **arguments: object) -> dict[str, object]:
        return self.message("tools/call", {"name": tool, "arguments": arguments})

    async def post(self, body: object) -> httpx.Response:
        return await self.http.post("/mcp", json=body, headers=self.headers)


@pytest.fixture
async def raw(url) -> AsyncIterator[_Raw]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield _Raw(http)


async def test_who_leaves_pays_for_the_tool_that_runs_on_and_resumes_its_stream(raw, spent):
    await raw.begin("sk-leaves")
    last_id = ""
    async with raw.http.stream("POST", "/mcp", json=raw.call("slow"), headers=raw.headers) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id:"):
                last_id = line.removeprefix("id:").strip()
                break
    async with asyncio.timeout(30):
        while (await raw.http.get("/done")).text == "0" or await spent("sk-leaves") != "0.10":
            await asyncio.sleep(0.02)
    resuming = raw.http.stream("GET", "/mcp", headers={**raw.headers, "last-event-id": last_id})
    async with asyncio.timeout(30), resuming as resumed:
        assert resumed.status_code == 200
        async for line in resumed.aiter_lines():
            if "at last" in line:
                break
    assert (await raw.http.delete("/mcp", headers=raw.headers)).status_code == 200
    assert await spent("sk-leaves") == "0.10"


async def test_a_batch_that_the_server_refuses_costs_nothing(raw, spent):
    await raw.begin("sk-batch")
    answer = await raw.post([raw.call("search", words="x"), raw.call("fails")])
    assert answer.status_code == 400
    assert await spent("sk-batch") == "0.00"


def agent_client(url: str, http: httpx.AsyncClient, *, binding: str, version: str, streams: bool):
    card = card_at(f"{url}/a2a/planner", binding=binding, version=version)
    config = ClientConfig(streaming=streams, httpx_client=http, supported_protocol_bindings=[binding])
    return ClientFactory(config).create(card)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("version", ["1.0", "0.3"])
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_agents_are_booked_by_the_message(url, spent, binding, version, streams):
    key = f"sk-{binding}-{version}-{streams}"
    http = httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=30)
    client = agent_client(url, http, binding=binding, version=version, streams=streams)
    asked = SendMessageRequest(message=new_text_message("plan", role=Role.ROLE_USER))
    events: list[Any] = []
    for turn in range(1, 5):
        asked.message.message_id = f"m{turn}"
        events = [event async for event in client.send_message(asked)]
        assert events
        assert await spent(key) == f"{turn / 2:.2f}"
    with pytest.raises(A2AClientError, match="429"):
        _ = [event async for event in client.send_message(asked)]
    # What has become of a task costs nothing, with a spent key too.
    task_id = events[0].task.id
    assert (await client.get_task(GetTaskRequest(id=task_id))).id == task_id
    assert await spent(key) == "2.00"
    await http.aclose()
