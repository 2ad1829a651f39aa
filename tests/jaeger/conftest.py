"""A real Jaeger, and the story of one gateway that it was told: traffic, a killed worker, an operator's hand."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.servers import REPOSITORY, free_port, wait_for_port
from tests.jaeger.traced_story import Story, play
from tests.jaeger.tracing import SERVICE, Jaeger

BINARY = REPOSITORY / "build" / "jaeger"


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    if not BINARY.exists():
        pytest.fail("there is no build/jaeger: make jaeger-binary (needs Go)", pytrace=False)
    otlp, query = free_port(), free_port()
    log = tmp_path_factory.mktemp("jaeger") / "log"
    command = ["bash", ".ci/jaeger", "run", str(BINARY), str(otlp), str(query)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
    try:
        for port in (otlp, query):
            wait_for_port(port, process, log)
        yield Jaeger(f"http://127.0.0.1:{otlp}", f"http://127.0.0.1:{query}")
    finally:
        process.kill()  # It has nothing to keep, and asked to stop it takes its time.
        process.wait()


@pytest.fixture(scope="session", params=["counter", "verb"])
def story(
    request: pytest.FixtureRequest, jaeger: Jaeger, server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """One for each BUDGET_SPANS, under a service name of its own; events come by the leaner exporter."""
    own = replace(jaeger, service=f"{SERVICE}-{request.param}")
    folder: Path = tmp_path_factory.mktemp("story")
    namespace = f"jaeger-{uuid4().hex[:8]}"
    with play(own, spans_per=request.param, store_url=server_url, namespace=namespace, folder=folder) as told:
        yield told
