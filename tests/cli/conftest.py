"""The command line on a real server whose state a test made."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from budget_middleware.cli import main
from budget_middleware.core.model import Target
from budget_middleware.stores.redis import RedisStore
from budget_middleware.testing import MovableClock
from tests.e2e.forking import forked_command
from tests.stores.clocked import put_on
from tests.stores.verbs import target

COMMAND = (sys.executable, "-m", "budget_middleware")


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


RunCli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> MovableClock:
    """What `cli` and `store` are on: each window is that of the clock's day, whenever the test runs and in any zone."""
    clock = MovableClock()
    put_on(clock, monkeypatch)
    return clock


@pytest.fixture
def environment(server_url: str, namespace: str) -> dict[str, str]:
    """The settings of an operator's shell."""
    return {"BUDGET_STORE_URL": server_url, "BUDGET_NAMESPACE": namespace}


@pytest.fixture
def cli(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCli:
    """Runs one command in this process; keywords are further settings, `stdin` is what it reads.

    `test_a_process_of_its_own_prints_the_same` holds it against `process`, command by command.
    """

    def run(*words: str, stdin: str = "", **settings: str) -> Ran:
        capsys.readouterr()
        with monkeypatch.context() as patched, ThreadPoolExecutor(max_workers=1) as thread:
            for variable, value in {**environment, **settings}.items():
                patched.setenv(variable, value)
            patched.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            # A command has an event loop of its own, and the test's is at work in this thread.
            code = thread.submit(_code_of, words).result(timeout=60)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


def _code_of(words: Sequence[str]) -> int:
    # Where nobody has set up logging, as in a command's own process, warnings go to stderr by this handler.
    assert logging.lastResort is not None
    logging.getLogger().addHandler(logging.lastResort)
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        logging.getLogger().removeHandler(logging.lastResort)


@pytest.fixture
def process(environment: Mapping[str, str]) -> RunCli:
    """As `cli`, in a process of its own, as an operator has it."""

    def run(*words: str, stdin: str = "", **settings: str) -> Ran:
        ran = subprocess.run(
            [*COMMAND, *words],
            env={**os.environ, **environment, **settings},
            input=stdin.encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    return run


@pytest.fixture
def forked(environment: Mapping[str, str]) -> RunCli:
    """As `process`, but of an interpreter that has imported the package: see `forking`."""

    def run(*words: str, stdin: str = "", **settings: str) -> Ran:
        ran = forked_command(words, env={**os.environ, **environment, **settings}, stdin=stdin)
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    return run


@pytest.fixture
async def store(server_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    """The same counters, seen from the test."""
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    yield store
    await store.aclose()


@pytest.fixture
async def now_ms(store: RedisStore) -> int:
    return (await store.head()).now_ms


@pytest.fixture
def month(now_ms: int) -> Target:
    """The current month of the account of most tests."""
    return target("key:abcabc0000000000", at_ms=now_ms)
