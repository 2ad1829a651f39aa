"""The example's leak, found as docs/jaeger.md walks: from the refusal, by the hold, to the worker that was killed."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.servers import REPOSITORY
from tests.jaeger.tracing import Jaeger

pytestmark = [pytest.mark.jaeger, pytest.mark.processes, pytest.mark.timeout(180)]

LEASE_S = 10


@dataclass(frozen=True, slots=True)
class Played:
    printed: str
    account: str
    env: dict[str, str]
    jaeger: Jaeger

    def explained(self, what: str) -> Any:
        command = [sys.executable, "-m", "budget_middleware", "explain", what, "--json"]
        return json.loads(subprocess.check_output(command, cwd=REPOSITORY, env={**os.environ, **self.env}))


@pytest.fixture(scope="module")
def played(jaeger: Jaeger, server_url: str) -> Played:
    env = {"BUDGET_STORE_URL": server_url, "BUDGET_NAMESPACE": f"play-{uuid4().hex[:8]}"}
    done = subprocess.run(
        [sys.executable, "examples/jaeger/play.py", f"--lease-s={LEASE_S}", "--leave"],
        cwd=REPOSITORY,
        env={**os.environ, **env, "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [account] = set(re.findall(r"explain (key:\w+)", done.stdout))
    return Played(done.stdout, account, env, replace(jaeger, service="llm-gateway"))


def test_the_refusal_says_that_the_budget_is_held(played: Played):
    assert "gets 429" in played.printed
    assert f"The budget of {played.account}" in played.printed
    assert "is held by requests in flight" in played.printed
    refused = played.jaeger.search(operation="budget.reserve", tags={"budget.status": "rejected"})
    assert {(span.tags["budget.account"], span.worker) for span in refused} <= {
        (played.account, worker) for worker in ("worker-1", "worker-3")
    }
    # What stands in the way is what is reserved, not what is spent.
    first = refused[0].tags
    assert first["budget.spent.before_usd"] + first["budget.estimate_usd"] < first["budget.limit_usd"]
    assert first["budget.reserved.before_usd"] > first["budget.limit_usd"] / 2


def test_the_hold_leads_to_the_worker_that_was_killed_and_to_the_one_that_expired_it(played: Played):
    tags = {"budget.account": played.account, "budget.status": "expired"}
    [expired] = played.jaeger.search(operation="budget.counter", tags=tags)
    id_ = expired.tags["budget.reservation.id"]
    life = {span.name: span for span in played.jaeger.search(tags={"budget.reservation.id": id_})}
    assert set(life) == {"budget.reserve", "budget.expire", "budget.counter"}, "nobody ended it"
    assert life["budget.reserve"].worker == "worker-2"
    assert life["budget.expire"].worker in {"worker-1", "worker-3"}
    assert life["budget.expire"].is_error
    assert life["budget.reserve"].id in life["budget.expire"].links


def test_explain_tells_the_same(played: Played):
    told = json.dumps(played.explained(played.account))
    assert "expired" in told
    assert "held" in told
