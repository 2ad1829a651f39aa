"""Whole processes under `opentelemetry-instrument`: what they export over OTLP is what the journal says, all of it."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import INSTRUMENT, free_port, uvicorn_worker, wait_for_port
from tests.faults.proxy import Fault, fault_proxy
from tests.stores.audit import audit
from tests.telemetry.conftest import BOTH_SETTINGS
from tests.telemetry.otlp import Receiver, receiver
from tests.telemetry.proof import attribute, id_of, named, prove

pytestmark = pytest.mark.processes

PLAYS = ("json", "stream", "cancel", "break", "error", "raise")
REQUESTS = 96
WORKERS = 2


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def gateway(collector: Receiver, server_url: str, namespace: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a worker that is traced."""
    (tmp_path / "prices.toml").write_text('[models."test-model"]\ninput = 3\noutput = 7\n')
    return {
        "BUDGET_STORE_URL": server_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_PRICES": str(tmp_path / "prices.toml"),
        # So little that some of them are refused.
        "BUDGET_LIMITS": "key=0.004/total; global=100/day",
        "BUDGET_STORE_TIMEOUT_S": "30",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
    }


def asking(number: int) -> dict[str, Any]:
    play = PLAYS[number % len(PLAYS)]
    body: dict[str, Any] = {
        "model": "test-model",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 64,
        "metadata": {"play": play, "words": 20, "prompt": 40},
    }
    if play in ("stream", "cancel", "break"):
        body["stream"] = True
    traced = {"traceparent": f"00-a{number:031x}-a{number:015x}-01"} if number % 2 else {}
    return {"headers": {"authorization": f"Bearer sk-{number % 3}", **traced}, "json": body}


async def ask(client: httpx.AsyncClient, url: str, number: int) -> int:
    with suppress(httpx.RemoteProtocolError):
        async with client.stream("POST", url, **asking(number)) as answer:
            async for _ in answer.aiter_lines():
                if PLAYS[number % len(PLAYS)] == "cancel":
                    break
        return answer.status_code
    return 0


async def traffic(
    env: dict[str, str], folder: Path, *, app: str = "tests.e2e.worker:app", within: tuple[str, ...] = (INSTRUMENT,)
) -> Counter[int]:
    """Statuses of all answers; the workers have stopped, and so have sent what they had to tell."""
    stack = ExitStack()
    try:
        urls = [
            await asyncio.to_thread(_worker, stack, number, env=env, folder=folder, app=app, within=within)
            for number in range(WORKERS)
        ]
        async with httpx.AsyncClient(timeout=60) as client:
            asked = (ask(client, urls[number % WORKERS], number) for number in range(REQUESTS))
            return Counter(await asyncio.gather(*asked))
    finally:
        # They end what they owe first, perhaps through a proxy in this very loop.
        await asyncio.to_thread(stack.close)


def _worker(
    stack: ExitStack, number: int, *, env: dict[str, str], folder: Path, app: str, within: tuple[str, ...]
) -> str:
    port, log = free_port(), folder / f"{number}.log"
    own = {"SERVED_LOG": str(folder / f"{number}.served")}
    process = stack.enter_context(
        uvicorn_worker(app, listen=["--port", str(port)], env={**env, **own}, log=log, within=within)
    )
    wait_for_port(port, process, log)
    return f"http://127.0.0.1:{port}/v1/chat/completions"


@pytest.mark.parametrize(
    ("spans_per", "exporter"), [("counter", "otlp"), ("counter", "budget_otlp"), ("verb", "budget_otlp")]
)
async def test_what_two_workers_export_is_the_journal(
    collector: Receiver,
    gateway: dict[str, str],
    *,
    spans_per: str,
    exporter: str,
    server_url: str,
    namespace: str,
    tmp_path: Path,
):
    env = {**gateway, "BUDGET_SPANS": spans_per, "OTEL_TRACES_EXPORTER": exporter}
    statuses = await traffic(env, tmp_path)
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    try:
        spans = collector.spans()
        entries = await prove(store, [span for span in spans if span.name.startswith("budget.")])
        # A client that leaves may cancel a call on its way, whose entries are then read from the journal.
        assert spans_per == "verb" or not any(span.events for span in spans)
        assert {entry.op.value for entry in entries} >= {"reserve", "finalize", "release"}
        refused = [span for span in named(spans, "budget.reserve") if attribute(span, "budget.status") == "rejected"]
        assert len(refused) == statuses[429] > 0
        assert sum(refusal.times for refusal in await store.refusals()) == statuses[429]
        assert_parents(spans)
        await audit(store)
    finally:
        await store.aclose()


def assert_parents(spans: list[ReadableSpan]) -> None:
    """Callers that were traced are the parents of both verbs; the others' verbs are roots that are linked."""
    reserves = {id_of(span): span for span in named(spans, "budget.reserve")}
    traced = [span for span in reserves.values() if span.parent]
    assert len(traced) == REQUESTS / 2
    assert all(f"{span.parent.span_id:016x}".startswith("a0") for span in traced if span.parent)
    for span in (*named(spans, "budget.finalize"), *named(spans, "budget.release")):
        (link,) = span.links
        reserve = reserves[f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}"]
        assert span.parent == reserve.parent


@BOTH_SETTINGS
async def test_what_a_bad_network_hides_is_told_from_the_journal(
    collector: Receiver,
    gateway: dict[str, str],
    *,
    spans_per: str,
    empty_server_url: str,
    namespace: str,
    tmp_path: Path,
):
    """Lost commands, lost replies and repeats: every entry that was written is told, by one span or event."""
    async with fault_proxy(Path(empty_server_url.removeprefix("unix://")), tmp_path / "proxy.sock") as proxy:
        for verb in ("reserve", "finalize", "release"):
            proxy.plan(verb, *[Fault.LOSE_REPLY, Fault.LOSE_REQUEST, Fault.DUPLICATE] * 2)
        proxy.plan("zrangebyscore", Fault.LOSE_REPLY)
        env = {
            **gateway,
            "BUDGET_STORE_URL": proxy.url,
            "BUDGET_LIMITS": "key=9/total; global=100/day",
            "BUDGET_SPANS": spans_per,
        }
        statuses = await traffic(env, tmp_path)
        # Not all, perhaps: a store that is away is not asked for a second, and requests are served unprotected.
        assert all(len(proxy._plans[verb]) <= 3 for verb in ("reserve", "finalize", "release")), "each fault happened"
    assert statuses[200]
    store = RedisStore(empty_server_url, namespace=namespace, timeout_s=10)
    try:
        await prove(store, [span for span in collector.spans() if span.name.startswith("budget.")])
        await audit(store)
    finally:
        await store.aclose()


async def test_fastapi_that_configures_itself(
    collector: Receiver, gateway: dict[str, str], server_url: str, namespace: str, tmp_path: Path
):
    """Every verb hangs below FastAPI's own span of its request."""
    env = {**gateway, "FASTAPI_OTEL_AUTO_CONFIGURE": "true", "BUDGET_LIMITS": "key=9/total"}
    statuses = await traffic(env, tmp_path, app="tests.telemetry.fastapi_worker:app", within=())
    assert statuses == {200: REQUESTS}
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    try:
        spans = collector.spans()
        await prove(store, [span for span in spans if span.name.startswith("budget.")])
    finally:
        await store.aclose()
    servers = {id_of(span) for span in spans if span.kind is SpanKind.SERVER}
    verbs = [*named(spans, "budget.reserve"), *named(spans, "budget.finalize")]
    assert len(verbs) == 2 * len(servers) == 2 * REQUESTS
    parents = Counter((f"{s.parent.trace_id:032x}", f"{s.parent.span_id:016x}") for s in verbs if s.parent)
    assert parents == dict.fromkeys(servers, 2)
