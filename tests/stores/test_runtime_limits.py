"""Runtime limits as stores keep them: what has changed, which patterns there are, and what survives a loss."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from budget_middleware.core.limits.limits import LIFTED, Increase, LimitMode, Slot, Terms
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.records.limit_fields import STORED_PERIODS, rules_of, unpack_limits
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.runtime_limits import (
    MORE,
    REPORTED_CHANGES_MAX,
    KnownLimits,
    LimitKey,
    Limits,
    LimitValue,
)
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.testing import MovableClock
from tests.stores import postgres_rows, sqlite_file
from tests.stores.clocked import ClockedRedisStore
from tests.stores.replicas import empty_in_process, restore, snapshot_of

DAY, MONTH = Period.DAY, Period.MONTH
NONE_KNOWN = -1


async def stored(store: Store) -> Limits:
    return (await store.limits()).limits


async def empty(store: Store) -> None:
    """What FLUSHALL does."""
    if isinstance(store, ClockedRedisStore):
        await store.forget_everything()
    elif isinstance(store, SqliteStore):
        sqlite_file.lose(store)
    elif isinstance(store, PostgresStore):
        postgres_rows.lose(store)
    else:
        assert isinstance(store, MemoryStore)
        empty_in_process(store)


async def replica_of(store: Store) -> Any:
    """What a replica has of a store by now."""
    if isinstance(store, SqliteStore):
        return sqlite_file.copy_of(store)
    if isinstance(store, PostgresStore):
        return postgres_rows.copy_of(store)
    if not isinstance(store, ClockedRedisStore):
        assert isinstance(store, MemoryStore)
        return snapshot_of(store)
    client = store._client()
    keys = [key async for key in client.scan_iter(count=1000) if key.startswith(store._prefix)]
    return {key: await client.execute_command("DUMP", key, NEVER_DECODE=[]) for key in keys}


async def fail_over(store: Store, replica: Any) -> None:
    if isinstance(store, SqliteStore):
        sqlite_file.bring_back(store, replica)
        return
    if isinstance(store, PostgresStore):
        postgres_rows.bring_back(store, replica)
        return
    if not isinstance(store, ClockedRedisStore):
        assert isinstance(store, MemoryStore)
        restore(store, replica)
        return
    await store.forget_everything()
    for key, value in replica.items():
        await store._client().execute_command("RESTORE", key, 0, value)


# What has changed.


async def test_a_change_is_told_by_name(store: Store):
    first = await store.set_limit("key:a", period=DAY, limit_nanos=5)
    second = await store.set_limit("key:b", period=DAY, limit_nanos=None)
    news = await store.limit_news(["key:a", "key:c"], since_version=first)
    assert (news.version, news.changed) == (second, {("key:b", DAY)})
    assert news.limits == {("key:a", DAY): 5, ("key:b", DAY): None}
    third = await store.clear_limit("key:a", period=DAY)
    news = await store.limit_news([], since_version=second)
    assert (news.version, news.changed, news.limits) == (third, {("key:a", DAY)}, {})
    assert (await store.limit_news([], since_version=third)).changed == frozenset()


async def test_an_empty_store_has_no_limits_and_says_so(store: Store):
    news = await store.limit_news(["key:a"], since_version=0)
    assert (news.version, news.changed, news.limits) == (0, frozenset(), {})
    assert (news.shapes, news.is_indexed) == (frozenset(), True)


async def test_who_knows_too_little_is_told_that_anything_may_have_changed(open_store: Callable[..., Store]):
    store = open_store(Retention(limit_changes_max=3))
    versions = [await store.set_limit(f"key:{name}", period=DAY, limit_nanos=1) for name in "abcde"]
    changed = [(await store.limit_news([], since_version=version)).changed for version in [0, *versions]]
    assert changed[:2] == [None, None]
    assert [len(each) for each in changed[2:] if each is not None] == [3, 2, 1, 0]
    assert (await store.limit_news([], since_version=NONE_KNOWN)).changed is None


async def test_a_limit_that_changes_often_takes_one_place_in_the_log(open_store: Callable[..., Store]):
    store = open_store(Retention(limit_changes_max=3))
    first = await store.set_limit("key:a", period=DAY, limit_nanos=1)
    for nanos in range(20):
        await store.set_limit("key:b", period=DAY, limit_nanos=nanos)
    news = await store.limit_news([], since_version=first)
    assert (news.changed, news.limits) == ({("key:b", DAY)}, {("key:b", DAY): 19})


async def test_the_shapes_of_patterns_are_known(store: Store):
    for pattern in ("key:a", "key:b", "key", "model+key:gpt-4o+*", "global"):
        await store.set_limit(pattern, period=DAY, limit_nanos=1)
    news = await store.limit_news([], since_version=NONE_KNOWN)
    assert news.shapes == {"key:=", "key:*", "key+model:*+=", "global:="}
    assert news.is_indexed


async def test_a_pattern_is_stored_in_its_canonical_form(store: Store):
    """Requests look for no other."""
    await store.set_limit("model+key:gpt%2D4o+a", period=DAY, limit_nanos=1)
    assert await stored(store) == {("key+model:a+gpt-4o", DAY): 1}
    await store.clear_limit("model+key:gpt%2d4o+a", period=None)
    assert await stored(store) == {}
    with pytest.raises(ValueError, match="is not an account"):
        await store.set_limit("no account", period=DAY, limit_nanos=1)


async def test_limits_are_read_in_pages(store: Store):
    for number in range(50):
        await store.set_limit(f"key:{number}", period=DAY, limit_nanos=number)
    page = await store.limits_page()
    found = dict(page.limits)
    while page.cursor:
        page = await store.limits_page(page.cursor)
        found |= page.limits
    assert found == {(f"key:{number}", DAY): number for number in range(50)}


# Limits that have no field of their own.

SOFT, INFLIGHT = Slot(DAY, mode=LimitMode.SOFT), Slot(Period.TOTAL, Unit.INFLIGHT)


async def rules_in(store: Store, pattern: str = "key:a") -> dict[Slot | None, Terms]:
    news = await store.limit_news([pattern], since_version=NONE_KNOWN)
    rules = rules_of(pattern, {field: value for (name, field), value in news.limits.items() if name == pattern})
    return {rule.slot: rule.terms for rule in rules}


async def test_limits_of_every_slot_are_set_in_one_step_and_forgotten_one_by_one(store: Store):
    increases = (Increase(5, 1_795_012_200_812), Increase(7, 1_795_012_200_813))
    limits: dict[Slot | None, Terms] = {
        Slot(DAY): Terms(10, alerts=(50, 80), carry=25, increases=increases),
        Slot(MONTH): Terms(100),
        SOFT: Terms(8, alerts=(90,)),
        INFLIGHT: Terms(3),
        Slot(Period.MINUTE, Unit.TOKENS): LIFTED,
        Slot(Period("month@15")): Terms(9),
        Slot(Period("24h"), mode=LimitMode.SHADOW): Terms(0),
    }
    before = (await store.head()).limits_version
    version = await store.change_limits("key:a", limits)
    assert await rules_in(store) == limits
    news = await store.limit_news([], since_version=before)
    assert (news.version, news.changed) == (version, {("key:a", DAY), ("key:a", MONTH), ("key:a", MORE)})
    for slot in list(limits):
        await store.change_limits("key:a", {slot: None})
        del limits[slot]
        assert await rules_in(store) == limits
    assert await stored(store) == {}


async def test_lifting_all_takes_the_place_of_all_and_what_is_named_besides_stays(store: Store):
    await store.change_limits("key:a", {SOFT: Terms(8), Slot(DAY): Terms(10, alerts=(50,))})
    await store.change_limits("key:a", {INFLIGHT: Terms(2), None: LIFTED})
    lifted: dict[Slot | None, Terms] = {Slot(period): LIFTED for period in STORED_PERIODS}
    assert await rules_in(store) == lifted | {None: LIFTED, INFLIGHT: Terms(2)}
    await store.change_limits("key:a", {None: None})
    assert await stored(store) == {}


async def test_a_change_that_is_bound_to_a_version_changes_nothing_after_another(store: Store):
    version = await store.change_limits("key:a", {SOFT: Terms(1)})
    other = await store.change_limits("key:b", {SOFT: Terms(1)})
    assert await store.change_limits("key:a", {SOFT: Terms(2)}, at_version=version) is None
    assert await rules_in(store) == {SOFT: Terms(1)}
    assert (await store.head()).limits_version == other
    assert await store.change_limits("key:a", {SOFT: Terms(2)}, at_version=other) is not None
    assert await rules_in(store) == {SOFT: Terms(2)}


async def test_terms_of_a_limit_that_an_older_version_changes_stay_and_alone_they_bind_nothing(store: Store):
    await store.change_limits("key:a", {Slot(DAY): Terms(10, alerts=(50,))})
    (more,) = [value for (_, field), value in (await stored(store)).items() if field == MORE]
    assert more == "day|usd|enforce=;alert=50"
    assert rules_of("key:a", {DAY: 7, MORE: more})[0].terms == Terms(7, alerts=(50,))
    assert rules_of("key:a", {DAY: None, MORE: more})[0].terms == LIFTED
    assert rules_of("key:a", {MORE: more}) == ()


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_words_that_cannot_be_read_are_reported_and_kept_and_the_others_bind(open_store: Callable[..., Store]):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await store.change_limits("key:a", {SOFT: Terms(1), INFLIGHT: Terms(2)})
    newer = "day|usd|soft=1&day|watts|enforce=5&total|inflight|enforce=2"
    await store._client().hset(f"{store._prefix}limits", "key:a|more", newer)
    assert await rules_in(store) == {SOFT: Terms(1), INFLIGHT: Terms(2)}
    (damage,) = await store.damage()
    assert damage.key == f"{store._prefix}limits key:a|more day|watts|enforce=5"
    await store.change_limits("key:a", {SOFT: None})
    assert (await stored(store))["key:a", MORE] == "day|watts|enforce=5&total|inflight|enforce=2"


@pytest.mark.parametrize("value", ["5", "x|y", "day|usd|soft", "day|usd|soft=x", "day|usd|soft=1;plus=1", "all=x"])
def test_a_word_that_is_none_is_unreadable(value: str):
    assert unpack_limits({"key:a|more": value})[1] == [f"key:a|more {value}"]
    assert rules_of("key:a", {MORE: value}) == ()


# Stores that an older version has written to: a hash of limits and a version, without log or index.


async def write_as_before(store: ClockedRedisStore, field: str, nanos: str, *, version: int) -> None:
    await store._client().hset(f"{store._prefix}limits", field, nanos)
    await store._client().hset(f"{store._prefix}meta", "limits_version", str(version))


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_limits_of_an_older_version_are_indexed(open_store: Callable[..., Store], clock: MovableClock):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await store.head()
    await write_as_before(store, "key:a|day", "5", version=clock.now_ms)
    news = await store.limit_news(["key:a"], since_version=0)
    assert (news.version, news.changed, news.is_indexed) == (clock.now_ms, None, False)
    assert news.limits == {("key:a", DAY): 5}
    assert await store.index_limits()
    news = await store.limit_news([], since_version=clock.now_ms)
    assert (news.changed, news.shapes, news.is_indexed) == (frozenset(), {"key:="}, True)
    version = await store.set_limit("team:b", period=DAY, limit_nanos=6)
    news = await store.limit_news([], since_version=clock.now_ms)
    assert (news.version, news.changed) == (version, {("team:b", DAY)})
    assert (news.shapes, news.is_indexed) == ({"key:=", "team:="}, True)
    # The old command sets another one, in a fleet that is being upgraded.
    await write_as_before(store, "key+model:*+gpt-4o|day", "7", version=version + 1)
    news = await store.limit_news([], since_version=version)
    assert (news.version, news.changed, news.is_indexed) == (version + 1, None, False)
    # And the new one after it: its log begins there, its index is not complete.
    version = await store.set_limit("global", period=DAY, limit_nanos=8)
    news = await store.limit_news([], since_version=version - 1)
    assert (news.changed, news.is_indexed) == ({("global", DAY)}, False)
    assert await store.index_limits()
    news = await store.limit_news([], since_version=version)
    assert (news.shapes, news.is_indexed) == ({"key:=", "team:=", "key+model:*+=", "global:="}, True)


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_an_index_is_complete_only_if_nothing_escaped_it(open_store: Callable[..., Store], clock: MovableClock):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await store.head()
    seen = clock.now_ms
    await write_as_before(store, "key:a|day", "5", version=seen)
    # While the limits of that version are read, somebody sets another one: by the old command, then by the new one.
    await write_as_before(store, "team:b|day", "5", version=seen + 1)
    assert await store._call("index_limits", "", str(seen), "key:=") == ["0"]
    await store.set_limit("global", period=DAY, limit_nanos=8)
    assert await store._call("index_limits", "", str(seen), "key:=") == ["0"]
    assert await store._call("index_limits", "", str(seen + 1), "key:= team:=") == ["1"]
    assert (await store.limit_news([], since_version=0)).shapes == {"key:=", "team:=", "global:="}


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
@pytest.mark.parametrize("lost", ["limits_log", "limits_state", "limits_written_back"])
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_what_is_made_from_limits_is_made_anew(open_store: Callable[..., Store], lost: str, is_replaced: bool):
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    version = await store.set_limit("key:a", period=DAY, limit_nanos=5)
    await store._client().delete(f"{store._prefix}{lost}")
    if is_replaced:
        await store._client().set(f"{store._prefix}{lost}", "not ours")
        assert [found.key for found in await store.damage()] == [f"{store._prefix}{lost}"]
    news = await store.limit_news(["key:a"], since_version=version)
    is_enough = lost == "limits_written_back" and not is_replaced
    assert news.changed == (frozenset() if is_enough else None)
    assert news.limits == {("key:a", DAY): 5}
    assert await store.index_limits()
    assert (await store.limit_news([], since_version=0)).shapes == {"key:="}
    assert await store.damage() == []


@pytest.mark.parametrize("make_store", ["server"], indirect=True)
async def test_limits_without_their_version_are_not_taken_for_none(
    open_store: Callable[..., Store], clock: MovableClock
):
    """A worker that starts believes version 0, which has no limits."""
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await write_as_before(store, "key:a|day", "0", version=clock.now_ms)
    await store._client().delete(f"{store._prefix}meta")
    assert (await store.head()).limits_version == clock.now_ms
    assert (await store.head()).limits_version == clock.now_ms


@pytest.mark.parametrize("one_more", [False, True])
async def test_whoever_missed_too_many_changes_is_told_that_any_may_have_changed(store: Store, one_more: bool):
    for number in range(REPORTED_CHANGES_MAX // len(STORED_PERIODS)):
        await store.clear_limit(f"key:{number}", period=None)
    for period in STORED_PERIODS[: REPORTED_CHANGES_MAX % len(STORED_PERIODS) + one_more]:
        await store.set_limit("key:last", period=period, limit_nanos=5)
    changed = (await store.limit_news([], since_version=0)).changed
    assert changed is None if one_more else changed is not None and len(changed) == REPORTED_CHANGES_MAX


# After a loss: what a worker knew comes back, and what an operator has said since stays.


def known(generation: str, version: int, *, reports_loss: bool = False, **amounts: int | None) -> KnownLimits:
    limits: dict[str, dict[str, LimitValue]] = {
        f"key:{name}": {} if nanos is None else {DAY: nanos} for name, nanos in amounts.items()
    }
    return KnownLimits(generation, version, limits, reports_loss=reports_loss)


async def written_back(store: Store, knowledge: KnownLimits) -> AbstractSet[LimitKey]:
    version, written = await store.write_back_limits(knowledge)
    assert version == (await store.limits()).version
    return written


async def generation_of(store: Store) -> str:
    return (await store.head()).generation


async def test_f38_known_limits_are_written_back_into_an_emptied_store(store: Store, clock: MovableClock):
    generation = await generation_of(store)
    version = await store.set_limit("key:a", period=DAY, limit_nanos=5)
    await empty(store)
    assert await written_back(store, known(generation, version, a=5, b=None)) == {("key:a", DAY)}
    assert await stored(store) == {("key:a", DAY): 5}
    news = await store.limit_news(["key:a"], since_version=version)
    assert news.version > version, "so that whoever knows it asks anew"
    assert (news.shapes, news.is_indexed) == ({"key:="}, True)
    assert not await written_back(store, known(generation, version, a=5)), "once"
    assert (await store.limit_news([], since_version=0)).version == news.version


async def test_f38_what_an_operator_said_after_the_loss_stays(store: Store, clock: MovableClock):
    generation = await generation_of(store)
    await store.set_limit("key:a", period=DAY, limit_nanos=5)
    await store.set_limit("key:b", period=DAY, limit_nanos=5)
    version = await store.set_limit("key:c", period=DAY, limit_nanos=5)
    await empty(store)
    # The clock of another server may be behind.
    clock.advance(s=-60)
    await store.set_limit("key:a", period=DAY, limit_nanos=7)
    await store.clear_limit("key:b", period=None)
    assert await written_back(store, known(generation, version, a=5, b=5, c=5)) == {("key:c", DAY)}
    assert await stored(store) == {("key:a", DAY): 7, ("key:c", DAY): 5}
    await store.set_limit("key:c", period=DAY, limit_nanos=9)
    assert not await written_back(store, known(generation, version + 1, a=6, b=6, c=6)), "from a slower worker"
    assert await stored(store) == {("key:a", DAY): 7, ("key:c", DAY): 9}


async def test_f38_limits_without_a_field_of_their_own_are_written_back_too(store: Store):
    generation = await generation_of(store)
    await store.change_limits("key:a", {SOFT: Terms(1), INFLIGHT: Terms(2), Slot(DAY): Terms(5, carry=50)})
    news = await store.limit_news(["key:a"], since_version=NONE_KNOWN)
    before = await rules_in(store)
    await empty(store)
    values = {field: value for (_, field), value in news.limits.items()}
    knowledge = KnownLimits(generation, news.version, {"key:a": values})
    assert await written_back(store, knowledge) == {("key:a", DAY), ("key:a", MORE)}
    assert await rules_in(store) == before
    assert not await written_back(store, knowledge), "once"


@pytest.mark.parametrize("newest_first", [True, False])
async def test_f38_of_two_workers_the_one_that_knew_the_later_version_wins(store: Store, newest_first: bool):
    generation = await generation_of(store)
    old = await store.set_limit("key:a", period=DAY, limit_nanos=5)
    new = await store.set_limit("key:a", period=DAY, limit_nanos=6)
    await empty(store)
    behind, ahead = known(generation, old, a=5, b=3), known(generation, new, a=6, c=4)
    for each in (ahead, behind) if newest_first else (behind, ahead):
        await written_back(store, each)
    assert await stored(store) == {("key:a", DAY): 6, ("key:b", DAY): 3, ("key:c", DAY): 4}


async def test_f38_a_failover_to_older_limits_is_undone_where_a_worker_knew_newer_ones(
    store: Store, clock: MovableClock
):
    generation = await generation_of(store)
    for name in "abcd":
        await store.set_limit(f"key:{name}", period=DAY, limit_nanos=5)
    replica = await replica_of(store)
    clock.advance(s=1)
    await store.set_limit("key:a", period=DAY, limit_nanos=6)
    await store.clear_limit("key:b", period=DAY)
    version = await store.set_limit("key:c", period=DAY, limit_nanos=7)
    await fail_over(store, replica)
    clock.advance(s=1)
    await store.set_limit("key:c", period=DAY, limit_nanos=8)
    before = await store.limit_news([], since_version=0)
    mine = known(generation, version, reports_loss=True, a=6, b=None, c=7, d=5)
    assert await written_back(store, mine) == {("key:a", DAY), ("key:b", DAY)}
    assert await stored(store) == {("key:a", DAY): 6, ("key:c", DAY): 8, ("key:d", DAY): 5}
    after = await store.limit_news([], since_version=before.version)
    assert after.changed == {("key:a", DAY), ("key:b", DAY)}
    assert after.lineage != before.lineage, "so that the others write back what they knew"
    told = KnownLimits(generation, version, {"key:d": {DAY: 5}}, reports_loss=False)
    assert not await written_back(store, told)
    assert (await store.limit_news([], since_version=0)).lineage == after.lineage, "or they would never come to an end"
