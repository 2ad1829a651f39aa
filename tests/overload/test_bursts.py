"""More requests at once than a worker can answer: they wait, and none is waved through."""

import asyncio
from pathlib import Path

import pytest

from budget_middleware.stores.redis import RedisStore
from tests.overload.burst import BUDGET_NANOS, CALL_NANOS, Outcome, ask, burst, workers

pytestmark = pytest.mark.processes


async def spent_nanos(server_url: str, namespace: str) -> int:
    """What the store shows as spent; nothing is held any more."""
    store = RedisStore(server_url, namespace=namespace, timeout_s=30)
    views = await store.counters()
    await store.aclose()
    assert sum(view.balance.reserved for view in views) == 0
    return sum(view.balance.spent for view in views)


def assert_protected(outcome: Outcome, n_requests: int) -> None:
    """All were answered, by the app or by a refusal, and the store decided each of them."""
    assert outcome.unprotected == 0
    assert outcome.statuses.keys() <= {200, 429}, outcome
    assert outcome.statuses.total() == n_requests
    assert outcome.statuses[200] * CALL_NANOS <= BUDGET_NANOS


@pytest.mark.parametrize(
    "case",
    # The longest first: whichever came last would run alone.
    [
        (10_000, 1, "asyncio", "local"),
        (5_000, 2, "asyncio", "closed"),
        (5_000, 1, "asyncio", "open"),
        (5_000, 1, "uvloop", "local"),
        (2_500, 2, "uvloop", "open"),
        (1_000, 1, "asyncio", "local"),
    ],
    ids=str,
)
async def test_f34_a_burst_does_not_buy_the_budget_many_times(
    case: tuple[int, int, str, str], server_url: str, namespace: str, tmp_path: Path
):
    n_requests, n_workers, loop, policy = case
    settings = {"store_url": server_url, "namespace": namespace, "on_store_error": policy}
    with workers(tmp_path, settings, n_workers=n_workers, loop=loop) as ports:
        outcome = await burst(ports, n_requests)
    assert_protected(outcome, n_requests)
    assert await spent_nanos(server_url, namespace) == outcome.statuses[200] * CALL_NANOS


@pytest.mark.parametrize("policy", ["local", "open"])
async def test_f35_one_blocking_handler_does_not_open_the_gate(
    policy: str, server_url: str, namespace: str, tmp_path: Path
):
    """A spent key sends twenty requests while another handler stands still for two time-outs, three times."""
    settings = {"store_url": server_url, "namespace": namespace, "on_store_error": policy}
    with workers(tmp_path, settings) as (port,):
        spent = Outcome()
        while not spent.statuses[429]:
            spent = await ask(port)
        for _ in range(3):
            _, blocking = await asyncio.open_connection("127.0.0.1", port)
            blocking.write(b"GET /block?s=1 HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
            outcome = await burst([port], 20)
            blocking.close()
            assert outcome.statuses == {429: 20}
    assert await spent_nanos(server_url, namespace) == BUDGET_NANOS
    assert "the event loop of this worker was blocked" in (tmp_path / f"{port}.log").read_text()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_f36_an_app_that_takes_all_the_cpu_does_not_open_the_gate(
    loop: str, server_url: str, namespace: str, tmp_path: Path
):
    settings = {"store_url": server_url, "namespace": namespace, "on_store_error": "open"}
    with workers(tmp_path, settings, n_workers=2, loop=loop, cpu_ms=15) as ports:
        for _ in range(3):
            assert_protected(await burst(ports, 200), 200)
    assert await spent_nanos(server_url, namespace) <= BUDGET_NANOS


async def test_beyond_the_bound_a_request_is_shed_and_told_when_to_come_back(
    server_url: str, namespace: str, tmp_path: Path
):
    settings = {"store_url": server_url, "namespace": namespace, "max_waiting": "20"}
    with workers(tmp_path, settings) as ports:
        outcome = await burst(ports, 1_000)
    assert outcome.statuses[503] > 0
    assert outcome.unprotected == 0
    assert outcome.statuses[200] * CALL_NANOS <= BUDGET_NANOS
    assert outcome.statuses.keys() <= {200, 429, 503}
