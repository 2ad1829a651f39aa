"""Gateways with other settings on one ledger: both say so, on every store."""

from budget_middleware.core.fingerprint import fingerprint
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.windows import Period
from budget_middleware.ledger.sharing.settings_watch import ALIVE_MS, EVERY_S, SettingsWatch
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.notes import Note, Topic
from budget_middleware.stores.redis import RedisStore


def settings(secret="pepper", timezone="UTC", limits="key=1/day"):
    return fingerprint(secret=secret, namespace="n", timezone=timezone, limits=parse_limits(limits))


OURS, THEIRS = settings(), settings(secret="salt")


def logged(caplog):
    """What the watch has logged: a slow machine may have made others say something too."""
    return [record.getMessage() for record in caplog.records if record.module == "settings_watch"]


def said(caplog):
    """The same of other settings: other tests may have left namespaces in the same server."""
    return [told for told in logged(caplog) if not told.startswith("this namespace is empty")]


async def check(watch):
    """As if a minute had gone by."""
    watch._looked_s -= EVERY_S
    watch.check()
    await watch._tasks.drain(timeout_s=30)


def gateway(store, text=OURS):
    return SettingsWatch(store, text, tasks=OwnedTasks(), timeout=SharedTimeout(30))


async def test_the_settings_of_who_was_here_before_are_told_once(open_store, clock, caplog):
    await check(gateway(open_store(), THEIRS))
    clock.advance(s=86_400)
    ours = gateway(open_store())
    await check(ours)
    await check(ours)
    (told,) = said(caplog)
    assert told.startswith("BUDGET_HASH_SECRET of this process differ from those of another gateway")
    # It was a change: whoever starts later with the same settings has nothing to tell.
    await check(gateway(open_store()))
    assert len(said(caplog)) == 1


async def test_two_that_are_alive_both_tell(open_store, clock, caplog):
    ours, theirs = gateway(open_store()), gateway(open_store(), settings(secret="", timezone="Europe/Berlin"))
    await check(ours)
    await check(theirs)
    assert len(said(caplog)) == 1
    clock.advance(s=60)
    await check(ours)
    assert len(said(caplog)) == 2
    assert all(told.startswith("BUDGET_HASH_SECRET, BUDGET_TIMEZONE of this process") for told in said(caplog))
    assert {note.text for note in await open_store().notes()} == {ours._own, theirs._own}


async def test_one_that_has_gone_is_not_told_again(open_store, clock, caplog):
    await check(gateway(open_store()))
    await check(gateway(open_store(), THEIRS))
    clock.advance(ms=ALIVE_MS + 1)
    await check(gateway(open_store(), THEIRS))
    assert len(said(caplog)) == 1


async def test_the_same_settings_are_nothing_to_tell(open_store, caplog):
    await check(gateway(open_store()))
    await check(gateway(open_store()))
    assert said(caplog) == []
    assert [(note.topic, note.text) for note in await open_store().notes()] == [(Topic.SETTINGS, OURS)]


async def test_it_looks_once_a_minute_at_most(open_store):
    store = open_store()
    watch = gateway(store)
    for _ in range(5):
        watch.check()
    await watch._tasks.drain(timeout_s=30)
    (note,) = await store.notes()
    assert isinstance(note, Note)


async def test_without_a_fingerprint_nothing_is_written(open_store):
    store = open_store()
    await check(gateway(store, ""))
    assert await store.notes() == []


async def test_a_store_that_is_away_stops_nobody(caplog):
    class Away:
        async def head(self):
            raise StoreUnavailable("gone")

    await check(gateway(Away()))
    assert said(caplog) == []


async def test_an_empty_namespace_beside_others_is_told(empty_server_url, namespace, caplog):
    used = RedisStore(empty_server_url, namespace=f"{namespace}-used", timeout_s=30)
    empty = RedisStore(empty_server_url, namespace=namespace, timeout_s=30)
    try:
        await used.set_limit("global", period=Period.DAY, limit_nanos=1)
        await check(gateway(empty))
        (told,) = logged(caplog)
        assert told.startswith("this namespace is empty, and others in this store are not: ")
        assert f"{namespace}-used" in told
        await check(gateway(empty))
        assert len(logged(caplog)) == 1
    finally:
        await used.aclose()
        await empty.aclose()


async def test_a_store_is_not_its_own_neighbour(open_store, namespace):
    store = open_store()
    await store.set_limit("global", period=Period.DAY, limit_nanos=1)
    assert namespace not in await store.neighbours()
