"""Vertex AI's batches and tuning: held by the operator's rule, booked by what a GET shows of them."""

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import KEY, bearer

PLACE = "projects/p/locations/l"
BATCHES = f"/v1/{PLACE}/batchPredictionJobs"
TUNING = f"/v1/{PLACE}/tuningJobs"
PRICES = """
[models."batches/answerer"]  # A cent for each call that was answered.
call = 0.01
hold_at_most = 0.5
[models."fine-tuning/pupil"]  # A dollar for ten thousand tokens.
training = 100
"""


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


def batch(state="PENDING", **fields):
    return {"name": f"{PLACE}/batchPredictionJobs/77", "state": f"JOB_STATE_{state}", "model": "m", **fields}


def tuning(state="RUNNING", **fields):
    return {"name": f"{PLACE}/tuningJobs/88", "state": f"JOB_STATE_{state}", "baseModel": "pupil", **fields}


async def create(bench, answer, *, path=BATCHES, body=None, **settings):
    body = {"model": "publishers/google/models/answerer", "inputConfig": {}} if body is None else body
    settings.setdefault("job_estimate_usd", "0.25")
    app = ScriptedApp(*json_answer(answer))
    return await call(bench.guard(app, **settings), body, path=path, headers=bearer())


async def look(bench, answer, *, path=f"{BATCHES}/77", status=200, token="sk-two"):
    guard = bench.guard(ScriptedApp(*json_answer(answer, status=status)))
    await call(guard, path=path, method="GET", headers=bearer(token))
    await bench.settle()


async def test_a_batch_is_held_by_the_operators_rule_and_booked_by_its_calls(bench):
    assert (await create(bench, batch())).status == 200
    assert await bench.figures() == ("0.00", "0.50")
    await look(bench, batch("RUNNING", completionStats={"successfulCount": "3"}))
    assert await bench.figures() == ("0.00", "0.50")
    for _ in range(2):
        await look(bench, batch("SUCCEEDED", completionStats={"successfulCount": "30", "failedCount": "2"}))
        assert await bench.figures() == ("0.30", "0.00")
    assert await bench.accounts() == {KEY}


async def test_calls_beyond_what_was_held_are_booked_too(bench):
    await create(bench, batch())
    await look(bench, batch("PARTIALLY_SUCCEEDED", completion_stats={"successful_count": 70}))
    assert await bench.figures() == ("0.70", "0.00")


@pytest.mark.parametrize(
    ("state", "stats", "booked"),
    [
        pytest.param("SUCCEEDED", {}, "0.50", id="shows nothing"),
        pytest.param("FAILED", {}, "0.00", id="failed"),
        pytest.param("FAILED", {"successfulCount": "5"}, "0.05", id="failed after some"),
        pytest.param("CANCELLED", {"successfulCount": 7}, "0.07", id="cancelled"),
        pytest.param("CANCELLED", {}, "0.50", id="cancelled, and shows nothing"),
    ],
)
async def test_how_a_batch_ends(bench, state, stats, booked):
    await create(bench, batch())
    await look(bench, batch(state, completionStats=stats))
    assert await bench.figures() == (booked, "0.00")


@pytest.mark.parametrize("model", ["publishers/anthropic/models/claude-x", "", 7, None])
async def test_one_without_a_price_is_never_free(bench, model):
    await create(bench, batch(), body={"model": model})
    assert await bench.figures() == ("0.00", "0.25")
    await look(bench, batch("SUCCEEDED", completionStats={"successfulCount": "30"}))
    assert await bench.figures() == ("0.25", "0.00")


@pytest.mark.parametrize("answer", [{}, {"name": 7}, {"state": "JOB_STATE_SUCCEEDED"}, [], {"batchPredictionJobs": []}])
async def test_an_answer_that_shows_no_job_books_nothing(bench, answer):
    await create(bench, batch())
    await look(bench, answer)
    await look(bench, batch("SUCCEEDED"), status=403)
    await look(bench, {**batch("SUCCEEDED"), "name": f"{PLACE}/batchPredictionJobs/78"})
    assert await bench.figures() == ("0.00", "0.50")


async def test_one_that_nobody_asks_for_is_booked_at_its_deadline(bench):
    await create(bench, batch())
    bench.clock.advance(s=172_800)
    await bench.guard(ScriptedApp()).ledger.sweep()
    assert await bench.figures() == ("0.50", "0.00")


async def test_beyond_the_budget_it_is_googles_error(bench):
    played = await create(bench, batch(), limits="key=0.1/month")
    assert (played.status, played.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


def trained(tokens, *, kind="supervisedTuningDataStats"):
    return {"tuningDataStats": {kind: {"totalBillableTokenCount": tokens}}}


async def tune(bench, **fields):
    body = {"baseModel": "pupil", "supervisedTuningSpec": {"hyperParameters": fields}}
    return await create(bench, tuning(), path=TUNING, body=body)


async def test_tuning_is_booked_by_its_tokens_so_often_as_they_were_read(bench):
    assert (await tune(bench, epochCount="2")).status == 200
    assert await bench.figures() == ("0.00", "0.25")
    done = tuning("SUCCEEDED", supervisedTuningSpec={"hyperParameters": {"epochCount": "2"}}, **trained("1000"))
    for _ in range(2):
        await look(bench, done, path=f"{TUNING}/88")
        assert await bench.figures() == ("0.20", "0.00")


DISTILLED = {"distillationDataStats": {"trainingDatasetStats": {"total_billable_token_count": 1}}}
AUTO = {"supervisedTuningSpec": {"hyperParameters": {"epochCount": "auto"}}}


@pytest.mark.parametrize(
    ("fields", "booked"),
    [
        pytest.param(trained(1_000), "0.30", id="three times, unsaid"),
        pytest.param(trained(1_000, kind="preferenceOptimizationDataStats"), "0.30", id="by preference"),
        pytest.param({"tuning_data_stats": DISTILLED}, "0.0003", id="a distillation"),
        pytest.param({}, "0.25", id="shows nothing"),
        pytest.param({**AUTO, **trained(1)}, "0.0003", id="no number"),
    ],
)
async def test_what_tuning_shows(bench, fields, booked):
    await tune(bench)
    await look(bench, tuning("SUCCEEDED", **fields), path=f"{TUNING}/88")
    assert await bench.figures() == (booked, "0.00")


@pytest.mark.parametrize(("state", "booked"), [("FAILED", "0.00"), ("CANCELLED", "0.25")])
async def test_how_tuning_ends(bench, state, booked):
    await tune(bench)
    await look(bench, tuning(state), path=f"{TUNING}/88")
    assert await bench.figures() == (booked, "0.00")


@pytest.mark.parametrize("epochs", ["0", -1, "many"])
async def test_a_number_of_epochs_that_is_none_is_refused(bench, epochs):
    played = await tune(bench, epoch_count=epochs)
    assert (played.status, await bench.figures()) == (400, ("0.00", "0.00"))


async def test_operators_hear_of_what_has_no_price(bench):
    await create(bench, batch(), body={"model": "publishers/google/models/new"})
    await bench.settle()
    assert [note.text for note in await bench.reader.notes()] == ["batches/new"]


async def test_a_cancellation_is_free(bench):
    await create(bench, batch())
    guard = bench.guard(ScriptedApp(*json_answer({})), unmetered="refuse", limits="key=0.1/month")
    assert (await call(guard, {}, path=f"{BATCHES}/77:cancel", headers=bearer())).status == 200
    assert await bench.figures() == ("0.00", "0.50")


async def test_a_list_shows_what_it_has_of_each(bench):
    await create(bench, batch())
    await tune(bench)
    assert await bench.figures() == ("0.00", "0.75")
    listed = {"batchPredictionJobs": [batch("SUCCEEDED", completionStats={"successfulCount": "30"})]}
    await look(bench, listed, path=BATCHES)
    await look(bench, {"tuningJobs": [tuning("SUCCEEDED", **trained(1_000))]}, path=TUNING)
    assert await bench.figures() == ("0.60", "0.00")
