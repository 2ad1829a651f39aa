"""The bill of what was booked lies in the journal beside the reason."""

from dataclasses import replace

from budget_middleware.core.statuses import Status
from budget_middleware.stores.base import Store
from budget_middleware.stores.records.records import unpack_record
from budget_middleware.testing import MovableClock
from tests.stores.clocked import ClockedRedisStore
from tests.stores.verbs import DAY_MS, KEY, adjust, finalize, release, reserve, target, whole_journal

BILL = '{"v":1,"model":"gpt-4o","lines":[["output",5,10000000000]]}'
TEAM = target("team:b")

# In the previous format: a finalize of two counters.
OLD_RECORD = (
    "4 2 4\nfinalize\nr1\nfinalized\n1700000000000\n00-1-1-01\n\n"
    "key:a month 2026-11 1000000000 250000000 -600000000 250000000 0"
    " team:b month 2026-11 - 250000000 -600000000 250000000 0\nusage"
)


async def test_a_finalize_keeps_its_bill_for_each_counter(store: Store):
    await store.reserve(reserve("r1", "0.60", KEY, TEAM))
    answer = await store.finalize(replace(finalize("r1", "0.25", KEY, TEAM), reason="usage", bill=BILL))
    assert [(entry.reason, entry.bill) for entry in answer.entries] == [("usage", BILL)] * 2
    journal = await whole_journal(store)
    assert [(entry.status, entry.bill) for entry in journal] == [
        (Status.RESERVED, ""),
        (Status.RESERVED, ""),
        (Status.FINALIZED, BILL),
        (Status.FINALIZED, BILL),
    ]
    assert await store.latest(count=2) == journal[2:]


async def test_late_and_unreserved_endings_keep_it_too(store: Store, clock: MovableClock):
    await store.reserve(reserve("late", "0.60"))
    clock.advance(ms=DAY_MS // 24)
    for id_ in ("late", "unreserved"):
        await store.finalize(replace(finalize(id_, "0.25"), bill=BILL))
    told = {entry.status: entry.bill for entry in await whole_journal(store)}
    assert told == {
        Status.RESERVED: "",
        Status.EXPIRED: "",
        Status.FINALIZED_LATE: BILL,
        Status.FINALIZED_UNRESERVED: BILL,
    }


async def test_the_first_bill_stays(store: Store):
    await store.reserve(reserve("r1", "0.60"))
    await store.finalize(replace(finalize("r1", "0.25"), bill=BILL))
    again = await store.finalize(replace(finalize("r1", "0.30"), bill="{}"))
    assert (again.status, again.entries) == (Status.ALREADY_FINALIZED, ())
    assert (await whole_journal(store))[-1].bill == BILL


async def test_a_correction_has_a_bill_and_other_verbs_have_none(store: Store):
    await store.adjust(replace(adjust("a1", "-0.10"), reason="usage", bill=BILL))
    await store.reserve(reserve("r1", "0.60"))
    await store.release(replace(release("r1"), reason="no_output"))
    told = [(entry.status, entry.reason, entry.bill) for entry in await whole_journal(store)]
    assert told == [
        (Status.ADJUSTED, "usage", BILL),
        (Status.RESERVED, "", ""),
        (Status.RELEASED, "no_output", ""),
    ]


async def test_a_bill_is_kept_once_for_all_counters(store: Store):
    if not isinstance(store, ClockedRedisStore):
        return
    await store.finalize(replace(finalize("r1", "0.25", KEY, TEAM, target("team:c")), reason="usage", bill=BILL))
    (record,) = await store._client().zrange(f"{store._prefix}entries", 0, -1)
    assert record.count(BILL) == 1
    assert record.endswith(f"\nreason usage\nbill {BILL}")


def test_records_of_the_previous_format_may_have_a_bill():
    first, second = unpack_record(OLD_RECORD)
    assert (first.reason, first.bill, first.spent) == ("usage", "", 250_000_000)
    assert (second.seq, second.counter.account, second.bill) == (4, "team:b", "")
    (billed, _) = unpack_record(f"{OLD_RECORD}\nbill:{BILL}")
    assert billed == first._replace(bill=BILL)
