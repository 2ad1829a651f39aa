"""`Ledger.reservation`: a budget around code that no HTTP request called."""

import asyncio

import pytest

from budget_middleware import BudgetRejected, open_ledger
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.statuses import Op
from budget_middleware.ledger import Ledger
from budget_middleware.settings import SettingsError
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import Gate
from tests.ledger.conftest import OpenLedger
from tests.ledger.faults import FaultyStore, reply_held, request_lost
from tests.ledger.test_cancellation import cancelled_at
from tests.stores.verbs import whole_journal

TEAM = {"team": "search"}
LIMITS = "team=1/month; model:m=1/month"


@pytest.fixture
def ledger(open_ledger: OpenLedger) -> Ledger:
    return open_ledger(LIMITS)


async def booked(store: Store, account: str = "team:search") -> tuple[str, str]:
    """Spent and reserved of an account's only counter; one that nobody has touched has ("0.00", "0.00")."""
    balances = [view.balance for view in await store.counters(account)]
    assert len(balances) <= 1
    spent, reserved = (balances[0].spent, balances[0].reserved) if balances else (0, 0)
    return usd_from_nanos(spent), usd_from_nanos(reserved)


async def test_what_was_added_is_booked(ledger, base):
    async with ledger.reservation(TEAM, estimate_usd="0.60", model="m") as reservation:
        reservation.add_cost("0.10")
        reservation.add_usage("gpt-4o", output_tokens=1_000)
        assert await booked(base) == ("0.00", "0.60")
    # A thousand tokens at 10 USD per million.
    assert await booked(base) == ("0.11", "0.00")
    assert await booked(base, "model:m") == ("0.11", "0.00")
    assert {entry.reservation_id for entry in await whole_journal(base)} == {reservation.reservation_id}


async def test_a_block_that_adds_nothing_costs_nothing(ledger, base):
    async with ledger.reservation(TEAM, estimate_usd="0.60"):
        pass
    assert await booked(base) == ("0.00", "0.00")


@pytest.mark.parametrize(("added", "last_op"), [("0", Op.RELEASE), ("0.10", Op.FINALIZE)])
async def test_a_block_that_fails_books_what_it_had_added(ledger, base, added, last_op):
    async def job() -> None:
        async with ledger.reservation(TEAM, estimate_usd="0.60") as reservation:
            reservation.add_cost(added)
            raise OSError("upstream")

    with pytest.raises(OSError, match="upstream"):
        await job()
    assert await booked(base) == (f"{float(added):.2f}", "0.00")
    assert (await whole_journal(base))[-1].op is last_op


async def test_a_refusal_says_why_and_the_block_is_not_run(ledger, base):
    async with ledger.reservation(TEAM, estimate_usd="0.60"):
        with pytest.raises(BudgetRejected, match=r"team:search for month .* limit \$1.00, spent \$0.00") as held:
            async with ledger.reservation(TEAM, estimate_usd="0.60"):
                pytest.fail("it must not be run")
        assert held.value.is_held
    with pytest.raises(BudgetRejected) as spent:
        async with ledger.reservation(TEAM, estimate_usd="1.01"):
            pytest.fail("it must not be run")
    assert not spent.value.is_held
    assert await booked(base) == ("0.00", "0.00")


async def test_cancelled_at_every_await(base, open_ledger):
    """Whenever it is cancelled: what was added is booked, and nothing stays held."""

    async def job(ledger: Ledger) -> None:
        async with ledger.reservation(TEAM, estimate_usd="0.60") as reservation:
            await asyncio.sleep(0)
            reservation.add_cost("0.01")
            await asyncio.sleep(0)

    n_cancelled = 0
    for suspension in range(1, 60):
        ledger = open_ledger("team=100/month")
        was_cancelled, was_reached = await cancelled_at(job(ledger), suspension)
        await ledger.drain()
        assert (await booked(base))[1] == "0.00"
        n_cancelled += was_cancelled
        if not was_reached:
            break
    else:
        pytest.fail("it never came to an end")
    assert n_cancelled > 2


async def test_cancelled_twice_its_ending_goes_on(ledger, base, faults: FaultyStore):
    gate, added = Gate(), asyncio.Event()
    faults.meets("finalize", reply_held(gate))

    async def job() -> None:
        async with ledger.reservation(TEAM, estimate_usd="0.60") as reservation:
            reservation.add_cost("0.10")
            added.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(job())
    await added.wait()
    task.cancel()
    await gate.reached()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    gate.open()
    await ledger.drain()
    assert await booked(base) == ("0.10", "0.00")


async def test_a_store_that_is_away_runs_no_block_and_leaves_no_hold(open_ledger, faults, base):
    ledger = open_ledger(LIMITS, store_timeout_s=0.25)
    faults.always["reserve"] = request_lost
    with pytest.raises(StoreUnavailable):
        async with ledger.reservation(TEAM, estimate_usd="0.60"):
            pytest.fail("it must not be run")
    await ledger.drain()
    assert await booked(base) == ("0.00", "0.00")


@pytest.mark.parametrize(
    ("accounts", "estimate", "told"),
    [
        ({"key": "sk-raw-token"}, "1", "16 hex digits"),
        ({"Team": "a"}, "1", "no kind of account"),
        ({"model": "m"}, "1", "no kind of account"),
        (TEAM, "-1", "an estimate is 0 or more"),
        (TEAM, "much", "not an amount in USD"),
    ],
)
async def test_what_cannot_be_reserved(accounts, estimate, told):
    ledger = Ledger(MemoryStore(), limits=parse_limits(LIMITS))
    with pytest.raises(ValueError, match=told) as refused:
        async with ledger.reservation(accounts, estimate_usd=estimate):
            pytest.fail("it must not be run")
    assert "sk-raw" not in str(refused.value)


async def test_a_worker_opens_the_gateways_ledger(monkeypatch, tmp_path):
    prices = tmp_path / "prices.toml"
    prices.write_text("[models.m]\ninput = 1\noutput = 1000\n")
    monkeypatch.setenv("BUDGET_PRICES", str(prices))
    ledger = open_ledger(limits="team=1/month")
    async with ledger.reservation(TEAM, estimate_usd="1") as reservation:
        reservation.add_usage("m", output_tokens=100)
    assert await booked(ledger.store) == ("0.10", "0.00")
    await ledger.drain()
    with pytest.raises(SettingsError, match="BUDGET_LIMITS"):
        open_ledger(limits="team")
