"""A real Jaeger, and the story of one gateway that it was told: traffic, a killed worker, an operator's hand."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.servers import REPOSITORY, free_port, wait_for_port
from tests.jaeger.story import Story, play
from tests.jaeger.tracing import Jaeger

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


@pytest.fixture(scope="session")
def story(jaeger: Jaeger, server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder: Path = tmp_path_factory.mktemp("story")
    with play(jaeger, store_url=server_url, namespace=f"jaeger-{uuid4().hex[:8]}", folder=folder) as told:
        yield told
