"""What operators ask, of a ledger with shards: each has a journal, and together they are one ledger."""

from collections.abc import AsyncIterator

import pytest

from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.account_explanation import explain_account
from budget_middleware.operations.audits import audit
from budget_middleware.operations.context import OperatorContext, open_context
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.doctor.finding import Health
from budget_middleware.operations.doctor.journal import journal_findings
from budget_middleware.operations.doctor.shards import shards_findings
from budget_middleware.operations.doctor.store import store_findings
from budget_middleware.operations.journal import follow_journal, latest_entries, steps_in
from budget_middleware.operations.reservation_explanation import explain_reservation
from budget_middleware.operations.values import as_json
from budget_middleware.settings_loading import load
from budget_middleware.stores.errors import WrongServer
from budget_middleware.stores.journals import journals_of
from budget_middleware.stores.sharded.memory_shard import MemoryShard
from budget_middleware.stores.sharded.shard_map import MAIN, ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from budget_middleware.testing import MovableClock
from tests.stores.by_hand import change_by_hand
from tests.stores.verbs import finalize, reserve, target

SHARDS = ShardMap("team", 4)
KEY, SEARCH, GLOBAL = target("key:00000000000000aa", "1"), target("team:search"), target("global", "5")
REQUEST = (GLOBAL, KEY, SEARCH)
OWN = SHARDS.shard_of("search")
ID = "0b5c" * 8


@pytest.fixture
async def context(clock: MovableClock) -> AsyncIterator[OperatorContext]:
    shards: dict[str, MemoryShard] = {}
    store = ShardedStore(SHARDS, lambda name: shards.setdefault(name, MemoryShard(clock_ms=clock)))
    settings = load(shard_by="team/4", limits="key=1/month; global=5/month")
    context = OperatorContext(settings, store, operators_ledger_of(settings, store))
    await store.reserve(reserve(ID, "0.40", *REQUEST))
    clock.advance(s=1)
    await store.finalize(finalize(ID, "0.10", *REQUEST))
    clock.advance(s=1)
    await store.reserve(reserve("held", "0.30", *REQUEST))
    yield context
    await context.ledger.drain()


async def test_counters_are_those_of_all_shards(context: OperatorContext):
    rows = {row["account"]: row for row in map(as_json, await list_counters(context))}
    assert {account: row["spent_usd"] for account, row in rows.items()} == dict.fromkeys(
        ("global", KEY.account, "team:search"), "0.10"
    )


async def test_entries_name_their_shard_and_stand_in_the_order_of_time(context: OperatorContext, clock: MovableClock):
    page = await latest_entries(context, count=4)
    assert [(row.shard, row.status) for row in page.entries[1:]] == [
        (OWN, "reserved"),
        (OWN, "reserved"),
        (MAIN, "reserved"),
    ]
    assert as_json(page.entries[-1])["shard"] == MAIN
    pages = follow_journal(context, positions=page.positions)
    clock.advance(s=1)
    await context.store.finalize(finalize("held", "0.20", *REQUEST))
    assert {row.shard for row in await anext(pages)} == {OWN, MAIN}
    await pages.aclose()


async def test_each_verb_is_a_step_of_each_shard(context: OperatorContext):
    steps = [
        (step[0].shard, step[0].status)
        for name, journal in (await journals_of(context.store)).items()
        async for step in steps_in(journal, name, after_seq=0)
    ]
    assert sorted(steps) == sorted(
        (shard, status) for shard in (OWN, MAIN) for status in ("reserved", "finalized", "reserved")
    )


async def test_each_shard_is_audited_by_itself(context: OperatorContext):
    clean = await audit(context)
    assert (clean.is_clean, clean.counters, clean.reservations, clean.proved_from_zero) == (True, 3, 1, 3)
    assert isinstance(context.store, ShardedStore)
    shard = context.store.shard(OWN)
    await change_by_hand(shard, SEARCH.counter, spent=500)
    found = await audit(context)
    assert [(drift.account, drift.what) for drift in found.drift] == [("team:search", "spent")]
    repaired = await audit(context, repairs=True)
    assert repaired.is_clean


async def test_an_account_and_a_request_are_explained_from_their_shards(context: OperatorContext):
    story = as_json(await explain_account(context, KEY.account))
    (counter,) = story["counters"]
    assert (counter["spent_usd"], counter["reserved_usd"]) == ("0.10", "0.30")
    told = as_json(await explain_reservation(context, ID))
    assert {entry["account"] for entry in told["changes"]} == {"global", KEY.account, "team:search"}


async def test_doctor_says_how_a_ledger_is_divided(context: OperatorContext):
    (shards,) = await shards_findings(context.settings, context.store)
    assert (shards.status, shards.message) == (Health.OK, "team/4: 2 of 5, with the main one, have entries")
    (journal,) = await journal_findings(context.store, journal_max=100_000)
    assert journal.status is Health.OK
    short = await journal_findings(context.store, journal_max=1)
    assert all(each.status is Health.OK for each in short), "a rate of so few entries is none"


async def test_commands_refuse_a_ledger_that_is_sharded_otherwise(server_url: str, namespace: str):
    async with open_context(load(store_url=server_url, namespace=namespace, shard_by="team/4")) as context:
        await context.store.reserve(reserve(ID, "0.40", *REQUEST))
        findings = await store_findings(context.settings)
        assert {each.status for each in findings if each.check in ("shards", "records", "journal")} == {Health.OK}
    for other in ("", "team/8", "user/4"):
        with pytest.raises(WrongServer, match="sharded by team/4"):
            async with open_context(load(store_url=server_url, namespace=namespace, shard_by=other)):
                raise AssertionError("it was opened")
