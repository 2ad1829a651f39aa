"""What every test may ask for: a real server, a namespace of its own, an environment with one setting."""

import gc
import importlib.metadata
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import FrameType
from uuid import uuid4

import hypothesis
import pytest
import redis
from _pytest.runner import runtestprotocol

from tests.databases.postgres_server import PostgresServer
from tests.e2e.servers import UnixValkey

# Examples are random, so that every run looks elsewhere; a failure prints what repeats it. No deadline: other
# processes share the machine's cores.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.register_profile("fast", hypothesis.settings.get_profile("ci"), max_examples=20)
hypothesis.settings.load_profile("ci")


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.default_int_handler(number, frame)


# A shell that runs the tests in its background ignores SIGINT, and so would the processes that some of them interrupt.
# It is a function of our own because asyncio replaces Python's for each run of an event loop, which costs more CPU than
# many a test and its fixtures.
signal.signal(signal.SIGINT, _interrupt)

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
# No other setting of whoever runs the tests counts. Once is enough: what a test sets, pytest takes back.
for _name in {name for name in os.environ if name.startswith("BUDGET_")} - {EXACT_ESTIMATES, STORE_URL}:
    del os.environ[_name]
SESSION = f"test-{uuid4().hex[:8]}"
_TESTS = Path(__file__).parent
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_IS_ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Which of a run's processes this is; one that takes the place of a process that died has a number beyond them."""

REMOVE = """
local cursor = "0"
repeat
  local found = redis.call("SCAN", cursor, "MATCH", ARGV[1], "COUNT", 10000)
  cursor = found[1]
  for _, key in ipairs(found[2]) do redis.call("UNLINK", key) end
until cursor == "0"
"""
_removals: list[Callable[..., object]] = []
"""Removes keys of the session's server, if any test has asked for one."""


# The Redis client asks for its own version with each connection, and that parses the metadata of a package anew.
importlib.metadata.version = cache(importlib.metadata.version)  # type: ignore[misc, assignment]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only quick tests without a server or a process")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast"):
        hypothesis.settings.load_profile("fast")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests and all modules stay until the end: no garbage collection needs to look at them, ever.

    What little of it is garbage by then stays too: to find that takes half a second of each process.

    And tests make many objects that live as long as they do: collections wait until there are more than Python's 700.
    """
    gc.disable()
    collected = yield
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()
    return collected


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each process of a run begin with other folders: what one compiles, the others find compiled.

    Without bytecode, as in a new clone, each would else compile all of it at the same time as the others do.
    """
    report = yield
    if collector.path == _TESTS and isinstance(report.result, list):
        begin = len(report.result) * (_PROCESS % _PROCESSES) // _PROCESSES
        report.result = report.result[begin:] + report.result[:begin]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Let a process of a run with several tell of each test what decides: two messages, not six.

    A setup and a teardown that pass are told by what the test itself came to.
    """
    if not _IS_ONE_OF_SEVERAL:
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("it starts a process, so it needs the mark `processes`")


def _refuse_processes() -> None:
    """Python's audit events would tell of them too, but whoever hears one event hears all, 200 times in each test."""
    subprocess.Popen.__init__ = _refuse  # type: ignore[method-assign]
    os.posix_spawn = os.posix_spawnp = _refuse  # type: ignore[assignment]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _PROCESSES > 1:
        items.sort(key=lambda item: (not _may_take_long(item), item.path.relative_to(_TESTS).parts[0]))
    if config.getoption("--fast"):
        slow = {item for item in items if _TAKES_SECONDS.search(item.nodeid) or _asks_other_processes(item)}
        config.hook.pytest_deselected(items=list(slow))
        items[:] = [item for item in items if item not in slow]
        _refuse_processes()


def _may_take_long(item: pytest.Item) -> bool:
    """Whether it asks for more time than others have: half a minute of work must not begin when all else is done."""
    asked = item.get_closest_marker("timeout")
    return asked is not None and asked.args[0] > float(item.config.getini("timeout"))


def _asks_other_processes(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return (
        item.get_closest_marker("processes") is not None
        or not _SERVERS.isdisjoint(item.fixturenames)
        or any(isinstance(parameter, str) and parameter in _SERVERS for parameter in parameters)
    )


# Megabytes, the growth of time, and all models of all books take seconds each.
_TAKES_SECONDS = re.compile(
    "bomb|linear_time|takes_seconds|50_mb|100_kb|any_model_of_the_book|each_class_is_read|come_to_costs_more"
    "|every_published_price|garbage_collection|ten_thousand|one_of_the_readings|quick_form_runs"
    "|nothing_is_held_above_the_mean"
)
# A server in this process runs the same scripts, slowly: with one in another they are left to `make test`.
_SERVERS = frozenset(
    {"server_url", "empty_server_url", "server", "postgres", "own_postgres", "fakeredis", "cluster", "watched"}
)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The store URL of a real server: the given one, else our own Valkey, as long as the session lives."""
    with (
        _own_server() if not GIVEN_SERVER_URL else nullcontext(GIVEN_SERVER_URL) as url,
        redis.Redis.from_url(url) as client,
    ):
        remove = client.register_script(REMOVE)
        _removals.append(remove)
        yield url
        _removals.remove(remove)
        remove(args=[f"*{SESSION}*"])


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


@pytest.fixture(scope="session")
def price_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The path of a file with these prices: one for all tests of one text, and none of them writes to it."""
    folder = tmp_path_factory.mktemp("prices")

    @cache
    def written(text: str, *, suffix: str = ".toml") -> str:
        path = folder / f"{uuid4().hex}{suffix}"
        path.write_text(text)
        return str(path)

    return written


@pytest.fixture
def namespace() -> Iterator[str]:
    """A prefix for store keys that no other test uses.

    Its keys are removed after the test, for each listing of counters scans all keys of the server.
    """
    name = f"{SESSION}-{uuid4().hex[:8]}"
    yield name
    for remove in _removals:
        remove(args=[f"*{name}*"])
