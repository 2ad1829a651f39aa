"""Clients that leave a stream, on each server: how the app hears of it differs, what is booked does not."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.leaving import APPS, WORDS
from tests.gateways.running import SERVERS, Books, account_of, running

pytestmark = pytest.mark.processes

# A tenth of a cent for each word, nothing for the question.
PRICES = '[models."talk"]\ninput = 0\noutput = 1000\n'
BODY = {"model": "talk", "stream": True, "max_tokens": WORDS, "messages": [{"role": "user", "content": "hello"}]}
READ = 5


@pytest.fixture
def books(server_url: str, namespace: str) -> Books:
    return Books(server_url, namespace)


@pytest.fixture(params=SERVERS)
def port(request, books: Books, tmp_path: Path) -> Iterator[int]:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    env = {**books.env, "BUDGET_PRICES": str(prices), "BUDGET_LIMITS": "key=1/day"}
    with running("tests.e2e.leaving:app", server=request.param, env=env, log=tmp_path / "log") as address:
        yield int(address.rpartition(":")[2])


async def leave(port: int, app: str, *, after_events: int) -> str:
    """Ask, read so many events, and close the connection; the account that pays comes back."""
    token, body = f"{app}-{after_events}", json.dumps(BODY).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /{app}/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(after_events):
        await reader.readuntil(b"\n\n")
    writer.close()
    return account_of(token)


async def test_who_leaves_pays_for_what_was_streamed(port: int, books: Books):
    """An app that never listens is told by nobody: it runs to its usage, and that is booked."""
    left = [(app, read) for app in APPS for read in (0, READ)]
    accounts = await asyncio.gather(*[leave(port, app, after_events=read) for app, read in left])
    for (app, read), account in zip(left, accounts, strict=True):
        spent, reserved = await books.of(account)
        reason = (await books.last_entry(account)).reason
        assert reserved == "0.00"
        if app.startswith("deaf"):
            assert (reason, Decimal(spent)) == ("usage", WORDS * Decimal("0.001")), app
        else:
            assert reason in ("estimated_partial", "no_output")
            assert Decimal(spent) >= read * Decimal("0.001"), app
