"""A server of the test's own, a proxy in front of it, and real workers that reach the server through the proxy."""

import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from budget_middleware.stores.redis import RedisStore
from tests.e2e.forking import ForkedWorker
from tests.e2e.servers import UnixValkey
from tests.faults.gateway import Gateway, ServerCommand, running_gateway, uvicorn
from tests.faults.proxy import FaultProxy, fault_proxy


class Server(UnixValkey):
    """A Valkey process that a test may kill, pause and start again, with its data or empty."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        """``port`` is for its replicas; 0: none."""
        config = {"appendonly": "yes", "appendfsync": "always", "enable-debug-command": "yes"}
        super().__init__(folder, port=port, data=folder / "data", config=config)

    def kill(self) -> None:
        self.terminate()

    def freeze(self) -> None:
        """It answers nothing, and its connections stay."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def forget(self) -> None:
        """What it knew is gone when it starts again."""
        shutil.rmtree(self.data_dir)
        self.data_dir.mkdir()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def proxy(server: Server, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(server.socket, tmp_path / "proxy.sock") as proxy:
        yield proxy


@pytest.fixture
async def store(server: Server) -> AsyncIterator[RedisStore]:
    """The test's own way to the server, past the proxy."""
    store = RedisStore(server.url, timeout_s=5)
    yield store
    await store.aclose()


StartGateway = Callable[..., Gateway]


@pytest.fixture
def start_gateway(proxy: FaultProxy, tmp_path: Path) -> Iterator[StartGateway]:
    """Starts uvicorn workers; keywords are settings, but for `command` and its `grace_s`."""
    with ExitStack() as stack:

        def start(*, command: ServerCommand = uvicorn, grace_s: int = 10, **settings: str) -> Gateway:
            settings = {"store_url": proxy.url, **settings}
            gateway = stack.enter_context(running_gateway(tmp_path, settings, command=command, grace_s=grace_s))
            if isinstance(gateway.process, ForkedWorker):
                # Asked to stop, it would wait ten seconds for a store that this very thread leads to, or keeps away.
                stack.callback(gateway.process.kill)
            return gateway

        yield start
