"""The admin API at real servers: several workers over one store, its description tried out, and its bounds."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.admin.admin_gateway import READ, WRITE, bearer
from tests.e2e.servers import free_port, uvicorn_worker, wait_for_port

pytestmark = pytest.mark.processes

N_WORKERS = 2
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
WHY = {"reason": "ticket 4711"}


@pytest.fixture(params=["file", "server"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"sqlite:///{tmp_path}/budget.db"
    url: str = request.getfixturevalue("server_url")
    return url


@pytest.fixture
def workers(tmp_path: Path, store_url: str, namespace: str) -> Iterator[list[str]]:
    """Their addresses."""
    env = {
        "BUDGET_STORE_URL": store_url,
        "BUDGET_NAMESPACE": namespace,
        "BUDGET_ADMIN_TOKEN": WRITE,
        "BUDGET_ADMIN_READ_TOKEN": READ,
        "BUDGET_ACCOUNTS": "key=token; team=header:x-team",
        "BUDGET_LIMITS": "team=100/month",
        "BUDGET_STORE_TIMEOUT_S": "30",
    }
    with ExitStack() as stack:
        started = []
        for number in range(N_WORKERS):
            port, log = free_port(), tmp_path / f"{number}.log"
            listen = ["--host", "127.0.0.1", "--port", str(port)]
            worker = uvicorn_worker("tests.admin.admin_gateway:app", listen=listen, env=env, log=log)
            started.append((port, stack.enter_context(worker), log))
        for port, process, log in started:
            wait_for_port(port, process, log)
        yield [f"http://127.0.0.1:{port}" for port, _, _ in started]


def client_of(address: str, token: str = WRITE) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=address, headers=bearer(token), timeout=60)


async def test_what_one_worker_is_told_all_of_them_do(workers: list[str], tmp_path: Path):
    caller = {"authorization": "Bearer sk-1", "x-team": "a"}
    async with client_of(workers[0]) as one, client_of(workers[1]) as other:
        assert (await one.post("/v1/chat/completions", json=CHAT, headers=caller)).status_code == 200
        limit = {"limits": ["0.000001/month"], **WHY}
        assert (await one.put("/budget/api/limits/team:a", json=limit)).status_code == 200
        refused = await other.post("/v1/chat/completions", json=CHAT, headers=caller)
        assert refused.status_code == 429
        rows = {row["account"]: row for row in (await other.get("/budget/api/status")).json()["items"]}
        assert rows["team:a"]["limit_usd"] == "0.000001"
        (change,) = (await other.get("/budget/api/operator-changes")).json()["items"]
        assert change["reason"] == "by admin token: ticket 4711"
        audit = (await other.get("/budget/api/audit")).json()
        assert (audit["drift"], audit["damage"]) == ([], [])
    logs = await asyncio.to_thread(lambda: "".join(path.read_text() for path in tmp_path.glob("*.log")))
    assert WRITE not in logs
    assert READ not in logs


async def test_a_body_of_100_mb_is_refused_before_it_is_read(workers: list[str]):
    """With its length told, and without; the worker serves on."""
    sent = 0

    async def body():
        nonlocal sent
        for _ in range(1_600):
            sent += 65_536
            yield b"x" * 65_536

    async with client_of(workers[0]) as client:
        for headers in ({"content-length": str(1_600 * 65_536)}, {}):
            sent = 0
            try:
                answer = await client.post("/budget/api/limits", content=body(), headers=headers)
                assert answer.status_code == 413
            except httpx.TransportError:
                # The server closed while we were still sending.
                assert sent < 1_600 * 65_536
        assert (await client.get("/budget/api/status")).status_code == 200


async def test_changes_of_one_account_by_both_workers_at_once_all_count(workers: list[str]):
    async with client_of(workers[0]) as one, client_of(workers[1]) as other:
        new = {"account": "team:a", "amount_usd": "1", "confirm": ["new_account"], **WHY}
        assert (await one.post("/budget/api/adjust", json=new)).status_code == 200
        adjustments = [
            client.post("/budget/api/adjust", json={"account": "team:a", "amount_usd": "0.25", **WHY})
            for client in (one, other)
            for _ in range(10)
        ]
        assert {answer.status_code for answer in await asyncio.gather(*adjustments)} == {200}
        (row,) = (await one.get("/budget/api/status/team:a")).json()["items"]
        assert row["spent_usd"] == "6.00"


def test_a_machine_that_reads_the_description_finds_nothing_wrong(workers: list[str], tmp_path: Path, store_url: str):
    """Whatever the description allows, and much that it does not, over every operation."""
    # What the description does not allow is refused before a store is asked.
    phases = "examples,coverage,fuzzing" if store_url.startswith("sqlite") else "examples,fuzzing"
    checks = [
        "--checks=all",
        # Wrong tokens are bounded, and it tries more: tests/admin/test_access.py. What an account or a limit is, and
        # that a cursor is one of ours, no schema says.
        "--exclude-checks=ignored_auth,positive_data_acceptance",
    ]
    run = subprocess.run(
        [
            *(str(SCHEMATHESIS), "run", f"{workers[0]}/budget/openapi.json", "--no-color"),
            *("-H", f"Authorization: Bearer {WRITE}", f"--phases={phases}"),
            *("--max-examples=3", "--seed=1", "--continue-on-failure", "--generation-database=none", *checks),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=240,
    )
    assert run.returncode == 0, run.stdout[-6_000:]
    assert json.loads(httpx.get(f"{workers[0]}/budget/openapi.json", headers=bearer(READ)).text)["openapi"] == "3.1.0"
