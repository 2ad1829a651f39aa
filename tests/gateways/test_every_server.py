"""The same gateway behind every server, over HTTP/1.1 and where they have it HTTP/2: same answers, same books."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.gateways.running import Books, account_of, running

pytestmark = pytest.mark.gateways

# Every app behind one server, and every server, over HTTP/1.1 and where it has it HTTP/2.
ROUTES = (
    ("uvicorn", "plain_asgi", 1),
    ("uvicorn", "fastapi_gateway", 1),
    ("uvicorn", "litestar_gateway", 1),
    ("uvicorn", "quart_gateway", 1),
    ("hypercorn", "plain_asgi", 1),
    ("hypercorn", "plain_asgi", 2),
    ("hypercorn", "quart_gateway", 2),
    ("granian", "plain_asgi", 1),
    ("granian", "plain_asgi", 2),
    ("granian", "fastapi_gateway", 2),
)

SHORT = "two words"
LONG = "these ten words are answered with a hundred of them"


@pytest.fixture(scope="module", params=ROUTES, ids=lambda route: "{}-{}-http{}".format(*route))
def gateway(request, upstream: str, books: Books, prices: Path, tmp_path_factory) -> Iterator[tuple[str, int]]:
    """An address, and the version of HTTP to call it with."""
    server, app, version = request.param
    env = {**books.env, "UPSTREAM_URL": upstream, "BUDGET_PRICES": str(prices), "BUDGET_LIMITS": "key=2/day"}
    with running(f"{app}:app", server=server, env=env, log=tmp_path_factory.mktemp(server) / "log") as address:
        yield address, version


@pytest.fixture
async def client(gateway: tuple[str, int], token: str) -> AsyncIterator[httpx.AsyncClient]:
    address, version = gateway
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=address, headers=headers, timeout=30, trust_env=False, http1=version == 1, http2=version == 2
    ) as client:
        yield client


def asking(prompt=SHORT, **more):
    return {"model": "talk", "messages": [{"role": "user", "content": prompt}], "max_tokens": 100, **more}


async def ask(client, **more):
    return await client.post("/v1/chat/completions", json=asking(**more))


async def test_a_whole_answer(gateway, client, books, token):
    answer = await ask(client)
    assert answer.status_code == 200
    assert answer.http_version == f"HTTP/{'1.1' if gateway[1] == 1 else 2}"
    assert answer.json()["usage"]["completion_tokens"] == 20
    assert await books.of(account_of(token)) == ("0.202", "0.00")


async def test_streams_at_once(client, books, token):
    """Over HTTP/2 they share a connection."""
    answers = await asyncio.gather(*[ask(client, stream=True, max_tokens=20) for _ in range(3)])
    for answer in answers:
        *events, done = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert done == "[DONE]"
        chunks = [json.loads(event) for event in events]
        words = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        assert len(words.split()) == 20
        assert not any(chunk.get("usage") for chunk in chunks), "it was not asked for"
    assert await books.of(account_of(token)) == ("0.606", "0.00")


async def test_a_client_that_leaves_mid_stream(client, books, token):
    async with client.stream("POST", "/v1/chat/completions", json=asking(LONG, stream=True)) as answer:
        lines = answer.aiter_lines()
        for _ in range(10):
            await anext(lines)
    # Over HTTP/2 this client library tells nobody that it has left a stream, unless it closes the connection.
    await client.aclose()
    spent, reserved = await books.of(account_of(token))
    assert reserved == "0.00"
    # The whole would have been 1.01.
    assert Decimal("0.04") < Decimal(spent) < Decimal("0.9")
    assert (await books.last_entry(account_of(token))).reason == "estimated_partial"


async def test_a_spent_budget(client, books, token):
    refused = await ask(client, max_tokens=201)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "budget_exhausted"
    assert refused.headers["x-should-retry"] == "false"
    assert (await ask(client)).status_code == 200
    assert await books.of(account_of(token)) == ("0.202", "0.00")


async def test_a_failed_upstream_costs_nothing(client, books, token):
    failed = await client.post("/v1/chat/completions", json=asking(), headers={"x-provider-fail": "503"})
    assert failed.status_code == 503
    assert await books.of(account_of(token)) == ("0.00", "0.00")
