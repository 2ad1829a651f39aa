"""The command line as an operator has it: a process of its own, on a real server whose state a test made."""

import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from budget_middleware.cli import main
from budget_middleware.core.model import Target
from budget_middleware.stores.redis import RedisStore
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


@pytest.fixture
def environment(server_url: str, namespace: str) -> dict[str, str]:
    """The settings of an operator's shell."""
    return {"BUDGET_STORE_URL": server_url, "BUDGET_NAMESPACE": namespace}


@pytest.fixture
def cli(environment: Mapping[str, str]) -> RunCli:
    """Runs one command; keywords are further settings, `stdin` is what it reads."""

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
def here(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCli:
    """As `cli`, in this process: for what needs no process of its own, and is asked often."""

    def run(*words: str, stdin: str = "", **settings: str) -> Ran:
        for variable, value in {**environment, **settings}.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        try:
            code = main(words)
        except SystemExit as told:
            code = int(told.code or 0)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

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
