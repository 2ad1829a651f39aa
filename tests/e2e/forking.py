"""Starts uvicorn workers and commands by forking a process that has already imported what all of them import.

Theory of operation. A worker spends half a second of CPU on imports before it serves, as a command does before it
answers, and the tests start hundreds. So each test process keeps one *template*: a process without threads that has
imported uvicorn and this package, and has set up nothing. Each start is a connection to its socket:

    test ──order──> template ──fork──> watcher ──fork──> worker
     <── process id, and later its exit status ──┘

The worker takes the order's environment, arguments and files, and runs the order's module as `python -m uvicorn` and
`python -m budget_middleware` do. To signals, sockets and the store it is a process like any other. The watcher is its
parent: it waits until the worker has ended, and passes the exit status on.
"""

import atexit
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]
_IMPORTED = (
    "budget_middleware",
    "budget_middleware.cli",
    "httpx",
    "opentelemetry.sdk.trace.export",
    "starlette.applications",
    "uvicorn.lifespan.on",
    "uvicorn.main",
    "uvicorn.protocols.http.h11_impl",
    "uvloop",
)
_lock = threading.Lock()
_templates: list["_Template"] = []


class ForkedWorker:
    """One worker, with those methods of a `Popen` that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        errors: Path | None = None,
        stdin: Path | None = None,
        module: str = "uvicorn",
    ) -> None:
        """Start ``module`` with these arguments; its output is appended to ``log``, its errors too or to ``errors``."""
        self.returncode: int | None = None
        self._ended = threading.Event()
        watcher = _template().connect()
        files = {"stdin": str(stdin or os.devnull), "log": str(log), "errors": str(errors or log)}
        order = {"module": module, "arguments": [*arguments], "env": {**env}, **files}
        watcher.sendall(json.dumps(order).encode() + b"\n")
        answers = watcher.makefile("rb")
        self.pid = int(answers.readline())
        threading.Thread(target=self._follow, args=(watcher, answers), daemon=True).start()

    def _follow(self, watcher: socket.socket, answers: io.BufferedReader) -> None:
        with watcher, answers:
            self.returncode = int(answers.readline())
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, as `Popen.wait` says: minus the signal that killed it, or its exit code."""
        if not self._ended.wait(timeout):
            assert timeout is not None
            raise subprocess.TimeoutExpired("uvicorn", timeout)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            # Else its process id may be another's by now.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def forked_command(
    words: Sequence[str], *, env: Mapping[str, str], stdin: str = "", timeout: float = 120
) -> "subprocess.CompletedProcess[str]":
    """Run `budget-middleware` in a process of its own, to its end."""
    with tempfile.TemporaryDirectory(prefix="budget-") as name:
        folder = Path(name)
        given, out, errors = folder / "in", folder / "out", folder / "errors"
        given.write_text(stdin)
        process = ForkedWorker(words, env=env, log=out, errors=errors, stdin=given, module="budget_middleware")
        code = process.wait(timeout)
        return subprocess.CompletedProcess([*words], code, out.read_text(), errors.read_text())


class _Template:
    """This process's template, and its socket; it ends with this process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="budget-")
        path = f"{self._folder.name}/template.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.forking", str(listener.fileno())],
                cwd=_REPOSITORY,
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            )
        self._path = path
        atexit.register(self._end)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        return connection

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


def _template() -> _Template:
    with _lock:
        if not _templates:
            _templates.append(_Template())
        return _templates[0]


# What the template's process does.


def _main() -> None:
    for module in _IMPORTED:
        importlib.import_module(module)
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        order = _next_order(listener)
    if order is not None:
        _become_worker(order)


def _next_order(listener: socket.socket) -> bytes | None:
    """Fork for each order, which returns in its worker; None, in the template, when the test process has ended."""
    # No watcher leaves a zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0 and (order := _watch(connection)) is not None:
                return order
    return None


def _watch(test: socket.socket) -> bytes | None:
    """Fork the worker, where this returns its order; here it ends with this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order = test.makefile("rb").readline()
    worker = os.fork()
    if worker == 0:
        return order
    test.sendall(f"{worker}\n".encode())
    _, status = os.waitpid(worker, 0)
    with suppress(OSError):  # The test process may have ended before.
        test.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become_worker(order: bytes) -> None:
    given = json.loads(order)
    os.environ.clear()
    os.environ.update(given["env"])
    appended = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    for number, (name, flags) in enumerate([("stdin", os.O_RDONLY), ("log", appended), ("errors", appended)]):
        file = os.open(given[name], flags)
        os.dup2(file, number)
        os.close(file)
    sys.argv[1:] = given["arguments"]
    runpy.run_module(given["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
