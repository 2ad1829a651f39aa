"""Real uvicorn processes for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_PATIENCE_S = 60


@contextmanager
def uvicorn_worker(
    app: str, *, listen: list[str], env: Mapping[str, str], log: Path, within: Sequence[str] = ()
) -> Iterator[subprocess.Popen]:
    """One uvicorn process; what it prints goes to `log`. It is asked to stop, and killed if it does not."""
    command = [*within, sys.executable, "-m", "uvicorn", app, *listen, "--log-level", "warning"]
    with server_process(command, env=env, log=log) as process:
        yield process


@contextmanager
def server_process(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, tree: Path = REPOSITORY
) -> Iterator[subprocess.Popen]:
    """Any server's process, likewise; it runs the code in ``tree``."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=tree, env={**os.environ, **env}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_socket(path: Path, process: subprocess.Popen, log: Path) -> None:
    """Until a server accepts connections at a unix socket; fails at once if its process has ended."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                time.sleep(0.01)
            else:
                return
    raise AssertionError(f"no server at {path}:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"no server at port {port}:\n{log.read_text()}")
