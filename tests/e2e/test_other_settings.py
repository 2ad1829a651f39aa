"""Two real gateways on one store, of which the second has other settings: told in its log, and by `doctor`."""

import os
from pathlib import Path

import pytest

from budget_middleware.demo.servers import serving
from budget_middleware.stores.notes import Topic
from budget_middleware.stores.redis import RedisStore
from tests.e2e.forking import forked_command
from tests.faults.waiting import until

pytestmark = pytest.mark.processes


async def test_a_gateway_with_another_secret_and_time_zone_says_so(server_url: str, namespace: str, tmp_path: Path):
    shared = {"BUDGET_STORE_URL": server_url, "BUDGET_NAMESPACE": namespace, "BUDGET_LIMITS": "key=1/day"}
    shared["UPSTREAM_URL"] = "http://127.0.0.1:9"  # No request comes so far.
    one = {**shared, "BUDGET_HASH_SECRET": "canary-one"}
    two = {**shared, "BUDGET_HASH_SECRET": "canary-two", "BUDGET_TIMEZONE": "Europe/Berlin"}
    log = tmp_path / "two.log"

    async def is_told() -> bool:
        return "BUDGET_HASH_SECRET, BUDGET_TIMEZONE of this process differ" in log.read_text()

    async def is_noted() -> bool:
        return any(note.topic is Topic.SETTINGS for note in await store.notes())

    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    with serving("gateway:app", one, log=tmp_path / "one.log"):
        await until(is_noted)
        assert "gateways     agree" in _doctor(one)
        with serving("gateway:app", two, log=log):
            await until(is_told)
            assert "BUDGET_HASH_SECRET, BUDGET_TIMEZONE differ between gateways that run now" in _doctor(one)
    await store.aclose()
    assert "canary" not in log.read_text() + _doctor(two)


def _doctor(environment: dict[str, str]) -> str:
    return forked_command(["doctor"], env={**os.environ, **environment}).stdout
