"""Workers at once on one real server or file, each with connections of its own and the store's own clock."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import pytest

from budget_middleware.core.statuses import Status
from budget_middleware.core.windows import FOREVER_MS, Period
from budget_middleware.stores.base import Store
from budget_middleware.stores.opening import open_store
from budget_middleware.stores.retention import Retention
from tests.stores.audit import audit
from tests.stores.verbs import adjust, figures, finalize, release, reserve, target

TOTAL = target(limit="1.00", period=Period.TOTAL)
TEAM = target("team:b", "2.00", period=Period.TOTAL)
Workers = Sequence[Store]


@pytest.fixture(params=["server", "sqlite"])
async def workers(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> AsyncIterator[Workers]:
    url = f"sqlite:///{tmp_path}/budget.db" if request.param == "sqlite" else request.getfixturevalue("server_url")
    stores = [open_store(url, namespace=namespace, timeout_s=10, retention=Retention()) for _ in range(8)]
    yield stores
    for store in stores:
        await store.aclose()


@pytest.mark.proves("I6")
async def test_the_admitted_never_exceed_the_limit(workers: Workers):
    assert TOTAL.window.ends_ms == FOREVER_MS

    async def hammer(worker: Store, name: int) -> int:
        verbs = [reserve(f"{name}.{at}", "0.03", TOTAL, TEAM) for at in range(50)]
        return [(await worker.reserve(verb)).status for verb in verbs].count(Status.RESERVED)

    admitted = await asyncio.gather(*(hammer(worker, name) for name, worker in enumerate(workers)))
    assert sum(admitted) == 33
    assert await figures(workers[0], TOTAL) == await figures(workers[0], TEAM) == ("0.00", "0.99")
    await audit(workers[0])


@pytest.mark.proves("I6", "I9")
async def test_whatever_they_do_the_limit_holds_and_the_journal_explains_it(workers: Workers):
    """Actual costs up to the estimates, so that spent plus reserved may at no entry exceed the limit."""

    async def work(worker: Store, random: Random, name: int) -> None:
        for at in range(60):
            id_, cents = f"{name}.{at}", random.randint(1, 40)
            if not (await worker.reserve(reserve(id_, f"0.{cents:02}", TOTAL, TEAM))).admits:
                continue
            if random.random() < 0.3:
                await worker.finalize(finalize(id_, f"0.0{random.randint(0, min(cents, 2))}", TOTAL, TEAM))
            else:
                await worker.release(release(id_))

    await asyncio.gather(*(work(worker, Random(name), name) for name, worker in enumerate(workers)))
    entries = await workers[0].latest(count=10_000)
    assert {entry.counter.account for entry in entries} == {"key:a", "team:b"}
    for entry in entries:
        assert entry.limit is not None
        assert entry.spent + entry.reserved <= entry.limit
    assert [proof.balance.reserved for proof in await workers[0].proofs()] == [0, 0]
    await audit(workers[0])


@pytest.mark.proves("I10")
@pytest.mark.parametrize("attempt", range(5))
async def test_one_id_from_everywhere_at_once_is_done_once(workers: Workers, attempt: int):
    def statuses(answers: Sequence) -> list[Status]:
        return sorted(answer.status for answer in answers)

    reserved = await asyncio.gather(*(worker.reserve(reserve("r", "0.60", TOTAL)) for worker in workers))
    assert statuses(reserved) == [Status.DUPLICATE] * 7 + [Status.RESERVED]
    assert all(answer.admits for answer in reserved)
    ended = await asyncio.gather(*(worker.finalize(finalize("r", "0.10", TOTAL)) for worker in workers))
    assert statuses(ended) == [Status.ALREADY_FINALIZED] * 7 + [Status.FINALIZED]
    adjusted = await asyncio.gather(*(worker.adjust(adjust("a", "0.05", TOTAL)) for worker in workers))
    assert statuses(adjusted) == [Status.ADJUSTED] + [Status.DUPLICATE] * 7
    assert await figures(workers[0], TOTAL) == ("0.15", "0.00")
    assert len(await workers[0].latest(count=100)) == 3


@pytest.mark.proves("I3")
async def test_the_first_ending_wins(workers: Workers):
    for at in range(40):
        id_ = f"r{at}"
        await workers[0].reserve(reserve(id_, "0.02", TOTAL))
        endings = [
            worker.finalize(finalize(id_, "0.01", TOTAL)) if name % 2 else worker.release(release(id_))
            for name, worker in enumerate(workers)
        ]
        answers = await asyncio.gather(*endings)
        assert sum(len(answer.entries) for answer in answers) == 1
    spent, reserved = await figures(workers[0], TOTAL)
    booked = [entry for entry in await workers[0].latest(count=1000) if entry.spent_delta]
    assert (spent, reserved) == (f"{len(booked) / 100:.2f}", "0.00")
    await audit(workers[0])
