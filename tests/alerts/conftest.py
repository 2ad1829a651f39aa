"""Followers of every store, on a clock that the test moves, and a receiver over HTTP."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from budget_middleware.alerts.follower import CATCH_UP_S, AlertFollower
from budget_middleware.core.alerts.plan import parse_alerts
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.ledger import Ledger
from budget_middleware.stores.base import Store
from tests.alerts.receiver import ReceiverServer, receiving
from tests.stores.conftest import clock, make_store, open_store, store  # noqa: F401 - its fixtures serve here too
from tests.stores.verbs import UTC

MakeFollower = Callable[..., AlertFollower]
LIMITS = "key=10/day!alert=50,100; team=100tokens/day!soft!alert=50; tag=10/24h!alert=50; user=10/day"


@pytest.fixture
async def receiver() -> AsyncIterator[ReceiverServer]:
    async with receiving() as server:
        yield server


@pytest.fixture
async def make_follower(receiver: ReceiverServer) -> AsyncIterator[MakeFollower]:
    """Makes a worker's follower of a store; by itself it never looks."""
    made: list[AlertFollower] = []

    def make(
        of_store: Store, alerts: str = "", *, limits: str = LIMITS, lease_ms: int = 60_000, **more: Any
    ) -> AlertFollower:
        plan = parse_alerts(alerts or f"{receiver.url}#whsec_c2VjcmV0; audit=off")
        assert plan is not None
        ledger = Ledger(of_store, limits=parse_limits(limits))
        options: dict[str, Any] = {"name": "budget", "timezone": UTC, "lease_ms": lease_ms, "send_timeout_s": 60.0}
        made.append(AlertFollower(ledger, plan, **options | more))
        return made[-1]

    yield make
    for follower in made:
        await follower.stop(timeout_s=5)


async def follow(follower: AlertFollower) -> float:
    """Look until there is nothing more to read, and wait until what is due was sent."""
    while (pause_s := await follower.look()) == CATCH_UP_S:
        pass
    await follower.courier.wait_until_sent()
    return pause_s
