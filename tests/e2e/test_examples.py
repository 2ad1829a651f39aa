"""The examples behind real uvicorn processes, called through OpenAI's own client."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import openai
import pytest

from budget_middleware.demo.servers import EXAMPLES, serving

pytestmark = pytest.mark.processes

MODEL = "gpt-5-pro"
LIMIT_USD = "0.03"
# Two words at 15 USD, and the answer's twenty at 120 USD per million tokens.
COST_USD = "0.00243"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example gateway in front of the example provider; counters in a file."""
    folder: Path = tmp_path_factory.mktemp("examples")
    with serving("provider:app", {}, log=folder / "provider.log") as upstream:
        settings = {
            "UPSTREAM_URL": upstream,
            "BUDGET_LIMITS": f"key={LIMIT_USD}/total",
            "BUDGET_STORE_URL": f"sqlite:///{folder}/budget.db",
        }
        with serving("gateway:app", settings, log=folder / "gateway.log") as address:
            yield address


@pytest.fixture
def client(gateway, request) -> Iterator[openai.OpenAI]:
    """A client whose key no other test uses."""
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key=f"sk-{request.node.name}", max_retries=0) as client:
        yield client


def ask(client, **more):
    question = {"role": "user", "content": "two words"}
    return client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[question], **{"max_tokens": 100, **more}
    )


def remaining_usd(answer) -> Decimal:
    return Decimal(answer.headers["x-budget-remaining-usd"])


def test_a_whole_answer_tells_its_cost(client):
    answer = ask(client)
    completion = answer.parse()
    assert len(completion.choices[0].message.content.split()) == 20
    assert completion.usage.total_tokens == 22
    assert answer.headers["x-budget-cost-usd"] == COST_USD
    assert remaining_usd(answer) == Decimal(LIMIT_USD) - Decimal(COST_USD)


@pytest.mark.parametrize("wants_usage", [False, True])
def test_a_stream_is_what_was_asked_for_and_books_its_usage(client, wants_usage):
    options = {"stream_options": {"include_usage": True}} if wants_usage else {}
    chunks = list(ask(client, stream=True, **options).parse())
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert len(text.split()) == 20
    assert any(chunk.usage for chunk in chunks) is wants_usage
    # The next request sees it booked.
    assert remaining_usd(ask(client)) == Decimal(LIMIT_USD) - 2 * Decimal(COST_USD)


def test_a_spent_budget_raises_the_clients_own_error(client):
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, max_tokens=1000)
    assert refused.value.code == "budget_exhausted"
    assert "limit $0.03, spent $0.00, reserved $0.00" in refused.value.message
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_a_failed_upstream_costs_nothing(client):
    with pytest.raises(openai.InternalServerError):
        ask(client, extra_headers={"x-provider-fail": "503"})
    assert remaining_usd(ask(client)) == Decimal(LIMIT_USD) - Decimal(COST_USD)


def test_a_stream_that_is_cut_books_what_was_seen(client):
    with pytest.raises(openai.APIError):
        list(ask(client, stream=True, extra_headers={"x-provider-fail": "cut"}).parse())
    seen_usd = Decimal(LIMIT_USD) - Decimal(COST_USD) - remaining_usd(ask(client))
    # By their bytes: ten words are 12 tokens of output, the message is 6 of input.
    assert seen_usd == Decimal("0.00153")


def test_an_upstream_that_is_away_is_told_in_openais_shape(tmp_path):
    settings = {"UPSTREAM_URL": "http://127.0.0.1:9", "BUDGET_STORE_URL": "memory://"}
    with (
        serving("gateway:app", settings, log=tmp_path / "log") as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="sk-x", max_retries=0) as client,
        pytest.raises(openai.InternalServerError, match="The upstream gave no answer: ConnectError"),
    ):
        ask(client)


# A dialect of one's own.


@pytest.fixture(scope="module")
def own_dialect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = {"BUDGET_LIMITS": "key=0.001/total", "BUDGET_UNKNOWN_MODEL": "10/20", "BUDGET_STORE_URL": "memory://"}
    log = tmp_path_factory.mktemp("dialect") / "log"
    with serving("own_dialect:app", settings, log=log) as address, httpx.Client(base_url=address) as client:
        yield client


# Seven tokens of input at 10 USD a million, and six of output at 20.
@pytest.mark.parametrize(("path", "tells_cost"), [("/generate", True), ("/generate_stream", False)])
def test_a_dialect_of_ones_own_is_booked_by_its_usage(own_dialect, path, tells_cost):
    headers = {"authorization": f"Bearer sk{path}"}
    body = {"inputs": "What is a guard?", "parameters": {"max_new_tokens": 20}}
    answer = own_dialect.post(path, json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.headers.get("x-budget-cost-usd") == ("0.00019" if tells_cost else None)
    other = own_dialect.post("/generate", json=body, headers=headers)
    assert other.headers["x-budget-remaining-usd"] == "0.00062"


def test_a_dialect_of_ones_own_refuses_in_its_shape(own_dialect):
    headers = {"authorization": "Bearer sk-two"}
    for tokens, status, kind in ((1000, 429, "spent"), (0, 400, "bad_request")):
        body = {"inputs": "What is a guard?", "parameters": {"max_new_tokens": tokens}}
        refused = own_dialect.post("/generate", json=body, headers=headers)
        assert refused.status_code == status
        assert refused.json()["error_type"] == kind


# Traces.

README = Path(__file__).parents[2] / "README.md"


class Collector(BaseHTTPRequestHandler):
    """Takes what an exporter sends to `/v1/traces`, where names stand as they are, up to the end of a request."""

    received = b""
    has_all = threading.Event()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            Collector.received += body
        if b"budget.finalize" in Collector.received:
            Collector.has_all.set()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_snippet_for_traces_sends_spans(collector, tmp_path):
    snippet = re.search(r"^export OTEL_.*\nOTEL_.*$", README.read_text("utf-8"), re.MULTILINE)
    assert snippet is not None
    script = snippet[0].replace("http://localhost:4318", collector)
    script = script.replace("uvicorn gateway:app", f"uvicorn gateway:app --app-dir {EXAMPLES} --port 0")
    with serving("provider:app", {}, log=tmp_path / "provider.log") as upstream:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
            "UPSTREAM_URL": upstream,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        command = ["sh", "-c", script.replace("opentelemetry-instrument", "exec opentelemetry-instrument")]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                found = (re.search(r"running on (\S+)", line) for line in process.stderr or ())
                address = next(filter(None, found))[1]
                with openai.OpenAI(base_url=f"{address}/v1", api_key="sk-traced", max_retries=0) as client:
                    reservation_id = ask(client).headers["x-budget-reservation-id"]
                assert Collector.has_all.wait(30)
            finally:
                process.terminate()
                process.communicate(timeout=30)
    for name in ("budget.reserve", "budget.counter", reservation_id):
        assert name.encode() in Collector.received
