"""Bedrock's batches and what its models write into a bucket: held, and booked by what a GET shows of them."""

from urllib.parse import quote

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import KEY, bearer

ARN = "arn:aws:bedrock:us-east-1:123456789012:%s/%s"
JOB_ARN = ARN % ("model-invocation-job", "batch1")
INVOCATION_ARN = ARN % ("async-invoke", "video1")
BATCHES = "/model-invocation-job"
INVOKE = "/async-invoke"
MODEL_ARN = "arn:aws:bedrock:us-east-1::foundation-model/vendor.answerer-v1:0"
PRICES = """
[models."batches/vendor.answerer-v1:0"]
call = 0.01
hold_at_most = 0.5
[models."vendor.film"]
video_second = 0.01
[models."vendor.film"."1080p"]
video_second = 0.03
"""


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


async def create(bench, *, body=None, path=BATCHES, answer=None, **settings):
    body = {"jobName": "x", "roleArn": "y", "modelId": MODEL_ARN} if body is None else body
    settings.setdefault("job_estimate_usd", "0.25")
    app = ScriptedApp(*json_answer(answer or {"jobArn": JOB_ARN}))
    return await call(bench.guard(app, **settings), body, path=path, headers=bearer())


async def invoke(bench, *, model="vendor.film", config=None, settings=None, **fields):
    body = {"modelId": model, "modelInput": {"videoGenerationConfig": config or {}, **fields}, "outputDataConfig": {}}
    return await create(bench, body=body, path=INVOKE, answer={"invocationArn": INVOCATION_ARN}, **(settings or {}))


async def look(bench, answer, *, path, raw_path=None, status=200):
    guard = bench.guard(ScriptedApp(*json_answer(answer, status=status)))
    scope = {"raw_path": raw_path} if raw_path else {}
    await call(guard, path=path, method="GET", headers=bearer("sk-two"), scope=scope)
    await bench.settle()


def batch(status="InProgress", **fields):
    return {"jobArn": JOB_ARN, "status": status, "modelId": MODEL_ARN, **fields}


def video(status="InProgress", **fields):
    return {"invocationArn": INVOCATION_ARN, "status": status, "modelArn": "x", **fields}


async def test_a_batch_is_held_by_the_operators_rule_and_booked_by_its_records(bench):
    assert (await create(bench)).status == 200
    assert await bench.figures() == ("0.00", "0.50")
    await look(bench, batch(successRecordCount=3), path=f"{BATCHES}/batch1")
    assert await bench.figures() == ("0.00", "0.50")
    for _ in range(2):
        await look(bench, batch("Completed", successRecordCount=30, errorRecordCount=2), path=f"{BATCHES}/{JOB_ARN}")
        assert await bench.figures() == ("0.30", "0.00")
    assert await bench.accounts() == {KEY}


async def test_an_arn_may_be_encoded_in_the_path(bench):
    await create(bench)
    raw = f"{BATCHES}/{quote(JOB_ARN, safe='')}".encode()
    await look(bench, batch("Completed", successRecordCount=30), path=f"{BATCHES}/{JOB_ARN}", raw_path=raw)
    assert await bench.figures() == ("0.30", "0.00")


@pytest.mark.parametrize(
    ("status", "fields", "booked"),
    [
        pytest.param("Completed", {}, "0.50", id="shows nothing"),
        pytest.param("PartiallyCompleted", {"successRecordCount": "70"}, "0.70", id="more than was held"),
        pytest.param("Failed", {}, "0.00", id="failed"),
        pytest.param("Failed", {"successRecordCount": 5}, "0.05", id="failed after some"),
        pytest.param("Stopped", {"successRecordCount": 7}, "0.07", id="stopped"),
        pytest.param("Stopped", {}, "0.50", id="stopped, and shows nothing"),
        pytest.param("Expired", {}, "0.50", id="expired, and shows nothing"),
    ],
)
async def test_how_a_batch_ends(bench, status, fields, booked):
    await create(bench)
    await look(bench, batch(status, **fields), path=f"{BATCHES}/batch1")
    assert await bench.figures() == (booked, "0.00")


@pytest.mark.parametrize("model", ["vendor.new-v1:0", "", 7, None, [MODEL_ARN]])
async def test_one_without_a_price_is_never_free(bench, model):
    await create(bench, body={"modelId": model})
    assert await bench.figures() == ("0.00", "0.25")
    await look(bench, batch("Completed", successRecordCount=30), path=f"{BATCHES}/batch1")
    assert await bench.figures() == ("0.25", "0.00")


async def test_a_list_shows_what_it_has_of_each(bench):
    await create(bench)
    listed = {"invocationJobSummaries": [batch("Completed", successRecordCount=30)]}
    await look(bench, listed, path="/model-invocation-jobs")
    assert await bench.figures() == ("0.30", "0.00")
    await invoke(bench, config={"durationSeconds": 6})
    await look(bench, {"asyncInvokeSummaries": [video("Completed")]}, path=INVOKE)
    assert await bench.figures() == ("0.36", "0.00")


async def test_a_stop_is_free(bench):
    await create(bench)
    guard = bench.guard(ScriptedApp(*json_answer({})), unmetered="refuse", limits="key=0.1/month")
    for id_ in ("batch1", JOB_ARN):
        assert (await call(guard, b"", path=f"{BATCHES}/{id_}/stop", headers=bearer())).status == 200
    assert await bench.figures() == ("0.00", "0.50")


@pytest.mark.parametrize(
    ("config", "fields", "held"),
    [
        pytest.param({"durationSeconds": 12}, {}, "0.12", id="its seconds"),
        pytest.param({"durationSeconds": "12", "dimension": "1920x1080"}, {}, "0.36", id="by its size, as text"),
        pytest.param({}, {"duration": "9s", "resolution": "1080p"}, "0.27", id="luma"),
        pytest.param({"durationSeconds": 6}, {"duration": "9s"}, "0.09", id="the longest counts"),
        pytest.param({"durationSeconds": 6}, {"multiShotManualParams": {"shots": [{}] * 4}}, "0.24", id="shots"),
        pytest.param({}, {}, "0.08", id="as long as most"),
    ],
)
async def test_a_video_is_held_by_its_length_and_booked_when_it_is_made(bench, config, fields, held):
    assert (await invoke(bench, config=config, **fields)).status == 200
    assert await bench.figures() == ("0.00", held)
    await look(bench, video(), path=f"{INVOKE}/{INVOCATION_ARN}")
    assert await bench.figures() == ("0.00", held)
    for _ in range(2):
        await look(bench, video("Completed"), path=f"{INVOKE}/{INVOCATION_ARN}")
        assert await bench.figures() == (held, "0.00")


async def test_a_video_that_has_failed_costs_nothing(bench):
    await invoke(bench, config={"durationSeconds": 12})
    await look(bench, video("Failed", failureMessage="x"), path=f"{INVOKE}/{INVOCATION_ARN}")
    assert await bench.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("seconds", [0, -1, "soon", "5 m", 1.5])
async def test_a_length_that_no_video_has_is_refused(bench, seconds):
    played = await invoke(bench, config={"durationSeconds": seconds})
    assert (played.status, await bench.figures()) == (400, ("0.00", "0.00"))
    assert played.json()["message"]


async def test_beyond_the_budget_it_is_a_message(bench):
    played = await invoke(bench, config={"durationSeconds": 10**9})
    assert (played.status, await bench.figures()) == (429, ("0.00", "0.00"))
    assert "limit $1.00" in played.json()["message"]


@pytest.mark.parametrize(
    ("model", "fields", "held"),
    [
        ("amazon.nova-reel-v1:1", {"config": {"durationSeconds": 6}}, "0.48"),
        ("amazon.nova-reel-v1:0", {}, "0.48"),
        ("luma.ray-v2:0", {"duration": "5s", "resolution": "540p"}, "3.75"),
        ("twelvelabs.marengo-embed-2-7-v1:0", {"inputType": "video"}, "0.25"),
    ],
)
async def test_what_is_built_in(bench, model, fields, held):
    await invoke(bench, model=model, settings={"limits": "key=9/month"}, **fields)
    assert await bench.figures() == ("0.00", held)


@pytest.mark.parametrize("answer", [{}, {"invocationArn": 7}, {"status": "Completed"}, [], {"message": "no"}])
async def test_an_answer_that_shows_no_job_books_nothing(bench, answer):
    await invoke(bench, config={"durationSeconds": 6})
    await look(bench, answer, path=f"{INVOKE}/{INVOCATION_ARN}")
    await look(bench, video("Completed"), path=f"{INVOKE}/{INVOCATION_ARN}", status=403)
    assert await bench.figures() == ("0.00", "0.06")
