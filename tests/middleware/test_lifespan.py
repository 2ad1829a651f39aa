"""Lifespans pass through, and a middleware works wherever its app is run: mounted, in threads, after a fork."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import Gate, ScriptedApp, call
from tests.request.wire import KEY, ask, bearer, completion, usage


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Connections of an event loop that is gone cannot be closed: they are collected here, not in a later test."""
    # Only what a test makes is looked at: what other tests have left are a million objects.
    gc.freeze()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def lifespan(app):
    """Play a server's lifespan; returns what the app sent."""
    incoming: asyncio.Queue = asyncio.Queue()
    sent = []

    async def send(message):
        sent.append(message)

    for kind in ("startup", "shutdown"):
        incoming.put_nowait({"type": f"lifespan.{kind}"})
    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, incoming.get, send)
    return [message["type"].removeprefix("lifespan.") for message in sent]


COMPLETED = ["startup.complete", "shutdown.complete"]


def gateway(events=None, **settings):
    """A Starlette gateway with the one line, and a lifespan that tells of itself."""

    async def complete(request):
        return JSONResponse({"choices": [], "usage": usage((await request.json())["max_tokens"])})

    async def live(app):
        events.append("up")
        yield
        events.append("down")

    routes = [Route("/v1/chat/completions", complete, methods=["POST"])]
    app = Starlette(routes=routes, lifespan=asynccontextmanager(live) if events is not None else None)
    app.add_middleware(BudgetMiddleware, limits="key=1/month", **settings)
    return app


async def test_lifespan_passes_through(prices):
    events: list = []
    assert await lifespan(gateway(events, prices=prices)) == COMPLETED
    assert events == ["up", "down"]


async def _returns_at_once(scope, receive, send):
    pass


async def _returns_when_asked(scope, receive, send):
    await receive()


async def _returns_when_started(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})


@pytest.mark.parametrize("app", [_returns_at_once, _returns_when_asked, _returns_when_started])
async def test_an_app_that_knows_no_lifespan_is_answered_for(app):
    """So that the server tells of its shutdown, and holds of such an app are not lost."""
    assert await lifespan(BudgetMiddleware(app)) == COMPLETED


async def test_an_app_without_lifespan_raises_as_it_did():
    async def app(scope, receive, send):
        assert scope["type"] == "http"

    with pytest.raises(AssertionError):
        await lifespan(BudgetMiddleware(app))


async def test_an_app_that_fails_to_start():
    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.failed", "message": "no"})

    assert await lifespan(BudgetMiddleware(app)) == ["startup.failed"]


@pytest.mark.parametrize("kind", ["complete", "failed"])
async def test_shutdown_waits_for_what_is_owed(memory, kind):
    """The ending still waits for the store when the server stops."""
    gate = Gate()

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await ScriptedApp(*completion(600))(scope, receive, send)
        else:
            await send({"type": f"lifespan.shutdown.{kind}"})

    guard = memory.guard(app, store_timeout_s="0.05")
    memory.store_of(guard).before["finalize"] = gate.wait
    assert (await call(guard, ask(600), headers=bearer())).status == 200
    stopping = asyncio.create_task(lifespan(guard))
    await gate.reached()
    assert not stopping.done()
    gate.open()
    assert await stopping == [f"shutdown.{kind}"]
    (view,) = await memory.reader.counters(KEY)
    assert (view.balance.spent, view.balance.reserved) == (600_000_000, 0)


@pytest.mark.parametrize("failing", ["an admin app", "a follower"])
async def test_what_fails_to_stop_cuts_no_shutdown_short(tmp_path, prices, monkeypatch, failing):
    """What is in flight is waited for and booked all the same, and the server hears of the failure."""
    gate, failed = Gate(), asyncio.Event()

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await gate.wait()
            await ScriptedApp(*completion(600))(scope, receive, send)
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def fails(**_):
        failed.set()
        raise OSError("the connection is gone")

    url = f"sqlite:///{tmp_path}/budget.db"
    guard = BudgetMiddleware(app, store_url=url, limits="key=1/month", prices=prices, admin_token="hunter2hunter2")
    monkeypatch.setattr(*((guard._admin, "aclose") if failing == "an admin app" else (guard._followers, "stop")), fails)
    answering = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await gate.reached()
    stopping = asyncio.create_task(lifespan(guard))
    await failed.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stopping.done()
    gate.open()
    assert (await answering).status == 200
    with pytest.raises(OSError, match="the connection is gone"):
        await stopping
    (view,) = await guard.ledger.store.counters(KEY)
    await guard.ledger.store.aclose()
    assert (view.balance.spent, view.balance.reserved) == (600_000_000, 0)


def test_a_test_client_without_with(open_store, prices):
    """Each request runs in an event loop of its own."""
    app = gateway(store=open_store(), prices=prices)
    client = TestClient(app, headers=bearer())
    statuses = [client.post("/v1/chat/completions", json=ask(400)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_a_test_client_with_with(open_store, prices):
    with TestClient(gateway([], store=open_store(), prices=prices), headers=bearer()) as client:
        statuses = [client.post("/v1/chat/completions", json=ask(400)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_a_mounted_app(open_store, prices):
    """Servers tell a mounted app of no lifespan."""
    client = TestClient(Starlette(routes=[Mount("/llm", gateway(store=open_store(), prices=prices))]), headers=bearer())
    assert client.post("/llm/v1/chat/completions", json=ask(600)).status_code == 200
    assert client.post("/llm/v1/chat/completions", json=ask(600)).status_code == 429


def test_event_loops_in_threads(open_store, prices):
    """One middleware, two loops, each with a request inside the app at the same time."""
    both = threading.Barrier(2)

    async def answer(scope, receive, send):
        await asyncio.to_thread(both.wait)
        await ScriptedApp(*completion(300))(scope, receive, send)

    store = open_store()
    guard = BudgetMiddleware(answer, store=store, prices=prices, limits="key=1.5/month", store_timeout_s="10")
    told = []

    async def play():
        statuses = [(await call(guard, ask(300), headers=bearer())).status for _ in range(2)]
        await guard.ledger.drain()
        told.extend(statuses)

    threads = [threading.Thread(target=lambda: asyncio.run(play())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert told == [200] * 4

    async def figures():
        (view,) = await store.counters(KEY)
        await store.aclose()
        return view.balance.spent, view.balance.reserved

    assert asyncio.run(figures()) == (1_200_000_000, 0)


FORKED = """
import asyncio, os, sys
from budget_middleware import BudgetMiddleware
from budget_middleware.testing import ScriptedApp, call, json_answer

app = ScriptedApp(*json_answer({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 400}}))
guard = BudgetMiddleware(app, limits="key=1/month", prices=sys.argv[1], store_url=sys.argv[2], namespace=sys.argv[3])
ASK = {"model": "plain", "max_tokens": 400}

async def play():
    played = await call(guard, ASK, headers={"authorization": "Bearer t"})
    await guard.ledger.drain()
    return played.status

if sys.argv[4] == "used":
    print(asyncio.run(play()), flush=True)
if (child := os.fork()) == 0:
    print(asyncio.run(play()), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(asyncio.run(play()), flush=True)
"""


@pytest.mark.processes
@pytest.mark.parametrize(("before", "statuses"), [("fresh", "200 200"), ("used", "200 200 429")])
def test_a_fork_after_construction(server_url, namespace, prices, before, statuses):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, prices, server_url, namespace, before],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == statuses.split()


def test_another_hash_secret_than_before_is_told_at_the_start(caplog: pytest.LogCaptureFixture):
    store = MemoryStore()
    for secret in ("canary-one", "canary-two"):
        with TestClient(BudgetMiddleware(Starlette(), store=store, hash_secret=secret)):
            pass
    (told,) = [message for message in caplog.messages if "BUDGET_HASH_SECRET" in message]
    assert "of this process differ from those of another gateway of this ledger, last seen at" in told
    assert "canary" not in caplog.text
