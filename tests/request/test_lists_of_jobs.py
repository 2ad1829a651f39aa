"""Lists of jobs: what they show is booked as if each job had been asked for alone, at one look at the store."""

import json

import pytest

from budget_middleware.apis.jobs.lists import items_in, listed_at
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.test_batch_requests import BATCHES, CREATED, create, ended, lines, results, upload
from tests.request.test_batch_requests import planned as calls
from tests.request.wire import bearer

PRICES = """
[models.plain]
input = 0
output = 1000
[models.film]
video_second = 0.01
[models."fine-tuning/tuned"]
training = 100
"""
DONE = ended(model="plain", usage={"input_tokens": 18, "output_tokens": 300})


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


async def post(bench, path, body, answer, **settings):
    guard = bench.guard(ScriptedApp(*json_answer(answer)), **settings)
    assert (await call(guard, body, path=path, headers=bearer())).status == 200


async def get(bench, path, answer):
    guard = bench.guard(ScriptedApp(*json_answer(answer)))
    played = await call(guard, path=path, method="GET", headers=bearer("sk-two"))
    await bench.settle()
    assert played.json() == answer
    return guard


async def test_batches_are_booked_by_a_list(bench):
    await upload(bench, calls(600, 200))
    await create(bench)
    await get(bench, BATCHES, {"data": [{**CREATED, "status": "in_progress"}]})
    assert await bench.figures() == ("0.00", "0.40")
    for _ in range(2):
        await get(bench, BATCHES, {"object": "list", "data": [ended(id="batch_2"), None, 7, DONE, DONE]})
        assert await bench.figures() == ("0.15", "0.00")


async def test_an_output_file_is_known_by_a_list(bench):
    await upload(bench, calls(600, 200))
    await create(bench)
    await get(bench, BATCHES, {"data": [ended()]})
    content = ScriptedApp(*lines(results(100, 200)))
    await call(bench.guard(content), path="/v1/files/file-out/content", method="GET", headers=bearer())
    assert await bench.figures() == ("0.15", "0.00")


async def test_batches_of_anthropic_that_answered_nothing_are_released_by_a_list(bench):
    batch = {"id": "msgbatch_1", "processing_status": "in_progress", "request_counts": {"succeeded": 0}}
    params = {"model": "plain", "max_tokens": 600, "messages": []}
    await post(bench, "/v1/messages/batches", {"requests": [{"custom_id": "c", "params": params}]}, batch)
    await get(bench, "/v1/messages/batches", {"data": [batch]})
    assert await bench.figures() == ("0.00", "0.30")
    await get(bench, "/v1/messages/batches", {"data": [{**batch, "processing_status": "ended"}]})
    assert await bench.figures() == ("0.00", "0.00")


async def test_batches_of_gemini_are_booked_by_a_list(bench):
    operation = {"name": "batches/abc", "metadata": {"state": "BATCH_STATE_PENDING"}}
    asked = {"batch": {"inputConfig": {"fileName": "files/f"}}}
    path = "/v1beta/models/plain:batchGenerateContent"
    await post(bench, path, asked, operation, job_estimate_usd="0.25")
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 100, "totalTokenCount": 109}
    output = {"inlinedResponses": {"inlinedResponses": [{"response": {"usageMetadata": usage}}]}}
    done = {**operation, "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "response": output}
    await get(bench, "/v1beta/batches", {"operations": [done]})
    assert await bench.figures() == ("0.05", "0.00")


async def test_videos_and_training_are_booked_by_a_list(bench):
    await post(bench, "/v1/videos", {"model": "film", "prompt": "x", "seconds": "8"}, {"id": "v1", "status": "queued"})
    await get(bench, "/v1/videos", {"data": [{"id": "v1", "status": "completed", "seconds": "8", "model": "film"}]})
    assert await bench.figures() == ("0.08", "0.00")
    asked = {"model": "tuned", "training_file": "file-x"}
    await post(bench, "/v1/fine_tuning/jobs", asked, {"id": "ft", "status": "queued"}, job_estimate_usd="0.25")
    await get(bench, "/v1/fine_tuning/jobs", {"data": [{"id": "ft", "status": "succeeded", "trained_tokens": 1000}]})
    assert await bench.figures() == ("0.18", "0.00")


async def test_tuning_at_vertex_is_booked_by_a_list(bench):
    job = {"name": "projects/p/locations/l/tuningJobs/1", "state": "JOB_STATE_PENDING", "baseModel": "tuned"}
    path = "/v1/projects/p/locations/l/tuningJobs"
    await post(bench, path, {"baseModel": "tuned"}, job, job_estimate_usd="0.25")
    stats = {"supervisedTuningDataStats": {"totalBillableTokenCount": "500"}}
    spec = {"hyperParameters": {"epochCount": "2"}}
    done = {**job, "state": "JOB_STATE_SUCCEEDED", "tuningDataStats": stats, "supervisedTuningSpec": spec}
    await get(bench, path, {"tuningJobs": [done]})
    assert await bench.figures() == ("0.10", "0.00")


async def test_a_list_asks_the_store_once(memory):
    page = {"data": [ended(id=f"batch_{n}") for n in range(50)] + [{**CREATED, "status": "in_progress"}]}
    guard = await get(memory, BATCHES, page)
    assert memory.store_of(guard).calls.count("kept_facts") == 1
    guard = await get(memory, BATCHES, {"data": [{**CREATED, "status": "in_progress"}]})
    assert memory.store_of(guard).calls.count("kept_facts") == 0


@pytest.mark.parametrize("document", [None, 7, "x", [], {}, {"data": 7}, {"data": [[], None, "x", {"id": 7}]}])
@pytest.mark.parametrize(
    "path",
    [
        *("/v1/batches", "/v1/messages/batches", "/v1/videos", "/v1/fine_tuning/jobs", "/v1/evals/e/runs"),
        *("/v1beta/models/veo/operations", "/v1/video/generations/jobs"),
    ],
)
async def test_any_list_passes(memory, path, document):
    assert listed_at(path) is not None
    items_in(document)
    await get(memory, path, document)
    assert json.dumps(document)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/files", "/v1/batches/b", "/v1/videos/v", "/shop/orders"])
def test_other_paths_list_no_jobs(path):
    assert listed_at(path) is None


@pytest.mark.parametrize(
    "path", ["/own/batches", "/own/batches/b", "/own/videos/b", "/own/fine_tuning/jobs/b", "/own/files"]
)
@pytest.mark.parametrize("status", [{"state": "done"}, ["done"], 1, None])
async def test_what_others_have_at_such_paths_passes_as_it_is(memory, path, status):
    item = {"id": "b", "name": "b", "status": status, "state": status, "request_counts": status}
    for document in (item, {"data": [item]}):
        played = await call(
            memory.guard(ScriptedApp(*json_answer(document))), path=path, method="GET", headers=bearer()
        )
        assert (played.raised, played.json()) == (None, document)
