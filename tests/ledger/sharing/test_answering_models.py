"""Which models answer to a name: bounded, forgotten after a day, and shared by workers and restarts."""

from budget_middleware.ledger.sharing.answering_models import MOST_MODELS, MOST_NAMES, REMEMBERED_S, AnsweringModels
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.notes import Topic
from budget_middleware.testing import MovableClock

DAY_MS = int(REMEMBERED_S * 1000)


class Worker:
    """One process's memory over a store."""

    def __init__(self, store: Store, clock: MovableClock) -> None:
        self.tasks = OwnedTasks()
        timeout = SharedTimeout(10, is_silent=lambda: True)
        self.known = AnsweringModels(
            store, tasks=self.tasks, timeout=timeout, shares=True, clock=lambda: clock() / 1000
        )

    async def settle(self) -> None:
        await self.tasks.drain(timeout_s=10)


async def test_the_most_expensive_models_of_a_name_are_kept():
    known = Worker(MemoryStore(), MovableClock()).known
    for n in range(1000):
        known.add("~", f"m{n}", rank=n)
    assert known.of("~", account="") == tuple(f"m{n}" for n in range(1000 - MOST_MODELS, 1000))


async def test_the_names_that_were_used_last_are_kept():
    known = Worker(MemoryStore(), MovableClock()).known
    known.add("used ", "m", rank=1)
    for n in range(3 * MOST_NAMES):
        assert known.of("used ", account="key:a") == ("m",)
        known.add(f"name {n}", "m", rank=1, account="key:b")
    assert known.of("name 0", account="key:b") == ()
    assert known.of(f"name {3 * MOST_NAMES - 1}", account="key:b") == ("m",)


def test_what_an_account_has_led_to_is_its_own():
    known = Worker(MemoryStore(), MovableClock()).known
    known.add("free", "m", rank=1, account="key:a")
    assert known.of("free", account="key:a") == ("m",)
    assert known.of("free", account="key:b") == ()


async def test_a_restart_and_other_workers_know_it_too():
    clock = MovableClock()
    store = MemoryStore(clock_ms=clock)
    one = Worker(store, clock)
    assert one.known.add("free", "gpt-4o", rank=1)
    assert not one.known.add("free", "gpt-4o", rank=1)
    await one.settle()
    other = Worker(store, clock)
    other.known.check()
    await other.settle()
    assert other.known.of("free", account="") == ("gpt-4o",)


async def test_it_is_forgotten_a_day_after_it_was_last_seen():
    clock = MovableClock()
    store = MemoryStore(clock_ms=clock)
    one = Worker(store, clock)
    one.known.add("free", "gpt-4o", rank=1)
    await one.settle()
    clock.now_ms += DAY_MS // 2
    one.known.add("free", "gpt-4o", rank=1)
    await one.settle()
    clock.now_ms += DAY_MS - 1
    other = Worker(store, clock)
    await other.known.read()
    assert one.known.of("free", account="") == other.known.of("free", account="") == ("gpt-4o",)
    clock.now_ms += 1
    later = Worker(store, clock)
    await later.known.read()
    assert [worker.known.of("free", account="") for worker in (one, other, later)] == [(), (), ()]


async def test_no_note_holds_anything_but_names_and_few_are_written():
    clock = MovableClock()
    store = MemoryStore(clock_ms=clock)
    one = Worker(store, clock)
    for name in ("two words", "x" * 300, "\ud800", ""):
        one.known.add(name, "gpt-4o", rank=1)
    for n in range(2_000):
        one.known.add(f"n{n}", "gpt-4o", rank=1)
    await one.settle()
    notes = await store.notes()
    assert len(notes) == 1_000
    assert {note.topic for note in notes} == {Topic.ANSWERED}


async def test_an_odd_note_is_nobodys():
    clock = MovableClock()
    store = MemoryStore(clock_ms=clock)
    await store.add_note(Topic.ANSWERED, "no arrow")
    other = Worker(store, clock)
    await other.known.read()
    assert other.known.of("no arrow", account="") == ()
