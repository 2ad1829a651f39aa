"""What workers learn from answers, and what they hear of each other at heartbeats."""

import asyncio
import logging

import pytest

from budget_middleware.core.costs.learning import (
    NO_ANSWERS,
    AnswerGroup,
    AnswerSeen,
    Basis,
    Expectation,
    Sums,
    expect,
    merge,
    sums_of,
)
from budget_middleware.ledger import Learner, Ledger
from budget_middleware.ledger.sharing import learner
from budget_middleware.stores.base import Store
from budget_middleware.testing import Gate
from tests.ledger.conftest import OpenLedger
from tests.ledger.faults import FaultyStore, refused, reply_held, reply_lost, request_lost
from tests.stores.clocked import ClockedRedisStore

KEY = AnswerGroup("gpt-4o", "key:1f3a5b7c1f3a5b7c")
OTHER_KEY = AnswerGroup("gpt-4o", "key:ffffffffffffffff")
MODEL = AnswerGroup("gpt-4o")


def answer(tokens: int) -> AnswerSeen:
    return AnswerSeen(tokens, seconds=tokens / 64, estimated=1_000, billed=1_000)


def expected(worker: Ledger | Learner, group: AnswerGroup = KEY, *, prior_tokens: int = 1_024) -> Expectation:
    learner = worker.learner if isinstance(worker, Ledger) else worker
    return learner.expectation(group, prior_tokens=prior_tokens)


def learn(worker: Ledger, tokens: int, times: int, group: AnswerGroup = KEY) -> None:
    for _ in range(times):
        worker.learner.add(group, answer(tokens))


async def forget_learnt(base: Store) -> None:
    """As a flush does."""
    if isinstance(base, ClockedRedisStore):
        await base.forget_everything()
    else:
        base._learnt.clear()  # type: ignore[attr-defined]


async def asked(base: Store, group: AnswerGroup) -> Sums:
    """What the store knows; no answers where that is nothing."""
    return (await base.learn({group: NO_ANSWERS})).get(group, NO_ANSWERS)


# One worker.


def test_a_worker_begins_with_the_prior(open_ledger: OpenLedger):
    assert expected(open_ledger()) == expect(NO_ANSWERS, NO_ANSWERS, prior_tokens=1_024)


def test_a_new_key_is_expected_as_its_model_is(open_ledger: OpenLedger):
    worker = open_ledger()
    learn(worker, 300, 20)
    of_new_key = expected(worker, OTHER_KEY)
    assert of_new_key == expected(worker, MODEL)
    assert of_new_key.basis is Basis.MODEL
    assert expected(worker).basis is Basis.KEY


def test_another_prior_is_another_expectation(open_ledger: OpenLedger):
    worker = open_ledger()
    assert expected(worker, prior_tokens=9).mean_tokens == 9
    assert expected(worker, prior_tokens=1_024).mean_tokens == 1_024


def test_a_few_answers_hardly_move_a_mean_of_many_and_need_not_be_folded_at_once(open_ledger: OpenLedger):
    worker = open_ledger()
    learn(worker, 100, 1_000)
    before = expected(worker)
    learn(worker, 5_000, 1)
    assert expected(worker) is before
    learn(worker, 5_000, 32)
    assert expected(worker).mean_tokens > before.mean_tokens


def test_however_many_keys_ask_a_worker_knows_those_that_were_answered(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    """Whoever invents keys, and is refused by the gateway, makes nobody's answers forgotten."""
    monkeypatch.setattr(learner, "MOST_GROUPS", 10)
    monkeypatch.setattr(learner, "MOST_WANTED", 5)
    worker = open_ledger()
    learn(worker, 100, 20)
    for number in range(100):
        expected(worker, AnswerGroup("gpt-4o", f"key:{number:016x}"))
    assert expected(worker).basis is Basis.KEY
    assert len(worker.learner._wanted) == 5
    for number in range(100):
        learn(worker, 100, 1, AnswerGroup("gpt-4o", f"key:{number:016x}"))
    assert len(worker.learner._groups) == 10
    assert expected(worker).basis is Basis.MODEL


async def test_nor_does_it_know_more_groups_than_that_of_those_the_store_knows(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(learner, "MOST_GROUPS", 10)
    one, other = open_ledger(), open_ledger()
    groups = [AnswerGroup("gpt-4o", f"key:{number:016x}") for number in range(40)]
    for group in groups:
        learn(one, 100, 1, group)
        await one.learner.share()
        expected(other, group)
    await other.learner.share()
    assert len(other.learner._groups) == 10


async def test_an_answer_that_cannot_be_learnt_from_is_nobodys_error(
    open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
):
    worker = open_ledger()
    for _ in range(3):
        worker.learner.add(KEY, AnswerSeen("many", 1, 1, 1))  # type: ignore[arg-type]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    await worker.learner.share()


# Several workers.


async def test_what_one_worker_learnt_another_expects_a_beat_later(open_ledger: OpenLedger):
    one, other = open_ledger(), open_ledger()
    learn(one, 300, 40)
    await one.learner.share()
    assert expected(other).basis is Basis.PRIOR
    await other.learner.share()
    assert expected(other) == expected(one)
    assert expected(other).basis is Basis.KEY


async def test_64_workers_agree_within_a_heartbeat(faults: FaultyStore, open_ledger: OpenLedger):
    workers = [open_ledger() for _ in range(64)]
    for number, worker in enumerate(workers):
        learn(worker, 100 + number, number % 3)
        expected(worker)
    await asyncio.gather(*(worker.learner.share() for worker in workers))
    for worker in workers:
        expected(worker)
    await asyncio.gather(*(worker.learner.share() for worker in workers))
    assert len({expected(worker) for worker in workers}) == 1
    assert expected(workers[0]).answers == sum(number % 3 for number in range(64)) - 1  # They weigh a little less.


async def test_a_restart_forgets_nothing(open_ledger: OpenLedger):
    before = open_ledger()
    learn(before, 300, 7)
    await before.drain()
    after = open_ledger()
    expected(after)
    await after.learner.share()
    assert expected(after) == expected(before)


async def test_a_heartbeat_tells(open_ledger: OpenLedger, base: Store):
    worker = open_ledger()
    learn(worker, 300, 7)
    await worker._serve_loop()
    assert await asked(base, KEY) != NO_ANSWERS


async def test_only_what_was_used_is_told(faults: FaultyStore, open_ledger: OpenLedger):
    worker = open_ledger()
    await worker.learner.share()
    learn(worker, 300, 7)
    await worker.learner.share()
    await worker.learner.share()
    assert faults.count("learn") == 1


async def test_many_groups_are_told_in_parts(faults: FaultyStore, open_ledger: OpenLedger, base: Store):
    worker = open_ledger()
    groups = [AnswerGroup("gpt-4o", f"key:{number:016x}") for number in range(150)]
    for group in groups:
        learn(worker, 300, 1, group)
    await worker.learner.share()
    assert faults.count("learn") == 3
    assert NO_ANSWERS not in [await asked(base, group) for group in groups]


# What goes wrong.


@pytest.mark.parametrize("fault", [request_lost, refused])
async def test_what_was_not_shared_is_told_at_the_next_beat(
    faults: FaultyStore, open_ledger: OpenLedger, base: Store, fault
):
    worker = open_ledger()
    learn(worker, 300, 7)
    before = expected(worker)
    faults.meets("learn", fault)
    await worker.learner.share()
    assert expected(worker) == before
    await worker.learner.share()
    assert round((await asked(base, KEY)).answers) == 7


async def test_a_lost_reply_counts_one_beat_twice(faults: FaultyStore, open_ledger: OpenLedger, base: Store):
    worker = open_ledger()
    learn(worker, 300, 7)
    faults.meets("learn", reply_lost)
    await worker.learner.share()
    await worker.learner.share()
    assert round((await asked(base, KEY)).answers) == 14
    assert expected(worker).mean_tokens == pytest.approx(300, rel=0.7)


async def test_a_store_that_cannot_learn_fails_no_heartbeat(
    faults: FaultyStore, open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
):
    async def unknown(_):
        raise AttributeError("learn")

    worker = open_ledger()
    learn(worker, 300, 7)
    faults.always["learn"] = unknown
    await worker._serve_loop()
    assert expected(worker).basis is Basis.KEY
    assert caplog.records


async def test_answers_that_come_while_others_are_told_are_told_next(
    faults: FaultyStore, open_ledger: OpenLedger, base: Store
):
    worker, gate = open_ledger(), Gate()
    learn(worker, 300, 7)
    faults.meets("learn", reply_held(gate))
    telling = asyncio.create_task(worker.learner.share())
    await gate.reached()
    learn(worker, 300, 3)
    await worker.learner.share()
    gate.open()
    await telling
    assert expected(worker).answers == 10
    await worker.learner.share()
    assert round((await asked(base, KEY)).answers) == 10


async def test_a_store_that_lost_all_is_told_again_by_one_worker(open_ledger: OpenLedger, base: Store):
    one, other = open_ledger(), open_ledger()
    learn(one, 300, 40)
    await one.learner.share()
    expected(other)
    await other.learner.share()
    await forget_learnt(base)
    learn(one, 300, 1)
    before = expected(one)
    await one.learner.share()
    assert expected(one).mean_tokens == pytest.approx(before.mean_tokens, rel=0.01)
    assert round((await asked(base, KEY)).answers) == 40
    # The others find it there, and tell nothing again.
    learn(other, 300, 1)
    await other.learner.share()
    assert expected(other).answers == 41


@pytest.mark.parametrize("base", ["server"], indirect=True)
async def test_a_damaged_record_is_learnt_anew(open_ledger: OpenLedger, base: ClockedRedisStore):
    worker = open_ledger()
    learn(worker, 300, 40)
    await worker.learner.share()
    for text in ("x", "1 1e999 1 1 1 1 1", "-1"):
        await base._client().set(f"{base._prefix}e:{KEY.name}", text)
        expected(worker)
        await worker.learner.share()
        assert round((await asked(base, KEY)).answers) == 39
        assert expected(worker).mean_tokens == pytest.approx(300, rel=0.3)


async def test_merged_sums_are_those_of_all_workers(open_ledger: OpenLedger, base: Store):
    workers = [open_ledger() for _ in range(3)]
    for worker in workers:
        learn(worker, 300, 1)
        await worker.learner.share()
    one = sums_of([answer(300)])
    assert await asked(base, KEY) == merge(merge(one, one), one)
