"""A job outlives the worker that created it: killed, and asked for at two others at once, it is booked once."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from budget_middleware.core.statuses import Op
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from tests.e2e.servers import ServerProcess, uvicorn_worker, wait_for_socket
from tests.stores.audit import audit
from tests.stores.verbs import whole_journal

pytestmark = pytest.mark.processes

HEADERS = {"authorization": "Bearer sk-one"}
ASK = {"model": "test-model", "input": "x", "max_output_tokens": 600, "background": True}


def start(stack: ExitStack, folder: Path, name: str) -> tuple[ServerProcess, httpx.AsyncClient]:
    (folder / "prices.toml").write_text('[models."test-model"]\ninput = 0\noutput = 1\n')
    env = {
        "BUDGET_STORE_URL": f"sqlite:///{folder}/budget.db",
        "BUDGET_PRICES": str(folder / "prices.toml"),
        "BUDGET_LIMITS": "key=1/total",
        "BUDGET_STORE_TIMEOUT_S": "30",
        "BUDGET_LEASE_S": "0.5",
        "BUDGET_REMEMBER_S": "60",
    }
    socket, log = folder / f"{name}.sock", folder / f"{name}.log"
    process = stack.enter_context(
        uvicorn_worker("tests.sdk.provider:app", listen=["--uds", str(socket)], env=env, log=log)
    )
    wait_for_socket(socket, process, log)
    return process, httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://gateway", headers=HEADERS, timeout=60
    )


async def test_a_job_of_a_worker_that_was_killed_is_booked_once_by_others(tmp_path: Path) -> None:
    with ExitStack() as stack:
        creator, client = start(stack, tmp_path, "creator")
        async with client:
            created = await client.post("/v1/responses", json=ASK)
        assert created.status_code == 200
        creator.kill()
        creator.wait()
        others = [client for _, client in (start(stack, tmp_path, name) for name in ("one", "two"))]
        asked = [each.get("/v1/responses/resp") for _ in range(4) for each in others]
        answers = await asyncio.gather(*asked)
        assert {answer.json()["status"] for answer in answers} == {"completed"}
        for each in others:
            await each.aclose()
    store = SqliteStore(f"sqlite:///{tmp_path}/budget.db", timeout_s=30)
    (view,) = await store.counters()
    assert (view.balance.spent, view.balance.reserved) == (100_000, 0)
    endings = [entry for entry in await whole_journal(store) if entry.op is Op.FINALIZE]
    assert [entry.reservation_id for entry in endings] == [created.headers["x-budget-reservation-id"]]
    await audit(store)
    await store.aclose()
