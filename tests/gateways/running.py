"""Gateways as real processes of the environment that `make test-gateways` fills, and what they booked."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from budget_middleware.core.answers import Entry
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.demo.servers import EXAMPLES
from budget_middleware.stores.redis import RedisStore

PYTHON = os.environ.get("GATEWAYS_PYTHON", sys.executable)
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
# LiteLLM takes half a minute to import where two cores serve everybody.
PATIENCE_S = 120

SERVERS: Mapping[str, Callable[[str, int], list[str]]] = {
    "uvicorn": lambda app, port: ["uvicorn", app, "--host", "127.0.0.1", "--port", str(port)],
    "hypercorn": lambda app, port: ["hypercorn", app, "--bind", f"127.0.0.1:{port}"],
    "granian": lambda app, port: ["granian", app, "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)],
}
"""The command line of each server, for an app and a port."""


@contextmanager
def running(app: str, *, server: str = "uvicorn", env: Mapping[str, str], log: Path) -> Iterator[str]:
    """A gateway's address; it sees no `BUDGET_*` but those of `env`. It is asked to stop, and killed if it does not."""
    port = _free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BUDGET_")}
    # Amounts are exact under a fixed rule: see tests/conftest.py.
    inherited |= {"BUDGET_ESTIMATE": "expected", "BUDGET_STORE_URL": "memory://"}
    paths = {"PYTHONPATH": f"{EXAMPLES}:{HERE}:{REPOSITORY}", "NO_PROXY": "127.0.0.1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PYTHON, "-m", *SERVERS[server](app, port)],
            env={**inherited, **paths, **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            # A server with workers is ended as a whole.
            start_new_session=True,
        )
    try:
        _wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the gateway ended with {process.poll()}:\n{log.read_text()[-4000:]}")


class Books:
    """What gateways have booked in the store that they share."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._namespace = namespace
        self.env = {"BUDGET_STORE_URL": url, "BUDGET_NAMESPACE": namespace, "BUDGET_STORE_TIMEOUT_S": "10"}

    async def of(self, account: str) -> tuple[str, str]:
        """Spent and reserved of an account's only counter, once no request holds anything of it any more."""
        async with self._open() as store:
            async with asyncio.timeout(30):
                while account in await held_accounts(store):
                    await asyncio.sleep(0.05)
            balances = [view.balance for view in await store.counters(account)]
        if not balances:
            # A counter that is back at nothing is dropped; the journal still tells of it.
            assert await self.last_entry(account)
            return "0.00", "0.00"
        assert len(balances) == 1, f"{account}: {balances}"
        return usd_from_nanos(balances[0].spent), usd_from_nanos(balances[0].reserved)

    async def last_entry(self, account: str) -> Entry:
        async with self._open() as store:
            return (await store.latest(account=account, count=1))[-1]

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[RedisStore]:
        store = RedisStore(self._url, namespace=self._namespace, timeout_s=10)
        try:
            yield store
        finally:
            await store.aclose()


async def held_accounts(store: RedisStore) -> set[str]:
    return {target.account for hold in await store.holds() for target in hold.targets}


def account_of(token: str) -> str:
    return f"key:{key_id(token)}"
