"""Responses that are worked on in the background: what is held until their usage is seen, and what is booked then."""

import asyncio

import pytest

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Op
from budget_middleware.request.jobs.background import is_response_lookup
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import ScriptedApp, call, client_gone, event, json_answer
from tests.request.wire import DONE, KEY, LAST, STREAM_START, bearer
from tests.stores.verbs import whole_journal

PATH = "/v1/responses"
ASK = {"model": "plain", "input": "x", "max_output_tokens": 600, "background": True}
QUEUED = {"id": "resp_1", "model": "plain", "status": "queued", "background": True, "output": [], "usage": None}


def done(output_tokens, *, status="completed", **fields):
    return {**QUEUED, "status": status, "usage": {"input_tokens": 9, "output_tokens": output_tokens}, **fields}


async def create(bench, answer=QUEUED, **settings):
    guard = bench.guard(ScriptedApp(*json_answer(answer)), **settings)
    assert (await call(guard, ASK, path=PATH, headers=bearer())).status == 200
    assert await bench.figures() == ("0.00", "0.60")


async def look(bench, answer, *, method="GET", path=f"{PATH}/resp_1", **settings):
    """Through another worker than the one that saw it created."""
    app = ScriptedApp(*answer) if isinstance(answer, list) else ScriptedApp(*json_answer(answer))
    played = await call(bench.guard(app, **settings), path=path, method=method, headers=bearer())
    await bench.settle()
    return played


async def test_f51_a_background_answer_is_held_at_its_ceiling_and_booked_once(bench):
    await create(bench)
    await look(bench, {**QUEUED, "status": "in_progress"})
    assert await bench.figures() == ("0.00", "0.60")
    for _ in range(3):
        played = await look(bench, done(100))
        assert played.json() == done(100)
        assert await bench.figures() == ("0.10", "0.00")
    (booked,) = [entry for entry in await whole_journal(bench.reader) if entry.op is Op.FINALIZE]
    assert (booked.spent_delta, booked.reason) == (nanos_from_usd("0.10"), "usage, job resp_1")


async def test_f51_the_first_usage_that_is_told_counts(bench):
    await create(bench)
    await look(bench, done(100))
    await look(bench, done(200))
    assert await bench.figures() == ("0.10", "0.00")


@pytest.mark.parametrize("output_tokens", [0, 5])
async def test_f51_a_usage_of_what_goes_on_is_not_its_bill(bench, output_tokens):
    """Some upstreams tell zeros, or what was used until now, while they work on it."""
    so_far = done(output_tokens, status="in_progress")
    await create(bench, {**so_far, "status": "queued", "usage": {"input_tokens": 0, "output_tokens": output_tokens}})
    await look(bench, so_far)
    assert await bench.figures() == ("0.00", "0.60")
    await look(bench, done(100))
    assert await bench.figures() == ("0.10", "0.00")


async def test_f51_it_is_booked_on_each_model_that_the_request_names(bench):
    guard = bench.guard(ScriptedApp(*json_answer(QUEUED)), limits="key=9/month; model:*=9/month")
    await call(guard, ASK, path=PATH, headers=bearer(), scope={"query_string": b"model=short"})
    spent = {account: await bench.figures(account) for account in (KEY, "model:plain", "model:short")}
    assert set(spent.values()) == {("0.00", "0.60")}


async def test_f51_a_usage_above_the_ceiling_is_booked_too(bench):
    await create(bench)
    await look(bench, done(700))
    assert await bench.figures() == ("0.70", "0.00")


async def test_f51_a_cancellation_tells_the_usage_as_well(bench):
    await create(bench)
    await look(bench, done(50, status="cancelled"), method="POST", path=f"{PATH}/resp_1/cancel")
    assert await bench.figures() == ("0.05", "0.00")


async def test_f51_a_stream_that_is_resumed_tells_it(bench):
    begun = event({"type": "response.created", "response": QUEUED})
    guard = bench.guard(ScriptedApp(STREAM_START, begun, client_gone))
    await call(guard, {**ASK, "stream": True}, path=PATH, headers=bearer(), leaves_after=2)
    assert await bench.figures() == ("0.00", "0.60")
    completed = event({"type": "response.completed", "response": done(100)})
    await look(bench, [STREAM_START, begun, completed, DONE, LAST])
    assert await bench.figures() == ("0.10", "0.00")


async def test_f51_who_leaves_pays_the_ceiling_whatever_is_booked_of_others(bench):
    begun = event({"type": "response.created", "response": QUEUED})
    guard = bench.guard(ScriptedApp(STREAM_START, begun, client_gone), on_abort="input")
    await call(guard, {**ASK, "stream": True}, path=PATH, headers=bearer(), leaves_after=2)
    assert await bench.figures() == ("0.00", "0.60")


async def test_the_answer_that_creates_it_names_no_cost(bench):
    guard = bench.guard(ScriptedApp(*json_answer(QUEUED)))
    played = await call(guard, ASK, path=PATH, headers=bearer())
    assert played.headers["x-budget-estimate-usd"] == "0.60"
    assert "x-budget-cost-usd" not in played.headers


async def test_two_workers_that_see_it_at_once_book_it_once(bench):
    await create(bench)
    guards = [bench.guard(ScriptedApp(*json_answer(done(100)))) for _ in range(4)]
    asked = [call(guard, path=f"{PATH}/resp_1", method="GET", headers=bearer()) for guard in guards]
    assert {played.status for played in await asyncio.gather(*asked)} == {200}
    assert await bench.figures() == ("0.10", "0.00")


async def test_whoever_asks_the_creator_pays(bench):
    await create(bench)
    app = ScriptedApp(*json_answer(done(100)))
    await call(bench.guard(app), path=f"{PATH}/resp_1", method="GET", headers=bearer("sk-stranger"))
    assert await bench.figures() == ("0.10", "0.00")
    assert await bench.accounts() == {KEY}


async def test_an_answer_that_refuses_a_stranger_changes_nothing(bench):
    await create(bench)
    app = ScriptedApp(*json_answer(done(100), status=403))
    await call(bench.guard(app), path=f"{PATH}/resp_1", method="GET", headers=bearer("sk-stranger"))
    assert await bench.figures() == ("0.00", "0.60")


async def test_one_that_has_failed_without_output_costs_nothing(bench):
    await create(bench)
    await look(bench, {**QUEUED, "status": "failed", "error": {"code": "server_error", "message": "x"}})
    assert await bench.figures() == ("0.00", "0.00")


@pytest.mark.parametrize(("on_abort", "spent"), [("partial", "0.60"), ("release", "0.00")])
async def test_one_that_nobody_asks_for_is_booked_by_the_abort_rule_at_its_deadline(bench, on_abort, spent):
    begun = event({"type": "response.created", "response": QUEUED})
    guard = bench.guard(ScriptedApp(STREAM_START, begun, DONE, LAST), job_deadline_s="86400", on_abort=on_abort)
    await call(guard, {**ASK, "stream": True}, path=PATH, headers=bearer())
    bench.clock.advance(s=86_399)
    await guard.ledger.sweep()
    assert await bench.figures() == ("0.00", "0.60")
    bench.clock.advance(s=1)
    await guard.ledger.sweep()
    assert await bench.figures() == (spent, "0.00")
    await look(bench, done(100))
    assert await bench.figures() == ("0.10", "0.00")


async def test_a_store_that_cannot_keep_it_books_the_ceiling(bench):
    guard = bench.guard(ScriptedApp(*json_answer(QUEUED)))

    async def fail():
        raise StoreUnavailable("away")

    bench.store_of(guard).before["keep_fact"] = fail
    await call(guard, ASK, path=PATH, headers=bearer())
    assert await bench.figures() == ("0.60", "0.00")


async def test_f51_an_id_that_was_seen_before_makes_nothing_free(bench):
    """As of an upstream that numbers its responses from 1 at each start. Only the first of them can be corrected."""
    limits = {"limits": "key=9/month"}
    await create(bench, **limits)
    guard = bench.guard(ScriptedApp(*json_answer(QUEUED)), **limits)
    await call(guard, ASK, path=PATH, headers=bearer())
    assert await bench.figures() == ("0.60", "0.60")
    await look(bench, done(100), **limits)
    assert await bench.figures() == ("0.70", "0.00")


@pytest.mark.parametrize(
    "answer",
    [
        done(100, id="resp_2"),
        done(100, background=False),
        {**done(100), "usage": None},
        {**done(100), "id": None},
        [],
    ],
    ids=["another response", "not in the background", "no usage", "no id", "no answer"],
)
async def test_what_books_nothing(bench, answer):
    await create(bench)
    await look(bench, answer)
    assert await bench.figures() == ("0.00", "0.60")


async def test_one_that_was_not_in_the_background_is_not_booked_again(bench):
    whole = done(100, background=False)
    guard = bench.guard(ScriptedApp(*json_answer(whole)))
    await call(guard, ASK, path=PATH, headers=bearer())
    await look(bench, whole)
    assert await bench.figures() == ("0.10", "0.00")


async def test_switched_off_nothing_is_read(memory):
    await create(memory)
    await look(memory, done(100), mode="off")
    assert await memory.figures() == ("0.00", "0.60")


@pytest.mark.parametrize(
    ("path", "tells"),
    [
        ("/v1/responses/resp_1", True),
        ("/responses/resp_1/", True),
        ("/responses/", False),
        ("//", False),
        ("/cancel/", False),
        ("/v1/responses/resp_1/cancel", True),
        ("/v1/responses", False),
        ("/v1/responses/", False),
        ("/v1/responses/resp_1/input_items", False),
        ("/", False),
        ("", False),
        ("responses/x", False),
    ],
)
def test_paths(path, tells):
    assert is_response_lookup(path) is tells
