"""Videos: held by the seconds and the size that they are to have, booked once an answer shows that they are made."""

import asyncio
import json

import pytest

from budget_middleware.core.statuses import Op
from budget_middleware.testing import ScriptedApp, call, chunk, json_answer, start
from tests.request.wire import KEY, bearer
from tests.stores.verbs import whole_journal

VIDEOS = "/v1/videos"
PRICES = """
[models.film]  # A cent a second, and three for a larger one.
video_second = 0.01
[models.film."1080p"]
video_second = 0.03
[models."videos/flat"]
call = 0.2
[models."videos/capped"]
hold_at_most = 0.3
"""
BOUNDARY = "b0undary"


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


def video(status="queued", **fields):
    plain = {"id": "video_1", "object": "video", "model": "film", "seconds": "8", "size": "1280x720"}
    return {**plain, "status": status, **fields}


async def create(bench, body=None, answer=None, *, path=VIDEOS, headers=None, status=200, **settings):
    body = {"model": "film", "prompt": "secret words", "seconds": "8"} if body is None else body
    guard = bench.guard(ScriptedApp(*json_answer(answer or video(), status=status)), **settings)
    return await call(guard, body, path=path, headers=bearer() if headers is None else headers)


async def look(bench, answer, *, path=f"{VIDEOS}/video_1", method="GET", token="sk-one", status=200, body=None):
    messages = json_answer(answer, status=status) if isinstance(answer, dict) else answer
    played = await call(bench.guard(ScriptedApp(*messages)), body, path=path, method=method, headers=bearer(token))
    await bench.settle()
    return played


async def test_a_video_is_held_by_its_seconds_and_booked_once_when_it_is_made(bench):
    assert (await create(bench)).status == 200
    assert await bench.figures() == ("0.00", "0.08")
    await look(bench, video("in_progress"))
    assert await bench.figures() == ("0.00", "0.08")
    guards = [bench.guard(ScriptedApp(*json_answer(video("completed")))) for _ in range(3)]
    path = f"{VIDEOS}/video_1"
    await asyncio.gather(*(call(each, path=path, method="GET", headers=bearer("sk-two")) for each in guards))
    assert await bench.figures() == ("0.08", "0.00")
    await look(bench, video("completed"))
    assert await bench.figures() == ("0.08", "0.00")
    assert await bench.accounts() == {KEY}
    (booked,) = [entry for entry in await whole_journal(bench.reader) if entry.op is Op.FINALIZE]
    assert booked.reason == "usage, job video_1"
    assert '"video_second",8000,10000000000' in booked.bill


async def test_no_word_of_it_stands_in_the_store(memory):
    await create(memory)
    assert "secret words" not in str(vars(memory.reader))


async def test_a_form_is_read_as_well(bench):
    fields = {"model": "film", "prompt": "x", "seconds": "4", "size": "1080x1920"}
    parts = [f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **bearer()}
    await create(bench, "".join([*parts, f"--{BOUNDARY}--\r\n"]).encode(), headers=headers)
    assert await bench.figures() == ("0.00", "0.12")


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        pytest.param({}, "0.08", id="as long as most"),
        pytest.param({"duration": 5}, "0.05", id="xai"),
        pytest.param({"n_seconds": 5, "n_variants": 2, "height": 1080, "width": 1920}, "0.30", id="azure"),
        pytest.param({"seconds": 5, "resolution": "1080p"}, "0.15", id="by its resolution"),
        pytest.param({"seconds": 5, "n": 3}, "0.15", id="several"),
    ],
)
async def test_what_a_request_plans(bench, fields, held):
    await create(bench, {"model": "film", "prompt": "x", **fields})
    assert await bench.figures() == ("0.00", held)


async def test_one_beyond_the_budget_is_refused(bench):
    played = await create(bench, {"model": "film", "prompt": "x", "seconds": 101})
    assert (played.status, await bench.figures()) == (429, ("0.00", "0.00"))


@pytest.mark.parametrize("seconds", ["-4", "0", "soon"])
async def test_a_length_that_no_video_has_is_refused(bench, seconds):
    assert (await create(bench, {"model": "film", "prompt": "x", "seconds": seconds})).status == 400
    assert await bench.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
async def test_one_that_has_failed_costs_nothing(bench, status):
    await create(bench)
    await look(bench, video(status, error={"code": "x", "message": "y"}))
    assert await bench.figures() == ("0.00", "0.00")


async def test_one_that_fails_at_once_costs_nothing(bench):
    await create(bench, answer=video("failed"))
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_creation_that_is_refused_costs_nothing(bench):
    await create(bench, answer={"error": {"message": "no"}}, status=400)
    assert await bench.figures() == ("0.00", "0.00")


async def test_what_was_made_is_booked_not_what_was_asked_for(bench):
    await create(bench, {"model": "film", "prompt": "x", "seconds": 4})
    await look(bench, video("completed", seconds="12", size="1920x1080"))
    assert await bench.figures() == ("0.36", "0.00")


async def test_the_video_itself_shows_that_it_is_done(bench):
    await create(bench)
    await look(bench, [start(200, content_type="video/mp4"), chunk(b"\0" * 9), chunk(b"", is_last=True)],
               path=f"{VIDEOS}/video_1/content")  # fmt: skip
    assert await bench.figures() == ("0.08", "0.00")


async def test_a_part_of_the_video_shows_it_too(bench):
    await create(bench)
    await look(
        bench, [start(206, content_type="video/mp4"), chunk(b"x", is_last=True)], path=f"{VIDEOS}/video_1/content"
    )
    assert await bench.figures() == ("0.08", "0.00")


@pytest.mark.parametrize(
    ("answer", "status"),
    [(video("completed"), 403), (video("completed", id="video_2"), 200), ({"error": "x"}, 200), ({"data": []}, 200)],
    ids=["a stranger's", "another video's", "an error", "a list"],
)
async def test_an_answer_that_does_not_show_it_books_nothing(bench, answer, status):
    await create(bench)
    await look(bench, answer, status=status)
    assert await bench.figures() == ("0.00", "0.08")


async def test_a_remix_is_held_as_what_it_is_made_of(bench):
    await create(bench, {"model": "film", "prompt": "x", "seconds": 12, "size": "1920x1080"})
    remixed = video(id="video_2", remixed_from_video_id="video_1")
    await create(bench, {"prompt": "y"}, remixed, path=f"{VIDEOS}/video_1/remix")
    assert await bench.figures() == ("0.00", "0.72")
    await look(bench, video("failed"))
    await look(bench, video("completed", id="video_2", seconds="12", size="1920x1080"), path=f"{VIDEOS}/video_2")
    assert await bench.figures() == ("0.36", "0.00")


async def test_an_extension_costs_its_own_seconds_alone(bench):
    await create(bench, {"model": "film", "prompt": "x", "seconds": 12})
    await look(bench, video("completed", seconds="12"))
    body = {"prompt": "y", "seconds": "4", "video": {"id": "video_1"}}
    await create(bench, body, video(id="video_2"), path=f"{VIDEOS}/extensions")
    assert await bench.figures() == ("0.12", "0.04")
    await look(bench, video("completed", id="video_2", seconds="16"), path=f"{VIDEOS}/video_2")
    assert await bench.figures() == ("0.16", "0.00")


async def test_xai_names_its_request_and_what_it_cost(bench):
    body = {"model": "film", "prompt": "x", "duration": 8}
    await create(bench, body, {"request_id": "r-1"}, path=f"{VIDEOS}/generations")
    assert await bench.figures() == ("0.00", "0.08")
    await look(bench, {"status": "pending"}, path=f"{VIDEOS}/r-1")
    assert await bench.figures() == ("0.00", "0.08")
    done = {"status": "done", "video": {"url": "u", "duration": 8}, "model": "film"}
    await look(bench, {**done, "usage": {"cost_in_usd_ticks": 500_000_000}}, path=f"{VIDEOS}/r-1")
    assert await bench.figures() == ("0.05", "0.00")


async def test_a_router_names_what_it_cost(bench):
    await create(bench, answer={"id": "job-1", "polling_url": "u", "status": "pending"}, path="/api/v1/videos")
    done = {"id": "job-1", "status": "completed", "usage": {"cost": 0.11, "is_byok": False}}
    await look(bench, done, path="/api/v1/videos/job-1")
    assert await bench.figures() == ("0.11", "0.00")


async def test_azures_older_jobs(bench):
    body = {"model": "film", "prompt": "x", "n_seconds": 5, "height": 720, "width": 1280}
    job = {"id": "task_1", "object": "video.generation.job", "status": "queued", "n_seconds": 5, "n_variants": 1}
    path = "/openai/v1/video/generations/jobs"
    await create(bench, body, job, path=path)
    assert await bench.figures() == ("0.00", "0.05")
    await look(bench, {**job, "status": "succeeded"}, path=f"{path}/task_1")
    assert await bench.figures() == ("0.05", "0.00")


@pytest.mark.parametrize(
    ("model", "held", "booked"),
    [("flat", "0.20", "0.20"), ("capped", "0.30", "0.30"), ("nobody-knows-it", "0.25", "0.25")],
)
async def test_a_job_without_a_price_by_the_second_is_never_free(bench, model, held, booked):
    body = {"model": model, "prompt": "x", "seconds": 8}
    await create(bench, body, video(model=model), job_estimate_usd="0.25")
    assert await bench.figures() == ("0.00", held)
    await look(bench, video("completed", model=model))
    assert await bench.figures() == (booked, "0.00")


async def test_operators_hear_of_jobs_without_a_price(bench):
    await create(bench, {"model": "nobody-knows-it", "prompt": "x"}, video())
    await create(bench, {"model": "film", "prompt": "x"}, video(id="video_2"))
    await bench.settle()
    assert [(str(note.topic), note.text) for note in await bench.reader.notes()] == [("jobs", "videos/nobody-knows-it")]


async def test_one_that_nobody_asks_for_is_booked_at_its_deadline(bench):
    await create(bench)
    bench.clock.advance(s=172_800)
    await bench.guard(ScriptedApp()).ledger.sweep()
    assert await bench.figures() == ("0.08", "0.00")


async def test_somebody_elses_videos_are_no_job(bench):
    played = await create(bench, {"title": "holiday"}, {"id": "7"})
    assert (played.status, await bench.figures()) == (200, ("0.00", "0.00"))


OPERATION = "models/film/operations/op1"


def operation(**fields):
    return {"name": OPERATION, **fields}


async def create_operation(bench, *, answer=None, model="film", **parameters):
    body = {"instances": [{"prompt": "x"}], "parameters": parameters}
    path = f"/v1beta/models/{model}:predictLongRunning"
    return await create(bench, body, answer or operation(), path=path, headers={"x-goog-api-key": "sk-one"})


async def test_an_operation_of_google_is_held_and_booked_by_what_it_has_made(bench):
    await create_operation(bench, durationSeconds=4, sampleCount=2, resolution="1080p")
    assert await bench.figures() == ("0.00", "0.24")
    await look(bench, operation(), path=f"/v1beta/{OPERATION}")
    assert await bench.figures() == ("0.00", "0.24")
    made = {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": "u"}}], "raiMediaFilteredCount": 1}}
    await look(bench, operation(done=True, response=made), path=f"/v1beta/{OPERATION}")
    assert await bench.figures() == ("0.12", "0.00")


@pytest.mark.parametrize(
    "over",
    [
        {"error": {"code": 3, "message": "x"}},
        {"response": {"generateVideoResponse": {"raiMediaFilteredCount": 2, "raiMediaFilteredReasons": ["x"]}}},
    ],
    ids=["failed", "blocked"],
)
async def test_an_operation_that_has_made_nothing_costs_nothing(bench, over):
    await create_operation(bench, durationSeconds=4)
    await look(bench, operation(done=True, **over), path=f"/v1beta/{OPERATION}")
    assert await bench.figures() == ("0.00", "0.00")


async def test_vertex_is_asked_for_an_operation_by_a_post(bench):
    await create_operation(bench, durationSeconds=8)
    done = operation(done=True, response={"videos": [{"gcsUri": "gs://x", "mimeType": "video/mp4"}]})
    path = "/v1/projects/p/locations/l/publishers/google/models/film:fetchPredictOperation"
    body = {"operationName": OPERATION}
    assert json.loads((await look(bench, done, path=path, method="POST", body=body)).body) == done
    assert await bench.figures() == ("0.08", "0.00")
