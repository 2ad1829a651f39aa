"""What happened to one gateway, told to Jaeger by `opentelemetry-instrument` as users run it, and to the journal.

Two workers over one store answer, fail, break and are hung up on. An operator credits one key and releases one
hold, whose owner finalizes it late. One worker is killed with a hold, which the other expires.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.servers import INSTRUMENT, REPOSITORY, ServerProcess, instrumented_worker
from tests.jaeger.tracing import Jaeger, Seen

TOKENS = ("sk-ann-7f3e", "sk-bob-7f3e", "sk-eve-7f3e")
PROMPT = "Tell nobody what this prompt says"
LEASE_S = 3
REQUESTS = 48
PLAYS = ("json", "stream", "cancel", "break", "error", "raise")
CREDIT_USD = "-0.000321"
_LONG = 100_000


@dataclass(frozen=True, slots=True)
class Story:
    """``spans_per`` is BUDGET_SPANS of all its processes, ``changes`` are those of counters as Jaeger has them.

    ``status``, ``journal``, ``account`` and ``killed`` (both explained) are what the CLI printed in the end.

    The ids are reservations; ``account`` is the one that was refused.
    """

    jaeger: Jaeger
    spans_per: str
    status: list[dict[str, Any]]
    journal: list[dict[str, Any]]
    changes: list[Seen]
    account: dict[str, Any]
    killed: dict[str, Any]
    killed_id: str
    released_id: str


@contextmanager
def play(jaeger: Jaeger, *, spans_per: str, store_url: str, namespace: str, folder: Path) -> Iterator[Story]:
    (folder / "prices.toml").write_text('[models."test-model"]\ninput = 3\noutput = 7\n')
    env = {
        "BUDGET_STORE_URL": store_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(folder / "prices.toml"),
        "BUDGET_LIMITS": "key=1/total; global=100/total",
        "BUDGET_LEASE_S": str(LEASE_S),
        "BUDGET_STORE_TIMEOUT_S": "30",
        "BUDGET_SPANS": spans_per,
        "BUDGET_TRACE_URL": f"{jaeger.query_url}/api/traces/{{trace_id}}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_TRACES_EXPORTER": "budget_otlp" if spans_per == "verb" else "otlp",
        "OTEL_SERVICE_NAME": jaeger.service,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(name, env, folder)) for name in ("first", "second")]
        yield asyncio.run(_happen(jaeger, workers, env))


@dataclass(frozen=True, slots=True)
class _Worker:
    url: str
    process: ServerProcess


@contextmanager
def _worker(name: str, env: Mapping[str, str], folder: Path) -> Iterator[_Worker]:
    env = {**env, "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={name}"}
    with instrumented_worker(name, env=env, folder=folder) as (port, process):
        yield _Worker(f"http://127.0.0.1:{port}/v1/chat/completions", process)


async def _happen(jaeger: Jaeger, workers: list[_Worker], env: Mapping[str, str]) -> Story:
    spans_per = env["BUDGET_SPANS"]
    async with httpx.AsyncClient(timeout=60) as client:
        async with asyncio.TaskGroup() as group:
            for number in range(REQUESTS):
                group.create_task(_request(client, workers[number % 2], number))
        refused = await client.post(workers[0].url, **_asking("json", TOKENS[0], max_tokens=200_000))
        assert refused.status_code == 429, refused.text
        payer = budget_middleware(env, "key-id", given=TOKENS[0]).strip()
        budget_middleware(env, "adjust", payer, CREDIT_USD, "--reason", "an apology")
        released_id = await _released(client, workers[1], env)
        killed_id = await _killed(jaeger, client, workers[0], env)
    for id_, status in ((released_id, "finalized_late"), (killed_id, "expired")):
        jaeger.wait_for(spans_per=spans_per, tags={"budget.reservation.id": id_, "budget.status": status})
    journal = budget_middleware(env, "journal", "--json", "--limit", "100000").splitlines()
    return Story(
        jaeger,
        spans_per,
        status=json.loads(budget_middleware(env, "status", "--json")),
        journal=[json.loads(line) for line in journal],
        changes=jaeger.wait_for(len(journal), spans_per=spans_per),
        account=json.loads(budget_middleware(env, "explain", payer, "--json")),
        killed=json.loads(budget_middleware(env, "explain", killed_id, "--json")),
        killed_id=killed_id,
        released_id=released_id,
    )


def budget_middleware(env: Mapping[str, str], *words: str, given: str = "") -> str:
    """What the console script prints; its spans say that an operator made them."""
    done = subprocess.run(
        [INSTRUMENT, sys.executable, "-m", "budget_middleware", *words],
        cwd=REPOSITORY,
        env={**os.environ, **env, "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=operator"},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Requests.


async def _request(client: httpx.AsyncClient, worker: _Worker, number: int) -> None:
    """Every second of them has a caller that is traced itself."""
    play = PLAYS[number // 2 % len(PLAYS)]
    traced = {"traceparent": f"00-a{number:031x}-a{number:015x}-01"} if number % 4 < 2 else {}
    asking = _asking(play, TOKENS[number % len(TOKENS)], headers=traced)
    with suppress(httpx.RemoteProtocolError):
        async with client.stream("POST", worker.url, **asking) as answer:
            async for _ in answer.aiter_lines():
                if play == "cancel":
                    break


async def _released(client: httpx.AsyncClient, worker: _Worker, env: Mapping[str, str]) -> str:
    """A hold that an operator gives back in mid-stream; its owner finalizes when the client has gone."""
    async with client.stream("POST", worker.url, **_asking("stream", TOKENS[1], words=_LONG)) as answer:
        id_ = answer.headers["x-budget-reservation-id"]
        await asyncio.to_thread(budget_middleware, env, "release", id_, "--reason", "it hangs")
        return id_


async def _killed(jaeger: Jaeger, client: httpx.AsyncClient, worker: _Worker, env: Mapping[str, str]) -> str:
    """A hold whose worker is killed, once Jaeger knows of it: what is not exported yet dies with a process."""
    async with client.stream("POST", worker.url, **_asking("stream", TOKENS[2], words=_LONG)) as answer:
        id_ = answer.headers["x-budget-reservation-id"]
        tags = {"budget.op": "reserve", "budget.reservation.id": id_}
        await asyncio.to_thread(jaeger.wait_for, spans_per=env["BUDGET_SPANS"], tags=tags)
        worker.process.send_signal(signal.SIGKILL)
        return id_


def _asking(
    play: str, token: str, *, max_tokens: int = 64, words: int = 20, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    body = {
        "model": "test-model",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": max_tokens,
        "metadata": {"play": play, "words": words, "prompt": 40},
    }
    stream = {"stream": True} if play in ("stream", "cancel", "break") else {}
    return {"headers": {"authorization": f"Bearer {token}", **(headers or {})}, "json": body | stream}
