"""What every test may ask for: a real server, a namespace of its own, an environment with one setting."""

import importlib.metadata
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
import redis

from tests.databases.postgres_server import PostgresServer
from tests.e2e.servers import UnixValkey

# Examples are random, so that every run looks elsewhere; a failure prints what repeats it. No deadline: other
# processes share the machine's cores.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.register_profile("fast", hypothesis.settings.get_profile("ci"), max_examples=20)
hypothesis.settings.load_profile("ci")

# A shell that runs the tests in its background ignores SIGINT, and so would the processes that some of them interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

MOST_BYTES = 6 * 2**30
"""What one process may write to: a test that runs away gets a MemoryError, and the machine keeps its memory.

RLIMIT_DATA counts what is writable: Go, V8 and their like may still reserve as much address space as they want.
"""
if sys.platform == "linux":
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, resource.getrlimit(resource.RLIMIT_DATA)[1]))

# Amounts are tested to the nano-dollar under a fixed rule, also in processes of their own: what is learnt is another
# figure after each answer. Estimates that learn, the default, have tests that ask for them.
EXACT_ESTIMATES = "BUDGET_ESTIMATE"
os.environ[EXACT_ESTIMATES] = "expected"
# The default is a file in the working directory, which tests would share.
STORE_URL = "BUDGET_STORE_URL"
os.environ[STORE_URL] = "memory://"

GIVEN_SERVER_URL = os.environ.get("BUDGET_TEST_REDIS_URL", "")
SESSION = f"test-{uuid4().hex[:8]}"


# The Redis client asks for its own version with each connection, and that parses the metadata of a package anew.
importlib.metadata.version = cache(importlib.metadata.version)  # type: ignore[misc, assignment]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only what starts no server and no process, by few examples")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast"):
        hypothesis.settings.load_profile("fast")


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"subprocess.Popen", "os.posix_spawn"}:
        raise AssertionError(f"it starts a process ({event}), so it needs the mark `processes`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast"):
        slow = {item for item in items if _asks_other_processes(item)}
        config.hook.pytest_deselected(items=list(slow))
        items[:] = [item for item in items if item not in slow]
        sys.addaudithook(_refuse_processes)


def _asks_other_processes(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return (
        item.get_closest_marker("processes") is not None
        or not _SERVERS.isdisjoint(item.fixturenames)
        or any(isinstance(parameter, str) and parameter in _SERVERS for parameter in parameters)
    )


# A server in this process runs the same scripts, slowly: with one in another they are left to `make test`.
_SERVERS = frozenset({"server_url", "empty_server_url", "server", "postgres", "own_postgres", "fakeredis"})


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The store URL of a real server: the given one, else our own Valkey, as long as the session lives."""
    if GIVEN_SERVER_URL:
        yield GIVEN_SERVER_URL
        _remove_session_keys(GIVEN_SERVER_URL)
    else:
        with _own_server() as url:
            yield url


@pytest.fixture
def empty_server_url() -> Iterator[str]:
    """A server that no other test has written to, for what lists all keys over and over."""
    with _own_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A Postgres as long as the session lives; who kills or fills one has one of their own."""
    with tempfile.TemporaryDirectory(prefix="budget-") as folder, PostgresServer(Path(folder)) as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A Postgres for a test that kills it."""
    with tempfile.TemporaryDirectory(prefix="budget-") as folder, PostgresServer(Path(folder)) as server:
        yield server


@contextmanager
def _own_server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="budget-") as folder, UnixValkey(Path(folder)) as server:
        yield server.url


@pytest.fixture
def namespace() -> str:
    """A prefix for store keys that no other test uses."""
    return f"{SESSION}-{uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {EXACT_ESTIMATES, STORE_URL}
    for variable in [name for name in os.environ if name.startswith("BUDGET_") and name not in kept]:
        monkeypatch.delenv(variable)


def _remove_session_keys(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"*{SESSION}*", count=1000):
            client.unlink(key)
