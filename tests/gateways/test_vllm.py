"""vLLM's contract for `--middleware`, without vLLM, which is too large to install for a test.

Its documentation: the option takes import paths, each of an ASGI class, which goes to `app.add_middleware`, or of
an async function, which goes to `@app.middleware("http")`. The app is FastAPI's, started by uvicorn.
"""

import importlib
import inspect
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient

from budget_middleware import BudgetMiddleware
from budget_middleware.demo.servers import EXAMPLES

MODEL = "chat"
TOKENS = {"prompt_tokens": 1_000, "completion_tokens": 2_000}
# At the prices of the example: 0.10 and 0.40 USD per million.
COST_USD = "0.0009"


async def chat_completions(request: Request):
    asked = await request.json()
    if asked.get("stream"):
        return StreamingResponse(stream(asked), media_type="text/event-stream")
    choice = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
    return JSONResponse({"object": "chat.completion", "model": MODEL, "choices": [choice], "usage": TOKENS})


async def stream(asked) -> AsyncIterator[str]:
    options = asked.get("stream_options") or {}
    running = {"usage": TOKENS | {"completion_tokens": 1}} if options.get("continuous_usage_stats") else {}
    yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': 'word'}}], **running})}\n\n"
    if options.get("include_usage"):
        yield f"data: {json.dumps({'choices': [], 'usage': TOKENS})}\n\n"
    yield "data: [DONE]\n\n"


class Authentication:
    """vLLM's `--api-key`: pure ASGI, and inside of what `--middleware` names."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        answer = self._app
        if scope["type"] == "http" and (b"authorization", b"Bearer sk-vllm") not in scope["headers"]:
            answer = JSONResponse({"error": "Unauthorized"}, status_code=401)
        await answer(scope, receive, send)


def serve(*middleware: str) -> FastAPI:
    """The app as `vllm serve --middleware ...` builds it."""
    app = FastAPI()
    app.add_api_route("/v1/chat/completions", chat_completions, methods=["POST"])
    app.add_api_route("/v1/models", lambda: {"data": [{"id": MODEL}]})
    app.add_api_route("/tokenize", lambda: {"count": 1}, methods=["POST"])
    app.add_middleware(Authentication)
    for path in middleware:
        module, _, name = path.rpartition(".")
        named: Any = getattr(importlib.import_module(module), name)
        is_class, is_function = inspect.isclass(named), inspect.iscoroutinefunction(named)
        assert is_class or is_function, f"{path} is neither, which ends the server"
        if is_class:
            app.add_middleware(named)
        else:
            app.middleware("http")(named)
    return app


@pytest.fixture
def settings(monkeypatch, tmp_path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(f"[models.{MODEL}]\ninput = 0.1\noutput = 0.4\n")
    monkeypatch.setenv("BUDGET_LIMITS", "key=0.01/day")
    monkeypatch.setenv("BUDGET_PRICES", str(prices))
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture(params=("budget_middleware.BudgetMiddleware", "vllm_budget.Budget"))
def client(request, settings):
    headers = {"authorization": "Bearer sk-vllm"}
    with TestClient(serve(request.param), headers=headers) as client:
        yield client


def ask(client, **more):
    question = {"role": "user", "content": "two words"}
    return client.post("/v1/chat/completions", json={"model": MODEL, "messages": [question], "max_tokens": 10, **more})


def test_it_is_a_class_that_takes_an_app():
    assert inspect.isclass(BudgetMiddleware)
    app, *others = list(inspect.signature(BudgetMiddleware).parameters.values())
    assert app.name == "app"
    assert all(other.default is not other.empty or other.kind is other.VAR_KEYWORD for other in others)


def test_a_whole_answer_and_a_stream(client):
    assert ask(client).headers["x-budget-cost-usd"] == COST_USD
    for options in ({}, {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}):
        streamed = ask(client, stream=True, **options)
        assert streamed.text.count('"usage"') == (2 if options else 0)
        assert streamed.text.endswith("data: [DONE]\n\n")
    assert ask(client).headers["x-budget-remaining-usd"] == "0.0064"


def test_a_spent_budget(client):
    refused = ask(client, max_tokens=1_000_000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exhausted")


def test_what_is_free_stays_free(client):
    assert client.get("/v1/models").status_code == 200
    assert client.post("/tokenize", json={}).status_code == 200
    assert ask(client).headers["x-budget-remaining-usd"] == "0.0091"


def test_a_key_that_vllm_refuses_costs_nothing(client):
    refused = client.post("/v1/chat/completions", json={"model": MODEL}, headers={"authorization": "Bearer sk-other"})
    assert refused.status_code == 401
    assert not [name for name in refused.headers if name.startswith("x-budget")]
    assert ask(client).headers["x-budget-remaining-usd"] == "0.0091"
