"""Responses that are worked on in the background: the ceiling, and its correction."""

import pytest

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Op
from budget_middleware.request.background import is_response_lookup
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
    assert await bench.figures() == ("0.60", "0.00")


async def look(bench, answer, *, method="GET", path=f"{PATH}/resp_1", **settings):
    """Through another worker than the one that saw it created."""
    app = ScriptedApp(*answer) if isinstance(answer, list) else ScriptedApp(*json_answer(answer))
    played = await call(bench.guard(app, **settings), path=path, method=method, headers=bearer())
    await bench.settle()
    return played


async def test_f51_a_background_answer_is_booked_at_its_ceiling_and_corrected_once(bench):
    await create(bench)
    await look(bench, {**QUEUED, "status": "in_progress"})
    assert await bench.figures() == ("0.60", "0.00")
    for _ in range(3):
        played = await look(bench, done(100))
        assert played.json() == done(100)
        assert await bench.figures() == ("0.10", "0.00")
    (correction,) = [entry for entry in await whole_journal(bench.reader) if entry.op is Op.ADJUST]
    assert correction.spent_delta == nanos_from_usd("-0.50")


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
    assert await bench.figures() == ("0.60", "0.00")
    await look(bench, done(100))
    assert await bench.figures() == ("0.10", "0.00")


async def test_f51_it_is_booked_on_each_model_that_the_request_names(bench):
    guard = bench.guard(ScriptedApp(*json_answer(QUEUED)), limits="key=9/month; model:*=9/month")
    await call(guard, ASK, path=PATH, headers=bearer(), scope={"query_string": b"model=short"})
    spent = {account: await bench.figures(account) for account in (KEY, "model:plain", "model:short")}
    assert set(spent.values()) == {("0.60", "0.00")}


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
    assert await bench.figures() == ("0.60", "0.00")
    completed = event({"type": "response.completed", "response": done(100)})
    await look(bench, [STREAM_START, begun, completed, DONE, LAST])
    assert await bench.figures() == ("0.10", "0.00")


async def test_f51_who_leaves_pays_the_ceiling_whatever_is_booked_of_others(bench):
    begun = event({"type": "response.created", "response": QUEUED})
    guard = bench.guard(ScriptedApp(STREAM_START, begun, client_gone), on_abort="input")
    await call(guard, {**ASK, "stream": True}, path=PATH, headers=bearer(), leaves_after=2)
    assert await bench.figures() == ("0.60", "0.00")


async def test_the_journal_leads_from_the_reservation_to_the_booking(bench):
    await create(bench)
    journal = await whole_journal(bench.reader)
    (released,) = [entry for entry in journal if entry.op is Op.RELEASE]
    (booked,) = [entry for entry in journal if entry.op is Op.FINALIZE]
    assert released.reason == f"booked_by:{booked.reservation_id}"
    assert (booked.reason, booked.spent_delta) == ("estimated_background", nanos_from_usd("0.60"))


async def test_f51_an_id_that_was_seen_before_makes_nothing_free(bench):
    """As of an upstream that numbers its responses from 1 at each start. Only the first of them can be corrected."""
    limits = {"limits": "key=9/month"}
    await create(bench, **limits)
    guard = bench.guard(ScriptedApp(*json_answer(QUEUED)), **limits)
    await call(guard, ASK, path=PATH, headers=bearer())
    assert await bench.figures() == ("1.20", "0.00")
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
async def test_what_corrects_nothing(bench, answer):
    await create(bench)
    await look(bench, answer)
    assert await bench.figures() == ("0.60", "0.00")


async def test_one_that_was_not_in_the_background_is_not_booked_again(bench):
    whole = done(100, background=False)
    guard = bench.guard(ScriptedApp(*json_answer(whole)))
    await call(guard, ASK, path=PATH, headers=bearer())
    await look(bench, whole)
    assert await bench.figures() == ("0.10", "0.00")


async def test_switched_off_nothing_is_read(memory):
    await create(memory)
    await look(memory, done(100), mode="off")
    assert await memory.figures() == ("0.60", "0.00")


@pytest.mark.parametrize(
    ("path", "tells"),
    [
        ("/v1/responses/resp_1", True),
        ("/responses/resp_1/", True),
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
