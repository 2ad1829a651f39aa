"""Ten thousand requests at eight workers: every counter is what was really served, to the nano-dollar."""

import asyncio
import json
import random
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from budget_middleware.apis.openai.chat import OpenAIChat
from budget_middleware.core.answers import Entry
from budget_middleware.core.journal.audit import Audit, Report
from budget_middleware.stores.redis import RedisStore
from budget_middleware.telemetry.names import counter_attributes
from tests.e2e.servers import uvicorn_worker, wait_for_socket

pytestmark = pytest.mark.processes

WORKERS = 8
REQUESTS = 10_000
AT_ONCE = 96
KEYS = 12
# Prices at which every token counts whole nano-dollars: 3 USD and 7 USD per million tokens.
INPUT_NANOS, OUTPUT_NANOS = 3_000, 7_000
PROMPT = 40
PLAYS = {"json": 35, "stream": 32, "cancel": 18, "error": 6, "raise": 4, "break": 5}


@pytest.fixture
def sockets(tmp_path: Path, server_url: str, namespace: str) -> Iterator[list[Path]]:
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."test-model"]\ninput = 3\noutput = 7\n')
    env = {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": "key=1000/day; global=100000/month",
        "BUDGET_JOURNAL_MAX": "1000000",
        # Two cores serve eight workers and their client here: what is slow must not count as a store away.
        "BUDGET_STORE_TIMEOUT_S": "30",
    }
    with ExitStack() as stack:
        started = []
        for number in range(WORKERS):
            socket, log = tmp_path / f"{number}.sock", tmp_path / f"{number}.log"
            own = {
                "SERVED_LOG": f"{tmp_path}/{number}.served",
                "SPAN_LOG": f"{tmp_path}/{number}.spans",
                "BUDGET_SPANS": ("counter", "verb")[number % 2],
            }
            worker = uvicorn_worker("tests.e2e.worker:app", listen=["--uds", str(socket)], env={**env, **own}, log=log)
            started.append((socket, stack.enter_context(worker), log))
        for socket, process, log in started:
            wait_for_socket(socket, process, log)
        yield [socket for socket, _, _ in started]


@pytest.mark.proves("I4", "I6")
async def test_ten_thousand_requests_on_eight_workers(
    sockets: list[Path], tmp_path: Path, server_url: str, namespace: str
):
    outcomes = await _send_all(sockets)

    served = _served(tmp_path)
    store = RedisStore(server_url, namespace=namespace, timeout_s=30)
    entries = await _settled_journal(store)
    views = await store.counters()
    report = await _audited(store, entries)
    spans = _spans(tmp_path)
    await store.aclose()

    assert len(served) == REQUESTS, outcomes
    assert sum(not record["complete"] for record in served) > REQUESTS // 5, "too few were cut off to prove much"
    expected = sum(map(_charge, served))
    assert sum(view.balance.spent for view in views if view.counter.account == "global") == expected
    assert sum(view.balance.spent for view in views if view.counter.account != "global") == expected
    assert {view.balance.reserved for view in views} == {0}
    assert report == Report(drift=(), unproved=0)
    assert sorted(spans) == [entry.seq for entry in entries]
    assert all(spans[entry.seq] == counter_attributes(entry) for entry in entries)


def _charge(record: dict) -> int:
    """The documented rules: usage of what was complete; else input and output seen, if there was any output."""
    if record["play"] in ("error", "raise"):
        return 0
    if record["complete"]:
        return PROMPT * INPUT_NANOS + WORDS[record["play"]] * OUTPUT_NANOS
    if record["chunks"] == 0:
        return 0
    return _estimated_input() * INPUT_NANOS + record["chunks"] * OUTPUT_NANOS


WORDS = {"json": 25, "stream": 12, "cancel": 40, "break": 10, "error": 1, "raise": 1}


def _request(play: str) -> dict:
    body = {
        "model": "test-model",
        "messages": [{"role": "user", "content": "count to ten, please"}],
        "max_tokens": 64,
        "metadata": {"play": play, "words": WORDS[play], "prompt": PROMPT},
    }
    return body | ({"stream": True} if play in ("stream", "cancel", "break") else {})


def _estimated_input() -> int:
    return OpenAIChat().read_request(_request("cancel"), path="", n_bytes=0).input.input_tokens


async def _send_all(sockets: list[Path]) -> Tally:
    rng = random.Random(20261124)
    plays = rng.choices(list(PLAYS), weights=list(PLAYS.values()), k=REQUESTS)
    work = iter([(number, play, rng.randrange(KEYS), rng.randrange(1, 9)) for number, play in enumerate(plays)])
    outcomes: Tally = Tally()

    async def client() -> None:
        for number, play, key, patience in work:
            outcomes[await _send_one(sockets[number % WORKERS], play, key, patience)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())
    return outcomes


async def _send_one(socket: Path, play: str, key: int, patience: int) -> str:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    body = json.dumps(_request(play)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer sk-{key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    try:
        if play == "cancel":
            for _ in range(patience):
                await reader.readuntil(b"\n\n")
            return "cancelled"
        answer = await reader.read()
        return answer.split(b"\r\n", 1)[0].decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return "cut off"
    finally:
        writer.close()


async def _settled_journal(store: RedisStore) -> list[Entry]:
    """All entries, once nothing is pending any more: endings outlive the connections that caused them."""
    async with asyncio.timeout(60):
        while await store.holds():
            await asyncio.sleep(0.1)
    entries: list[Entry] = []
    while page := await store.journal(after_seq=entries[-1].seq if entries else 0, count=10_000):
        entries += page
    return entries


async def _audited(store: RedisStore, entries: list[Entry]) -> Report:
    head = await store.head()
    audit = Audit(
        await store.proofs(), head_seq=head.seq, now_ms=head.now_ms, forgotten_after_ms=lambda period: 1_000_000
    )
    audit.add(entries)
    return audit.report()


def _served(folder: Path) -> list[dict]:
    return [json.loads(line) for path in folder.glob("*.served") for line in path.read_text().splitlines()]


def _spans(folder: Path) -> dict[int, dict]:
    lines = [json.loads(line) for path in folder.glob("*.spans") for line in path.read_text().splitlines()]
    spans = {line["budget.journal.seq"]: line for line in lines}
    assert len(spans) == len(lines), "an entry was told twice"
    return spans
