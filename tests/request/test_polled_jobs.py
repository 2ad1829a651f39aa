"""Clients that poll: what the store is asked for jobs that run, that have ended, and that are not ours."""

import asyncio

import pytest

from budget_middleware.ledger.jobs.closed import ENDED_S, REMEMBERED, UNKNOWN_S, ClosedJobs
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import bearer

VIDEO: dict[str, object] = {"id": "video_1", "object": "video", "model": "plain", "seconds": "8"}
BATCH: dict[str, object] = {
    "id": "batch_1",
    "object": "batch",
    "request_counts": {"total": 1, "completed": 1, "failed": 0},
}
MESSAGES: dict[str, object] = {"id": "batch_1", "type": "message_batch"}
RESPONSE: dict[str, object] = {"id": "resp_1", "object": "response", "model": "plain", "background": True}
USED = {"input_tokens": 0, "output_tokens": 20, "total_tokens": 20}
RUNNING = [
    ("/v1/videos/video_1", VIDEO | {"status": "in_progress"}),
    ("/v1/batches/batch_1", BATCH | {"status": "in_progress"}),
    ("/v1/messages/batches/batch_1", MESSAGES | {"processing_status": "in_progress"}),
    ("/v1/responses/resp_1", RESPONSE | {"status": "in_progress"}),
]
OVER = [
    ("/v1/videos/video_1", VIDEO | {"status": "completed"}),
    ("/v1/videos/video_1/content", {"film": 1}),
    ("/v1/batches/batch_1", BATCH | {"status": "completed", "usage": USED}),
    ("/v1/messages/batches/batch_1", MESSAGES | {"processing_status": "ended"}),
    ("/v1/messages/batches/batch_1/results", {"custom_id": "c"}),
    ("/v1/files/file-1/content", {"custom_id": "c"}),
    ("/v1/responses/resp_1", RESPONSE | {"status": "completed", "output": [], "usage": USED}),
]
CREATIONS = {"/v1/videos": VIDEO, "/v1/batches": BATCH, "/v1/responses": RESPONSE}
BODIES = {
    "/v1/videos": {"model": "plain", "prompt": "x"},
    "/v1/batches": {"input_file_id": "file-in"},
    "/v1/responses": {"model": "plain", "input": "x", "background": True, "max_output_tokens": 100},
}


class Forgetting:
    """The clock by which a worker forgets, in seconds."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def forgetting():
    return Forgetting()


def guard_of(bench, answer, forgetting=None):
    guard = bench.guard(ScriptedApp(*json_answer(answer)), job_estimate_usd="0.10")
    if forgetting is not None:
        guard.ledger.tickets.closed = ClosedJobs(clock_s=forgetting)
    return guard


async def polls(bench, guard, path, times):
    """What the store is asked while a path is polled so often."""
    calls = bench.store_of(guard).calls
    before = len(calls)
    for _ in range(times):
        assert (await call(guard, path=path, method="GET", headers=bearer())).status == 200
    await guard.ledger.drain()
    return [verb for verb in calls[before:] if verb in ("kept_facts", "reservation", "finalize", "keep_fact")]


async def create(bench, collection):
    created = CREATIONS[collection] | {"status": "queued"}
    await call(guard_of(bench, created), BODIES[collection], path=collection, headers=bearer())


@pytest.mark.parametrize(("path", "answer"), RUNNING)
async def test_who_polls_what_still_runs_asks_the_store_nothing(memory, path, answer):
    assert await polls(memory, guard_of(memory, answer), path, 5) == []


@pytest.mark.parametrize(("path", "answer"), OVER)
async def test_who_polls_what_is_over_and_not_ours_asks_once_in_two_seconds(memory, forgetting, path, answer):
    guard = guard_of(memory, answer, forgetting)
    assert await polls(memory, guard, path, 5) == ["kept_facts"]
    forgetting.now_s += UNKNOWN_S
    assert await polls(memory, guard, path, 5) == ["kept_facts"]


@pytest.mark.parametrize(("path", "answer"), OVER)
async def test_an_error_is_not_remembered(memory, path, answer):
    guard = memory.guard(ScriptedApp(*json_answer(answer, status=404)))
    asked = [await call(guard, path=path, method="GET", headers=bearer()) for _ in range(2)]
    assert [each.status for each in asked] == [404, 404]
    assert len(guard.ledger.tickets.closed) == 0


@pytest.mark.parametrize(("path", "answer"), [OVER[0], OVER[2], OVER[6]])
async def test_who_polls_what_is_booked_asks_once_in_a_minute(bench, forgetting, path, answer):
    collection = path.rpartition("/")[0]
    await create(bench, collection)
    guard = guard_of(bench, answer, forgetting)
    assert "finalize" in await polls(bench, guard, path, 1)
    spent = await bench.figures()
    assert spent[1] == "0.00"
    assert "reservation" in await polls(bench, guard, path, 1)
    forgetting.now_s += UNKNOWN_S
    # A path that two APIs share: the other one's ticket may still come.
    assert set(await polls(bench, guard, path, 5)) <= ({"kept_facts"} if collection == "/v1/batches" else set())
    forgetting.now_s += ENDED_S
    assert "reservation" in await polls(bench, guard, path, 5)
    assert await bench.figures() == spent


@pytest.mark.parametrize("collection", CREATIONS)
async def test_a_ticket_that_another_worker_makes_is_found_though_its_job_was_polled_before(bench, collection):
    path, over = next((path, answer) for path, answer in OVER if path.rpartition("/")[0] == collection)
    _, running = next((path, answer) for path, answer in RUNNING if path.rpartition("/")[0] == collection)
    poller = guard_of(bench, running)
    await polls(bench, poller, path, 3)
    await create(bench, collection)
    # The same worker, which now gets its end.
    poller._jobs._app = ScriptedApp(*json_answer(over))
    assert "finalize" in await polls(bench, poller, path, 1)
    spent, held = await bench.figures()
    assert spent != "0.00"
    assert held == "0.00"


async def test_a_ticket_that_comes_after_the_end_is_found_two_seconds_later(bench, forgetting):
    path, answer = OVER[0]
    guard = guard_of(bench, answer, forgetting)
    await polls(bench, guard, path, 1)
    await create(bench, "/v1/videos")
    forgetting.now_s += UNKNOWN_S
    assert "finalize" in await polls(bench, guard, path, 1)


async def test_a_worker_finds_the_ticket_that_it_makes_itself_at_once(bench):
    path, answer = OVER[0]
    guard = guard_of(bench, answer)
    await polls(bench, guard, path, 1)
    guard._responder._app = ScriptedApp(*json_answer(VIDEO | {"status": "queued"}))
    await call(guard, BODIES["/v1/videos"], path="/v1/videos", headers=bearer())
    assert "finalize" in await polls(bench, guard, path, 1)


@pytest.mark.parametrize(("path", "answer"), [OVER[0], OVER[4], OVER[5]])
async def test_what_the_store_did_not_answer_is_asked_again(memory, path, answer):
    guard = guard_of(memory, answer)
    store = memory.store_of(guard)

    async def fail():
        raise TimeoutError

    store.before["kept_facts"] = fail
    assert await polls(memory, guard, path, 2) == ["kept_facts"] * 2
    del store.before["kept_facts"]
    assert await polls(memory, guard, path, 2) == ["kept_facts"]


async def test_many_who_ask_for_one_job_at_once_book_it_once(bench):
    await create(bench, "/v1/videos")
    path, answer = OVER[0]
    guard = guard_of(bench, answer)
    await asyncio.gather(*(call(guard, path=path, method="GET", headers=bearer()) for _ in range(8)))
    assert await bench.figures() == ("0.10", "0.00")


def test_of_more_jobs_than_it_remembers_it_forgets_the_oldest():
    closed = ClosedJobs(clock_s=lambda: 0.0)
    for at in range(REMEMBERED + 10):
        closed.add_unknown(f"fact {at}")
    assert len(closed) == REMEMBERED
    assert not closed.has("fact 9")
    assert closed.has("fact 10")


def test_what_has_ended_is_not_forgotten_earlier_because_it_is_unknown_elsewhere():
    now = [0.0]
    closed = ClosedJobs(clock_s=lambda: now[0])
    closed.add_ended("fact")
    closed.add_unknown("fact")
    now[0] = UNKNOWN_S
    assert closed.has("fact")
    closed.forget("fact")
    assert not closed.has("fact")
