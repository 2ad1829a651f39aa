"""Who is admitted, and which counter a rejection names."""

from collections.abc import Callable
from itertools import permutations

import pytest

from budget_middleware.core.model import Balance, Target
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.statuses import Status
from budget_middleware.core.transitions import FULL
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused
from tests.stores.by_hand import change_by_hand
from tests.stores.verbs import KEY, adjust, figures, finalize, release, reserve, target, whole_journal

DAY = target(limit="1.00", period=Period.DAY)
TEAM = target("team:b", "1.00")
DAY_WITHOUT_LIMIT = target(period=Period.DAY)


async def fill(store: Store, of: Target, *, spent: str, reserved: str) -> None:
    """Bring a fresh counter to these figures, past any limit."""
    await store.finalize(finalize(f"spent-{of.account}-{of.window.period}", spent, of))
    await store.reserve(reserve(f"held-{of.account}-{of.window.period}", reserved, of, enforce=False))


@pytest.mark.proves("I6")
@pytest.mark.parametrize("spent", ["0", "0.30", "1.00"])
@pytest.mark.parametrize("reserved", ["0", "0.30", "0.70"])
@pytest.mark.parametrize("over_nanos", [-1, 0, 1])
async def test_admitted_to_the_nano_dollar(store: Store, spent: str, reserved: str, over_nanos: int):
    await fill(store, KEY, spent=spent, reserved=reserved)
    room_nanos = 1_000_000_000 - round((float(spent) + float(reserved)) * 10) * 100_000_000
    estimate_nanos = max(1, room_nanos + over_nanos)
    answer = await store.reserve(reserve("r", usd_from_nanos(estimate_nanos)))
    assert answer.admits == (estimate_nanos <= room_nanos)


@pytest.mark.parametrize(
    ("spent", "reserved", "estimate", "is_held"),
    [
        ("0.40", "0.60", "0.60", True),
        ("0.40", "0.60", "0.600000001", False),
        ("1.00", "0", "0.000000001", False),
        ("0", "1.00", "1.00", True),
        ("0", "1.00", "1.01", False),
    ],
)
async def test_held_is_what_others_reservations_alone_prevent(
    store: Store, spent: str, reserved: str, estimate: str, is_held: bool
):
    await fill(store, KEY, spent=spent, reserved=reserved)
    seq = (await store.head()).seq
    answer = await store.reserve(reserve("r", estimate))
    assert (answer.status, answer.seq, answer.entries, answer.balances) == (Status.REJECTED, seq, (), ())
    assert answer.rejection is not None
    assert answer.rejection.target == KEY
    assert answer.rejection.is_held is is_held


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_spent_before_held_then_the_larger_shortfall(store: Store, order: tuple[int, ...]):
    """Held by 0.90, spent by 0.10, spent by 0.20, in any order: the last is named."""
    held, spent, worst = KEY, DAY, TEAM
    await fill(store, held, spent="0", reserved="1.40")
    await fill(store, spent, spent="0.60", reserved="0")
    await fill(store, worst, spent="0.60", reserved="0.10")
    targets = [(held, spent, worst)[at] for at in order]
    rejection = (await store.reserve(reserve("r", "0.50", *targets))).rejection
    assert rejection is not None
    assert (rejection.target, rejection.balance) == (worst, Balance(600_000_000, 100_000_000))
    assert (rejection.is_held, rejection.shortfall) == (False, 200_000_000)


@pytest.mark.parametrize("targets", list(permutations((KEY, DAY, TEAM))))
async def test_the_first_of_equals_is_named(store: Store, targets: tuple[Target, ...]):
    for each in targets:
        await fill(store, each, spent="0.60", reserved="0")
    rejection = (await store.reserve(reserve("r", "0.50", *targets))).rejection
    assert rejection is not None
    assert rejection.target == targets[0]


@pytest.mark.proves("I5", "I10")
async def test_a_rejection_is_decided_afresh(store: Store):
    await store.reserve(reserve("r1", "0.60"))
    assert (await store.reserve(reserve("r2", "0.60"))).status is Status.REJECTED
    await store.release(release("r1"))
    assert (await store.reserve(reserve("r2", "0.60"))).status is Status.RESERVED


@pytest.mark.proves("I6")
async def test_a_limit_of_zero_refuses_and_no_limit_does_not(store: Store):
    none, unlimited = target("key:none", "0"), target("key:all")
    assert (await store.reserve(reserve("r1", "0.000000001", none))).status is Status.REJECTED
    assert (await store.reserve(reserve("r2", "9000000", unlimited))).status is Status.RESERVED
    assert (await store.reserve(reserve("r3", "0", none))).status is Status.RESERVED


async def test_the_limit_that_travels_with_the_reserve_binds(store: Store):
    """A later limit touches no reservation, even where it leaves less than nothing available."""
    await store.reserve(reserve("r1", "0.60"))
    lower = target(limit="0.50")
    rejection = (await store.reserve(reserve("r2", "0.10", lower))).rejection
    assert rejection is not None
    assert rejection.limit == 500_000_000
    assert await figures(store) == ("0.00", "0.60")
    assert (await store.reserve(reserve("r3", "0.50", target(limit="1.10")))).status is Status.RESERVED


async def test_shadow_holds_what_enforce_would_refuse_and_tells_it(store: Store):
    await fill(store, KEY, spent="0.90", reserved="0")
    answer = await store.reserve(reserve("r", "0.60", enforce=False))
    assert (answer.status, answer.admits) == (Status.RESERVED, True)
    assert answer.rejection is not None
    assert (answer.rejection.balance, answer.rejection.is_held) == (Balance(900_000_000, 0), False)
    assert answer.balances == (Balance(900_000_000, 600_000_000),)
    assert await figures(store) == ("0.90", "0.60")
    within = await store.reserve(reserve("r2", "0.10", TEAM, enforce=False))
    assert (within.status, within.rejection) == (Status.RESERVED, None)


@pytest.mark.proves("I6")
async def test_a_free_request_is_admitted_and_its_cost_booked_all_the_same(store: Store):
    await store.adjust(adjust("a1", "1.50"))
    answer = await store.reserve(reserve("r", "0"))
    assert (answer.status, answer.entries) == (Status.RESERVED, ())
    assert [held.id for held in await store.holds()] == ["r"]
    assert (await store.finalize(finalize("r", "0.10"))).status is Status.FINALIZED
    assert await figures(store) == ("1.60", "0.00")
    assert [entry.reservation_id for entry in await whole_journal(store)] == ["a1", "r"]


@pytest.mark.parametrize("figure", ["spent", "reserved"])
@pytest.mark.parametrize("limit", [None, "1.00"])
@pytest.mark.parametrize(("missing_nanos", "is_full"), [(1, False), (0, True), (-10, True)])
async def test_a_counter_that_is_full_takes_no_more_holds(
    open_store: Callable[..., Store], figure: str, limit: str | None, missing_nanos: int, is_full: bool
):
    """Exactly: what a double cannot tell apart is told apart. Neither shadow mode nor a limit's absence matters."""
    store, of = open_store(), target(limit=limit)
    await change_by_hand(store, of.counter, **{figure: FULL - missing_nanos})
    verb = reserve("r1", "0.000000001", TEAM, of, enforce=False)
    if is_full:
        with pytest.raises(StoreRefused, match=r"counter .*key:a\|month\|2026-11 is full"):
            await store.reserve(verb)
        assert await store.holds() == []
        assert await figures(store, TEAM) == ("0.00", "0.00")
        assert await whole_journal(store) == []
    else:
        assert (await store.reserve(verb)).status is Status.RESERVED
    assert (await store.reserve(reserve("r2", "0", of))).status is Status.RESERVED, "it holds nothing"


async def test_a_counter_that_is_full_is_credited_and_ends_what_it_has(store: Store):
    for number in range(12):
        await store.adjust(adjust(f"a{number}", "9000000", DAY_WITHOUT_LIMIT))
    assert (await store.finalize(finalize("r1", "0.10", DAY_WITHOUT_LIMIT))).status is Status.FINALIZED_UNRESERVED
    with pytest.raises(StoreRefused, match="is full"):
        await store.reserve(reserve("r2", "0.10", DAY_WITHOUT_LIMIT))
    await store.adjust(adjust("credit", "-9000000", DAY_WITHOUT_LIMIT))
    assert (await store.reserve(reserve("r2", "0.10", DAY_WITHOUT_LIMIT))).admits
    assert await figures(store, DAY_WITHOUT_LIMIT) == ("99000000.10", "0.10")
