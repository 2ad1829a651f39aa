"""Which entries tell a worker of lost writes: those that it remembers must be the last that were acknowledged."""

from budget_middleware.core.answers import Answer
from budget_middleware.ledger.calls.monitor import StoreMonitor, StorePosition
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.testing import MovableClock
from tests.ledger.faults import FaultyStore
from tests.ledger.test_store_loss import fail_over, replica_of
from tests.stores.verbs import finalize, release, reserve, target

FEW_VOIDED = Retention(journal_max=20)
"""Beside this journal the last two steps of what came to nothing are kept."""


class Worker:
    """What one worker hears of its store."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = FaultyStore(store)
        self.losses = 0
        self.monitor = StoreMonitor(self.store.store, tasks=OwnedTasks(), on_loss=self._count)

    def _count(self) -> None:
        self.losses += 1

    def hear(self, *answers: Answer, before: StorePosition | None = None) -> None:
        for answer in answers:
            self.monitor.record_reply(answer, before or self.monitor.seen, now_s=0.0)


async def _book(store: MemoryStore, name: str) -> list[Answer]:
    return [await store.reserve(reserve(name, "0.10")), await store.finalize(finalize(name, "0.02"))]


async def _give_back(store: MemoryStore, name: str) -> list[Answer]:
    return [await store.reserve(reserve(name, "0.10")), await store.release(release(name))]


async def test_a_release_that_was_voided_and_dropped_is_no_loss(clock: MovableClock):
    store = MemoryStore(FEW_VOIDED, clock_ms=clock)
    worker = Worker(store)
    worker.hear(*await _book(store, "booked"), *await _give_back(store, "given-back"))
    clock.advance(s=1)
    for number in range(3):
        await _give_back(store, f"others-{number}")
    assert "given-back" not in {entry.reservation_id for entry in await store.latest(count=100)}
    await worker.monitor.look_for_loss()
    assert worker.losses == 0


async def test_a_lasting_entry_tells_of_a_loss_where_what_came_after_it_is_dropped(clock: MovableClock):
    store = MemoryStore(FEW_VOIDED, clock_ms=clock)
    worker, replica = Worker(store), replica_of(store)
    worker.hear(*await _book(store, "booked"), *await _give_back(store, "given-back"))
    fail_over(worker.store, replica)
    clock.advance(s=1)
    await _book(replica, "others")
    for number in range(3):
        await _give_back(replica, f"others-{number}")
    assert worker.monitor.seen.seq not in {entry.seq for entry in await replica.latest(count=100)}
    await worker.monitor.look_for_loss()
    assert worker.losses == 1


async def test_of_replies_that_overtake_each_other_the_last_entry_is_remembered(clock: MovableClock):
    store = MemoryStore(clock_ms=clock)
    worker = Worker(store)
    before = worker.monitor.seen
    worker.hear(await store.reserve(reserve("given-back", "0.10")))
    overtaken = await store.reserve(reserve("slow", "0.10"))
    replica = replica_of(store)
    worker.hear(await store.release(release("given-back")), overtaken, before=before)
    fail_over(worker.store, replica)
    clock.advance(s=1)
    await replica.reserve(reserve("others", "0.01", target("key:b")))
    await worker.monitor.look_for_loss()
    assert worker.losses == 1
