"""The demo's processes: a provider and two gateways, which share a file. None of them outlives it."""

import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from budget_middleware.operations.admin_extra import missing_extra
from budget_middleware.stores.base import Store
from budget_middleware.stores.opening import open_store
from budget_middleware.stores.retention import Retention

_HERE = Path(__file__).parent
# A wheel carries the examples beside this file; in a checkout they stand at the top.
EXAMPLES = next(folder for folder in (_HERE / "examples", _HERE.parents[1] / "examples") if folder.is_dir())

ADMIN_PATH = "/budget"
"""The default of BUDGET_ADMIN_PATH."""

_NAMESPACE = "demo"
_START_S = 30
_STOP_S = 5
_LISTENS_AT = re.compile(r"Uvicorn running on (http://\S+)")


@dataclass(frozen=True, slots=True)
class Servers:
    """The addresses of the gateways, the store that they share, and a file that has their settings for a shell.

    ``admin_token`` opens the dashboard; it is empty where the extra for that is not installed.
    """

    gateways: tuple[str, ...]
    store: Store
    settings_file: Path
    admin_token: str


@contextmanager
def running(*, limits: str, accounts: str) -> Iterator[Servers]:
    """Provider, store and gateways with these limits and this accounts file; RuntimeError if one does not start."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budget-")))
        (folder / "accounts.toml").write_text(accounts)
        url = f"sqlite:///{folder / 'budget.db'}"
        store = open_store(url, namespace=_NAMESPACE, timeout_s=5, retention=Retention())
        settings = {
            "BUDGET_STORE_URL": url,
            "BUDGET_NAMESPACE": _NAMESPACE,
            "BUDGET_LIMITS": limits,
            "BUDGET_ACCOUNTS_FILE": str(folder / "accounts.toml"),
        }
        if not missing_extra():
            settings["BUDGET_ADMIN_TOKEN"] = secrets.token_hex(16)
        file = folder / "demo.env"
        file.write_text("".join(f"{name}={shlex.quote(text)}\n" for name, text in settings.items()))
        upstream = stack.enter_context(serving("provider:app", {}, log=folder / "provider.log"))
        environment = {**settings, "UPSTREAM_URL": upstream}
        logs = [folder / f"gateway-{number}.log" for number in (1, 2)]
        gateways = [stack.enter_context(serving("gateway:app", environment, log=log)) for log in logs]
        yield Servers(tuple(gateways), store, file, settings.get("BUDGET_ADMIN_TOKEN", ""))


@contextmanager
def serving(app: str, environment: Mapping[str, str], *, log: Path) -> Iterator[str]:
    """Run an app of the examples in a uvicorn process of its own; yields its address, ends with SIGTERM.

    It sees no `BUDGET_*` but those of `environment`. RuntimeError has its log if it does not start.
    """
    command = [sys.executable, "-m", "uvicorn", app, "--app-dir", str(EXAMPLES), "--port", "0", "--no-access-log"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BUDGET_")}
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own examples
            command,
            # A proxy of the environment is not meant for this machine's own servers.
            env={**inherited, **environment, "NO_PROXY": "127.0.0.1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            # In a session of its own, Ctrl-C does not reach it: its starter ends it.
            start_new_session=True,
        )
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        if found := _LISTENS_AT.search(log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise RuntimeError(f"a server of the demo did not start: {log.read_text()[-2000:]}")
