"""Compressed bodies, forms whose file comes first, and bodies that stall, at a real server."""

import asyncio
import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateways.running import Books, account_of, running

pytestmark = pytest.mark.processes

PRICES = "[models.plain]\ninput = 0\noutput = 1000\n[models.fair]\naudio_hour = 3.6\n"
BODIES_BYTES = 50_000_000
CONNECTIONS = 60
SENT, ANNOUNCED = 9_500_000, 10_000_000


@pytest.fixture
def books(server_url: str, namespace: str) -> Books:
    return Books(server_url, namespace)


@pytest.fixture
def gateway(books: Books, tmp_path: Path) -> Iterator[str]:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    env = {
        **books.env,
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": "key=9/day",
        "BUDGET_MAX_BODIES_BYTES": str(BODIES_BYTES),
        "BUDGET_BODY_TIMEOUT_S": "3",
    }
    with running("tests.e2e.reading:app", env=env, log=tmp_path / "log") as address:
        yield address


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_f53_a_compressed_request_at_a_real_server(gateway: str, books: Books):
    raw = gzip.compress(json.dumps({"model": "plain", "max_tokens": 600, "messages": []}).encode())
    headers = {**bearer("zip"), "content-encoding": "gzip", "content-type": "application/json"}
    async with httpx.AsyncClient(base_url=gateway, timeout=60) as client:
        answer = await client.post("/v1/chat/completions", content=raw, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["sha"] == hashlib.sha256(raw).hexdigest()
    assert answer.json()["encoding"] == "gzip"
    assert await books.of(account_of("zip")) == ("0.60", "0.00")


async def test_f54_a_file_before_the_model_at_a_real_server(gateway: str, books: Books):
    n_bytes = 11_520_000
    parts: Any = [("file", ("a.mp3", b"ID3" + bytes(n_bytes - 3))), ("model", (None, "fair"))]
    async with httpx.AsyncClient(base_url=gateway, timeout=60) as client:
        answer = await client.post("/v1/audio/transcriptions", files=parts, headers=bearer("form"))
    assert answer.status_code == 200, answer.text
    # As Starlette's own parser read it behind us.
    assert (answer.json()["model"], answer.json()["file_bytes"]) == ("fair", n_bytes)
    assert answer.headers["x-budget-estimate-usd"] == "1.44"


async def stall(port: int) -> int:
    """Send nearly all of a body, and wait for what the server says; 0 if it closed before that was read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer stall\r\n"
        f"content-type: application/json\r\ncontent-length: {ANNOUNCED}\r\n\r\n"
    )
    writer.write(head.encode())
    try:
        for _ in range(SENT // 100_000):
            writer.write(b" " * 100_000)
            await writer.drain()
    except OSError:
        pass
    try:
        return int((await reader.readline()).split()[1])
    except (OSError, IndexError):
        return 0
    finally:
        writer.close()


async def test_f59_stalled_bodies_at_a_real_server(gateway: str):
    """60 connections with 9.5 of 10 MB each: five fit into 50 MB, and these are given up too."""
    async with httpx.AsyncClient(base_url=gateway, timeout=60) as client:
        before_kb = (await client.get("/")).json()["peak_kb"]
        async with asyncio.timeout(120):
            statuses = await asyncio.gather(*[stall(int(gateway.rpartition(":")[2])) for _ in range(CONNECTIONS)])
        assert set(statuses) <= {0, 408, 503}
        assert 1 <= statuses.count(408) <= BODIES_BYTES // SENT
        # Without a bound it was 568 MB.
        assert (await client.get("/")).json()["peak_kb"] - before_kb < 200_000
        body = {"model": "plain", "max_tokens": 600, "messages": []}
        answer = await client.post("/v1/chat/completions", json=body, headers=bearer("next"))
        assert answer.status_code == 200
