"""A budget in each kind of window: what is spent in one does not count in the next, and what lapsed is gone."""

from datetime import UTC, datetime

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.testing import MovableClock
from tests.ledger.conftest import OpenLedger, hold, nanos


def ms(iso: str) -> int:
    return int(datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("period", "inside", "turns"),
    [
        ("minute", "2026-11-24T05:07:30", "2026-11-24T05:08"),
        ("week@sun", "2026-11-25T12:00", "2026-11-29"),
        ("month@15", "2026-11-20T12:00", "2026-12-15"),
        ("month@31", "2027-02-01T12:00", "2027-02-28"),
        ("year@04-01", "2026-12-24T12:00", "2027-04-01"),
    ],
)
async def test_a_budget_turns_with_its_window(
    clock: MovableClock, open_ledger: OpenLedger, period: str, inside: str, turns: str
):
    clock.move_to(ms(inside))
    ledger = open_ledger(f"key=1/{period}")
    first = hold("0.60")
    assert (await ledger.reserve(first)).admits
    assert first.targets[0].window.ends_ms == ms(turns)
    await ledger.finalize(first, actual=Amounts(usd=nanos("0.60")))
    clock.move_to(ms(turns) - 1)
    assert not (await ledger.reserve(hold("0.60"))).admits
    clock.move_to(ms(turns))
    second = hold("0.60")
    assert (await ledger.reserve(second)).admits
    await ledger.release(second)


async def test_a_credit_is_gone_when_it_lapses(clock: MovableClock, open_ledger: OpenLedger):
    ledger = open_ledger("key=1/total@2027-03-31")
    clock.move_to(ms("2027-03-31") - 1)
    last = hold("0.60")
    assert (await ledger.reserve(last)).admits
    clock.move_to(ms("2027-03-31"))
    refused = await ledger.reserve(hold("0.01"))
    assert refused.status is Status.REJECTED
    assert refused.rejection is not None
    assert (refused.rejection.limit, refused.rejection.is_held) == (0, False)
    assert refused.rejection.target.window[1:] == ("since-2027-03-31", ms("2027-03-31"), FOREVER_MS)
    await ledger.finalize(last, actual=Amounts(usd=nanos("0.70")))
    free = hold("0")
    assert (await ledger.reserve(free)).admits
    await ledger.release(free)


@pytest.mark.parametrize(
    ("period", "spent_at", "falls_out"),
    [
        ("1h", "2026-11-24T05:07:30", "2026-11-24T06:08"),
        ("24h", "2026-11-24T05:07:30", "2026-11-25T05:12"),
        ("30d", "2026-11-24T05:07:30", "2026-12-24T12:00"),
    ],
)
async def test_a_rolling_budget_comes_back_a_bucket_late_at_most(
    clock: MovableClock, open_ledger: OpenLedger, period: str, spent_at: str, falls_out: str
):
    clock.move_to(ms(spent_at))
    ledger = open_ledger(f"key=1/{period}")
    first = hold("0.60")
    assert (await ledger.reserve(first)).admits
    await ledger.finalize(first, actual=Amounts(usd=nanos("0.60")))
    clock.move_to(ms(falls_out) - 1)
    refused = await ledger.reserve(hold("0.60"))
    assert refused.rejection is not None
    assert refused.rejection.balance == Balance(nanos("0.60"), 0)
    clock.move_to(ms(falls_out))
    second = hold("0.60")
    assert (await ledger.reserve(second)).admits
    await ledger.release(second)
