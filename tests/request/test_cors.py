"""F65: what a browser sees of a refusal, behind a real uvicorn, with the CORS layer outside and inside."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from budget_middleware import BudgetMiddleware
from budget_middleware.request.unmetered.cors import CorsWatch
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.notes import Topic
from budget_middleware.testing import chunk, start

ORIGIN = "https://app.example"
PATH = "/v1/chat/completions"
BODY = '{"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}'
ALLOWED: dict[str, Any] = {"allow_origins": [ORIGIN], "allow_methods": ["POST"], "allow_headers": ["*"]}


class NetworkError(Exception):
    """All that a page is told of an answer that it may not read."""


class Browser:
    """A page's fetch(): a preflight first, and an answer is shown only to the origin that it names."""

    def __init__(self, port: int) -> None:
        self._port = port

    def fetch(self, path: str = PATH) -> int:
        preflight = self._send(
            "OPTIONS",
            path,
            {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"},
        )
        if not 200 <= preflight.status < 300:
            raise NetworkError(f"preflight {preflight.status}")
        if "authorization" not in (preflight.getheader("access-control-allow-headers") or ""):
            raise NetworkError("headers")
        headers = {"authorization": "Bearer sk-one", "content-type": "application/json"}
        return self._send("POST", path, headers, BODY).status

    def _send(self, method: str, path: str, headers: dict[str, str], body: str = "") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request(method, path, body, {"origin": ORIGIN, **headers})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.getheader("access-control-allow-origin") not in (ORIGIN, "*"):
            raise NetworkError(f"{method} {answer.status}")
        return answer


@contextmanager
def serving(app) -> Iterator[Browser]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield Browser(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


def gateway() -> Starlette:
    async def complete(_):
        return JSONResponse({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}})

    return Starlette(routes=[Route(PATH, complete, methods=["POST"]), Route("/own", complete, methods=["POST"])])


def test_f65_a_browser_reads_a_refusal_where_cors_stands_outside(caplog: pytest.LogCaptureFixture):
    app = gateway()
    app.add_middleware(BudgetMiddleware, store=MemoryStore(), limits="key=0/day")
    app.add_middleware(CORSMiddleware, **ALLOWED)
    with serving(app) as browser:
        assert browser.fetch() == 429
        assert browser.fetch("/own") == 200
    assert "CORS" not in caplog.text


def test_around_any_asgi_app(caplog: pytest.LogCaptureFixture):
    guard = BudgetMiddleware(gateway(), store=MemoryStore(), limits="key=0/day")
    with serving(CORSMiddleware(guard, **ALLOWED)) as browser:
        assert browser.fetch() == 429
    assert "CORS" not in caplog.text


def test_two_cors_layers_as_around_litellm(caplog: pytest.LogCaptureFixture):
    app = gateway()
    app.add_middleware(CORSMiddleware, **ALLOWED)
    app.add_middleware(BudgetMiddleware, store=MemoryStore(), limits="key=1/day")
    app.add_middleware(CORSMiddleware, **ALLOWED)
    with serving(app) as browser:
        assert browser.fetch() == 200
    assert "CORS" not in caplog.text


async def test_f65_cors_inside_is_told_by_the_log_and_by_doctor(caplog: pytest.LogCaptureFixture):
    """What `doctor` says of the note: `test_what_gateways_noted`."""
    app, store = gateway(), MemoryStore()
    app.add_middleware(CORSMiddleware, **ALLOWED)
    app.add_middleware(BudgetMiddleware, store=store, limits="key=0/day")
    with serving(app) as browser:
        assert browser.fetch("/own") == 200
        assert "CORS" not in caplog.text, "it is no API that we refuse"
        for _ in range(2):
            with pytest.raises(NetworkError, match="POST 429"):
                browser.fetch()
    (told,) = [message for message in caplog.messages if "CORS" in message]
    assert told.startswith("a CORS layer stands inside BudgetMiddleware: refusals have no CORS headers")
    assert [note.text for note in await store.notes() if note.topic is Topic.CORS] == [PATH]


async def test_only_preflights_are_looked_at():
    paths: list[str] = []

    def told(path: str) -> bool:
        paths.append(path)
        return path == "/b"

    watch = CorsWatch(told)

    async def send(_):
        pass

    asking = [(b"origin", b"x"), (b"access-control-request-method", b"POST")]
    headers: dict[str, Any] = {"Access-Control-Allow-Origin": "*"}
    allowed = start(**headers)
    assert watch.watch({"path": "/", "headers": []}, send) is send
    for path, answer in (("/none", start()), ("/a", allowed), ("/b", allowed), ("/c", allowed)):
        watched = watch.watch({"path": path, "headers": asking}, send)
        await watched(answer)
        await watched(chunk(is_last=True))
    assert paths == ["/a", "/b"]
