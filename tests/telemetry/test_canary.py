"""A token, a prompt and a completion that are easy to find, sent through all that can happen, and then looked for.

Everywhere that a request leaves something: spans, metrics, log records, keys and values of the store, the journal,
the log of refusals, what waits on disk, what other clients are told, and what the command line prints.
"""

import asyncio
import base64
import gzip
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan

from budget_middleware import BudgetMiddleware
from budget_middleware.history.connections import open_database
from budget_middleware.history.copying import Copier
from budget_middleware.history.writing import HistoryWriter
from budget_middleware.stores.redis import RedisStore
from budget_middleware.testing import (
    PlayedRequest,
    ScriptedApp,
    call,
    chunk,
    client_gone,
    event,
    event_stream,
    json_answer,
    start,
)
from tests.e2e.forking import forked_command
from tests.ledger.faults import FaultyStore, refused, reply_lost, request_lost
from tests.stores.verbs import whole_journal
from tests.telemetry.conftest import Spans

TOKEN, PROMPT, COMPLETION = "sk-canary-4b1d77", "canary-prompt-93c1", "canary-completion-e2a8"
BASIC = base64.b64encode(f"user:{TOKEN}".encode()).decode()
SECRETS = ("canary", BASIC, BASIC.rstrip("="), base64.b64encode(TOKEN.encode()).decode().rstrip("="))

USAGE = {"prompt_tokens": 9, "completion_tokens": 3}
ANSWER = json_answer({"model": "gpt-4o", "choices": [{"message": {"content": COMPLETION}}], "usage": USAGE})
STREAM = event_stream(
    {"choices": [{"index": 0, "delta": {"content": COMPLETION}}]}, {"choices": [], "usage": USAGE}, "[DONE]"
)


def found_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret.lower() in text.lower()]


def test_the_search_finds_what_is_there():
    for planted in (TOKEN, f"Basic {BASIC}", PROMPT.upper(), f"{{'content': '{COMPLETION}'}}"):
        assert found_in(f"something {planted} else")
    assert not found_in("a canter, a carny")


# What is sent. Each request is played to its end.


def body(**more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": PROMPT, "name": PROMPT}
    tools = [{"type": "function", "function": {"name": "f", "description": PROMPT, "parameters": {PROMPT: 1}}}]
    return {"model": "gpt-4o", "messages": [message], "tools": tools, "max_tokens": 9, "user": PROMPT, **more}


TOKENS: list[Mapping[str, str]] = [
    {"authorization": f"Bearer {TOKEN}"},
    {"authorization": f"Basic {BASIC}"},
    {"authorization": TOKEN},
    {"x-api-key": TOKEN},
    {"api-key": TOKEN},
    {"x-goog-api-key": TOKEN},
    {"authorization": f"Bearer {TOKEN}", "x-api-key": f"{TOKEN}-other"},
    {"authorization": f"Bearer {TOKEN}", "traceparent": TOKEN, "tracestate": f"a={TOKEN}", "baggage": f"a={PROMPT}"},
    {"authorization": f"Bearer {TOKEN}", "cookie": TOKEN, "x-litellm-api-key": TOKEN},
]

BODIES: list[tuple[str, Any]] = [
    ("/v1/chat/completions", body()),
    ("/v1/chat/completions", body(stream=True)),
    ("/v1/chat/completions", body(max_tokens=PROMPT)),
    ("/v1/chat/completions", json.dumps(body()).encode()[:-9]),
    ("/v1/chat/completions", gzip.compress(json.dumps(body()).encode())),
    ("/v1/chat/completions", PROMPT.encode()),
    ("/v1/completions", {"model": "gpt-4o", "prompt": PROMPT, "max_tokens": 9}),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": [PROMPT]}),
    (
        "/v1/messages",
        {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": PROMPT}]},
    ),
    ("/v1/responses", {"model": "gpt-4o", "input": PROMPT, "instructions": PROMPT}),
    ("/v1beta/models/gemini-2.5-flash:generateContent", {"contents": [{"parts": [{"text": PROMPT}]}]}),
    ("/v1/audio/speech", {"model": "tts-1", "input": PROMPT, "voice": "alloy"}),
    ("/v1/unheard/of", body()),
]

WORD = event({"choices": [{"index": 0, "delta": {"content": COMPLETION}}]})
EVENTS = start(content_type="text/event-stream")

UNFINISHED: list[tuple[list[Any], dict[str, Any]]] = [
    ([*json_answer({"error": {"message": PROMPT}}, status=500)], {}),
    ([RuntimeError(f"cannot send {PROMPT} with {TOKEN}")], {}),
    ([EVENTS, WORD, RuntimeError(COMPLETION)], {}),
    ([start(), chunk(COMPLETION.encode(), is_last=True)], {}),
    ([EVENTS, chunk(f"data: {COMPLETION}\n\n".encode(), is_last=True)], {}),
    ([EVENTS, WORD, client_gone], {"leaves_after": 2}),
    ([EVENTS, WORD, WORD], {"breaks_after": 2}),
    ([*json_answer({"usage": {"cost": COMPLETION}}, x_litellm_response_cost=COMPLETION)], {}),
]


class Scene:
    """Guards over one store that fails as told; `refusals` are what clients were told instead of an answer."""

    def __init__(self, store: RedisStore, folder: Path) -> None:
        self.faults = FaultyStore(store)
        self._folder = folder
        self._guards: list[BudgetMiddleware] = []
        self.refusals: list[str] = []

    def guard(self, *script: Any, **settings: Any) -> BudgetMiddleware:
        (self._folder / "spool").mkdir(exist_ok=True)
        options = {
            "limits": "key=1/day; global=100/day",
            "unknown_model": "free",
            "spool_path": str(self._folder / "spool"),
            "store_timeout_s": "5",
        }
        self._guards.append(BudgetMiddleware(ScriptedApp(*script), store=self.faults.store, **{**options, **settings}))
        assert hasattr(self._guards[-1], "ledger"), "a setting is wrong"
        return self._guards[-1]

    async def ask(self, guard: BudgetMiddleware, asked: Any, **options: Any) -> PlayedRequest:
        options.setdefault("headers", TOKENS[0])
        answered = await call(guard, asked, **options)
        ours = {name: value for name, value in answered.headers.items() if "budget" in name or "ratelimit" in name}
        self.refusals.append(str(ours))
        if answered.status in (400, 402, 429, 503):  # No app here answers so.
            # It may cite to its sender a value that cannot be: it goes no further.
            self.refusals.append(answered.body.decode().replace(f"not '{PROMPT}'", ""))
        return answered

    async def settle(self) -> None:
        for guard in self._guards:
            await guard.ledger.drain()


@pytest.fixture
async def store(server_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    yield store
    await store.aclose()


@pytest.fixture
async def scene(store: RedisStore, tmp_path: Path) -> Scene:
    return Scene(store, tmp_path)


async def play(scene: Scene) -> None:
    guard = scene.guard(*ANSWER)
    for headers in TOKENS:
        await scene.ask(guard, body(), headers=headers)
    for path, asked in BODIES:
        answer = STREAM if isinstance(asked, dict) and asked.get("stream") else ANSWER
        await scene.ask(scene.guard(*answer), asked, path=path)
    await scene.ask(guard, body(), scope={"query_string": f"key={TOKEN}&q={PROMPT}".encode()}, headers={})
    for script, options in UNFINISHED:
        await scene.ask(scene.guard(*script), body(), **options)
    await play_refusals(scene)
    await play_outages(scene)
    await scene.settle()


async def play_refusals(scene: Scene) -> None:
    poor = {"limits": "key=0.000001/day; team=0.000001/day"}
    for settings in (poor, {**poor, "mode": "shadow"}, {**poor, "exhausted_status": 402}):
        await scene.ask(scene.guard(*ANSWER, **settings), body())
    unpriced = scene.guard(*ANSWER, unknown_model="reject")
    assert (await scene.ask(unpriced, body(model="nobodys-model"))).status == 400
    assert (await scene.ask(unpriced, b"{" + PROMPT.encode())).status == 400
    # As who sets `BUDGET_ACCOUNTS` so that a token is the subject of another kind: it is hashed all the same.
    odd = scene.guard(*ANSWER, accounts="team=header:authorization; user=header:x-api-key", limits="team=0.000001/day")
    await scene.ask(odd, body(), headers={"authorization": f"Bearer {TOKEN}", "x-api-key": TOKEN})


async def play_outages(scene: Scene) -> None:
    """Served unprotected, refused, booked late, and left on disk."""
    faults = scene.faults
    faults.meets("reserve", refused, request_lost)
    await scene.ask(scene.guard(*ANSWER), body())
    faults.meets("reserve", refused)
    assert (await scene.ask(scene.guard(*ANSWER, on_store_error="closed"), body())).status == 503
    faults.meets("reserve", reply_lost)
    faults.meets("finalize", request_lost, refused, reply_lost)
    guard = scene.guard(*ANSWER)
    await scene.ask(guard, body())
    await guard.ledger.drain()
    late = scene.guard(start(), _expire_all(scene), chunk(b"{}", is_last=True))
    await scene.ask(late, body())
    faults.always["finalize"] = request_lost
    gone = scene.guard(*ANSWER, store_timeout_s="0.05")
    await scene.ask(gone, body())
    await gone.ledger.drain(timeout_s=0.1)
    faults.always.clear()


def _expire_all(scene: Scene) -> Callable[..., Any]:
    async def expire(*_: Any) -> None:
        for hold in await scene.faults.inner.holds():
            await scene._guards[-1].ledger.expire(hold.id, reason="by nobody: test")

    return expire


# What is left.


async def everything_in(store: RedisStore) -> Iterator[str]:
    client, told = store._client(), []
    async for key in client.scan_iter(match=f"*{store._prefix.strip('{}:')}*"):
        kind = await client.type(key)
        readers = {
            "hash": lambda key=key: client.hgetall(key),
            "zset": lambda key=key: client.zrange(key, 0, -1),
            "stream": lambda key=key: client.xrange(key),
            "string": lambda key=key: client.get(key),
        }
        told.append(f"{key} {await readers[kind]()}")
    return iter(told)


def all_of(span: ReadableSpan) -> str:
    return span.to_json()


def all_of_record(record: logging.LogRecord) -> str:
    text = logging.Formatter().format(record)
    return f"{record.name} {text} {record.args} { ({**record.__dict__, 'exc_info': None}) }"


COMMANDS = (
    ("status", "--all"),
    ("status", "--all", "--json"),
    ("holds", "--json"),
    ("journal", "--limit", "10000"),
    ("journal", "--limit", "10000", "--json"),
    ("audit", "--json"),
    ("limit", "list"),
    ("doctor", "--json"),
)


async def said(store_url: str, namespace: str, *words: str, stdin: str = "") -> str:
    env = {**os.environ, "BUDGET_STORE_URL": store_url, "BUDGET_NAMESPACE": namespace, "BUDGET_LIMITS": "key=1/day"}
    ran = await asyncio.to_thread(forked_command, words, env=env, stdin=stdin)
    return f"{ran.stdout} {ran.stderr}"


async def copied_history(store: RedisStore, folder: Path) -> list[str]:
    """All rows of a database that everything was copied to."""
    writer = HistoryWriter(open_database(f"sqlite:///{folder}/history.db"), "budget", timezone=ZoneInfo("UTC"))
    await Copier(store, writer).copy_all()
    tables = writer.database.fetch("select name from sqlite_master where type = 'table'")
    rows = [str(row) for (table,) in tables for row in writer.database.fetch(f"select * from {table}")]
    writer.close()
    return rows


@pytest.mark.processes
async def test_no_token_no_prompt_and_no_completion_is_anywhere(
    scene: Scene,
    store: RedisStore,
    spans: Spans,
    metric_reader: InMemoryMetricReader,
    *,
    caplog: pytest.LogCaptureFixture,
    server_url: str,
    namespace: str,
    tmp_path: Path,
):
    caplog.set_level(logging.DEBUG)
    await play(scene)
    left = {
        "spans": [all_of(span) for span in spans()],
        "metrics": [metric.to_json() for metric in [metric_reader.get_metrics_data()] if metric is not None],
        "log records": [all_of_record(record) for record in caplog.records],
        "the store": list(await everything_in(store)),
        "the journal": list(map(str, await whole_journal(store))),
        "the log of refusals": list(map(str, await store.refusals())),
        "notes": list(map(str, await store.notes())),
        "the history": await copied_history(store, tmp_path),
        "what waits on disk": [path.read_text() for path in (tmp_path / "spool").rglob("*") if path.is_file()],
        "what clients are told": scene.refusals,
    }
    assert {place for place in left if not left[place]} == set(), "each of them had something to tell"
    accounts = {entry.counter.account for entry in await whole_journal(store)}
    ids = [refusal.reservation_id for refusal in await store.refusals()][:1]
    late = [entry.reservation_id for entry in await whole_journal(store) if entry.status == "finalized_late"][:1]
    assert ids, "somebody was refused"
    assert late, "somebody ended late"
    explained = [("explain", subject) for subject in (*sorted(accounts)[:3], *ids, *late)]
    for words in (*COMMANDS, *explained):
        left[f"`{' '.join(words)}`"] = [await said(server_url, namespace, *words)]
    left["`key-id`"] = [await said(server_url, namespace, "key-id", stdin=TOKEN)]
    leaks = {place: [(found_in(text), text) for text in texts if found_in(text)] for place, texts in left.items()}
    assert {place: found for place, found in leaks.items() if found} == {}
