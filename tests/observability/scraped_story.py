"""What happens to three workers while a real Prometheus scrapes them, and what its expressions answer meanwhile.

They answer, refuse and let pass; the first is killed with a hold; then the store goes away, from the second, which
serves all the same, and from the third, which refuses. Whatever is to show a rate happens twice, with a scrape
between: a series that is new has none.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.servers import REPOSITORY, ServerProcess, free_port, instrumented_worker
from tests.faults.fixtures import Server
from tests.observability.prometheus import EXAMPLES, Prometheus, Sample, running_prometheus

WINDOW = "2m"
"""What `$__rate_interval` stands for: longer than the story."""
SPOOL_MAX = 2
ANSWERED = 3
"""So many good answers a worker and round; the error after them is complete, too."""
_LONG = 100_000
_DEAR = 130_000
"""So many tokens cost nearly all that a key has."""


@dataclass(slots=True)
class Story:
    """``busy`` and ``away`` are what each expression of the dashboard answered while requests ran, and while the store
    was away; ``firing`` are the alerts that fired then.
    """

    prometheus: Prometheus
    cost_usd: float = 0.0
    spent_usd: Decimal = Decimal()
    held_usd: Decimal = Decimal()
    busy: Mapping[str, list[Sample]] = field(default_factory=dict)
    away: Mapping[str, list[Sample]] = field(default_factory=dict)
    firing: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()


def panels() -> list[dict[str, Any]]:
    document = json.loads((EXAMPLES / "dashboard.json").read_text())
    found: list[dict[str, Any]] = document["panels"]
    return found


def expressions(panel: Mapping[str, Any]) -> list[str]:
    """As Grafana sends them."""
    exprs = [target["expr"] for target in panel["targets"]]
    return [expr.replace("$__rate_interval", WINDOW).replace("$job", ".*") for expr in exprs]


@dataclass(frozen=True, slots=True)
class _Worker:
    url: str
    metrics_port: int
    process: ServerProcess


@contextmanager
def play(folder: Path) -> Iterator[Story]:
    store = Server(folder)
    store.start()
    (folder / "prices.toml").write_text('[models."test-model"]\ninput = 3\noutput = 7\n')
    env = {
        "BUDGET_STORE_URL": store.url,
        "BUDGET_PRICES": str(folder / "prices.toml"),
        "BUDGET_LIMITS": "key=1/total; global=100/total",
        "BUDGET_LEASE_S": "3",
        "BUDGET_SPOOL_MAX": str(SPOOL_MAX),
        "BUDGET_STORE_TIMEOUT_S": "2",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "gateway",
    }
    with ExitStack() as stack:
        stack.callback(store.kill)
        policies = {"first": "open", "second": "open", "third": "closed"}
        workers = [
            stack.enter_context(_worker(name, {**env, "BUDGET_ON_STORE_ERROR": policy}, folder))
            for name, policy in policies.items()
        ]
        ports = [worker.metrics_port for worker in workers]
        story = Story(stack.enter_context(running_prometheus(folder, ports=ports)))
        with httpx.Client(timeout=60) as client:
            _happen(story, client, workers, store, env)
        yield story


@contextmanager
def _worker(name: str, env: Mapping[str, str], folder: Path) -> Iterator[_Worker]:
    metrics_port = free_port()
    env = {**env, "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port)}
    with instrumented_worker(name, env=env, folder=folder) as (port, process):
        yield _Worker(f"http://127.0.0.1:{port}", metrics_port, process)


def _happen(story: Story, client: httpx.Client, workers: list[_Worker], store: Server, env: Mapping[str, str]) -> None:
    first, second, third = workers
    for round_ in (1, 2):
        for worker in workers:
            _traffic(client, worker)
        n_complete = round_ * (ANSWERED + 1) * len(workers)
        story.prometheus.wait_for('sum(budget_requests_total{status="complete"})', at_least=n_complete)
    story.prometheus.wait_for('sum(budget_requests_total{status="client_gone"})', at_least=round_ * len(workers))
    story.cost_usd = story.prometheus.value("sum(budget_cost_total)")
    [total] = _budget_middleware(env, "status", "global")
    story.spent_usd = Decimal(total["spent_usd"])
    with _stream(client, first, "ann"):
        first.process.send_signal(signal.SIGKILL)
    story.prometheus.wait_for("sum(budget_reservations_expired_total)", at_least=1)
    with _stream(client, second, "bob"):
        # By then it has been swept: a third of a lease is a second.
        story.prometheus.wait_for("max(budget_reservations_oldest_seconds)", at_least=1.5)
        [hold] = _budget_middleware(env, "holds")
        story.held_usd = Decimal(hold["amount_usd"])
        story.busy = _answers(story.prometheus)
    _go_away(story, client, second, third, store)


def _traffic(client: httpx.Client, worker: _Worker) -> None:
    """One of each kind."""
    for play in ("json",) * ANSWERED:
        assert _ask(client, worker, play).status_code == 200
    assert _ask(client, worker, "error").status_code == 500
    assert _ask(client, worker, "json", max_tokens=2 * _DEAR).status_code == 429
    assert _ask(client, worker, "json", max_tokens=-5).status_code == 400
    assert _ask(client, worker, "json", model="no-such-model").status_code == 400
    assert _ask(client, worker, "json", path="/v1/no-such-route").status_code == 200
    with _stream(client, worker, "eve"):
        assert _ask(client, worker, "json", token="eve", max_tokens=_DEAR).status_code == 429


def _go_away(story: Story, client: httpx.Client, second: _Worker, third: _Worker, store: Server) -> None:
    store.kill()
    for round_ in (1, 2):
        for _ in range(SPOOL_MAX):
            assert _ask(client, second, "json").status_code == 200
            assert _ask(client, third, "json").status_code == 503
        for status in ("unprotected", "unavailable"):
            counted = f'sum(budget_requests_total{{status="{status}"}})'
            story.prometheus.wait_for(counted, at_least=round_ * SPOOL_MAX)
    story.prometheus.wait_for("sum(budget_spool_lost_total)", at_least=1)
    story.prometheus.wait_for('count(ALERTS{alertstate="firing"})', at_least=4)
    story.away = _answers(story.prometheus)
    alerts = [each.labels for each in story.prometheus.query("ALERTS")]
    story.firing = frozenset(each["alertname"] for each in alerts if each["alertstate"] == "firing")
    story.pending = frozenset(each["alertname"] for each in alerts if each["alertstate"] == "pending")
    store.start()
    story.prometheus.wait_for("sum(budget_spool_size)", at_most=0)


def _answers(prometheus: Prometheus) -> dict[str, list[Sample]]:
    return {expr: prometheus.query(expr) for panel in panels() for expr in expressions(panel)}


def _budget_middleware(env: Mapping[str, str], *words: str) -> list[dict[str, Any]]:
    own = {name: value for name, value in env.items() if name.startswith("BUDGET_")}
    printed = subprocess.check_output(
        [sys.executable, "-m", "budget_middleware", *words, "--json"], cwd=REPOSITORY, env={**os.environ, **own}
    )
    found: list[dict[str, Any]] = json.loads(printed)
    return found


# Requests.


def _ask(
    client: httpx.Client, worker: _Worker, play: str, *, path: str = "/v1/chat/completions", **options: Any
) -> httpx.Response:
    token = options.pop("token", "ann")
    return client.post(worker.url + path, headers={"authorization": f"Bearer sk-{token}"}, json=_body(play, **options))


@contextmanager
def _stream(client: httpx.Client, worker: _Worker, token: str) -> Iterator[None]:
    """A request that holds nearly all that its key has, until its client leaves."""
    body = _body("stream", max_tokens=_DEAR, words=_LONG)
    headers = {"authorization": f"Bearer sk-{token}"}
    with client.stream("POST", f"{worker.url}/v1/chat/completions", headers=headers, json=body) as answer:
        assert answer.status_code == 200
        yield


def _body(play: str, *, max_tokens: int = 64, words: int = 40, model: str = "test-model") -> dict[str, Any]:
    body = {"model": model, "messages": [], "max_tokens": max_tokens}
    metadata = {"play": play, "words": words, "prompt": 40, "pause": 0.01}
    return {**body, "metadata": metadata, **({"stream": True} if play == "stream" else {})}
