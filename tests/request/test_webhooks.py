"""Webhooks of providers: only a signed one makes known how it stands with a job, and the app gets each as it came."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import bearer

KEY = b"k" * 32
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
PATH = "/hooks/openai"
HOOKS = f"{PATH}={SECRET}"
PRICES = "[models.film]\nvideo_second = 0.01\n[models.videos]\nhold_at_most = 0.5\n"


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


async def create_video(bench):
    body = {"model": "film", "prompt": "x", "seconds": "8"}
    app = ScriptedApp(*json_answer({"id": "job_1", "object": "video", "status": "queued"}))
    assert (await call(bench.guard(app), body, path="/v1/videos", headers=bearer())).status == 200
    assert await bench.figures() == ("0.00", "0.08")


async def create_batch(bench):
    app = ScriptedApp(*json_answer({"id": "job_1", "object": "batch", "status": "validating"}))
    guard = bench.guard(app, job_estimate_usd="0.08")
    assert (await call(guard, {"input_file_id": "f"}, path="/v1/batches", headers=bearer())).status == 200
    assert await bench.figures() == ("0.00", "0.08")


def event(kind, job="job_1"):
    return json.dumps({"id": "evt_1", "object": "event", "created_at": 1, "type": kind, "data": {"id": job}}).encode()


def signed(body, *, key=KEY, age_s=0, version="v1", **fields):
    timestamp = str(int(time.time()) - age_s)
    digest = hmac.new(key, b".".join((b"wh_1", timestamp.encode(), body)), hashlib.sha256).digest()
    signature = f"{version},{base64.b64encode(digest).decode()}"
    headers = {"webhook-id": "wh_1", "webhook-timestamp": timestamp, "webhook-signature": signature}
    return {"content-type": "application/json", **headers, **fields}


async def deliver(bench, body, headers, *, path=PATH, webhooks=HOOKS, **settings):
    app = ScriptedApp(*json_answer({"taken": True}))
    played = await call(bench.guard(app, webhooks=webhooks, **settings), body, path=path, headers=headers)
    await bench.settle()
    assert (played.json(), app.bodies) == ({"taken": True}, [body])


async def test_a_video_that_is_made_is_booked_once(bench):
    await create_video(bench)
    body = event("video.completed")
    for _ in range(3):
        await deliver(bench, body, signed(body), unmetered="refuse")
        assert await bench.figures() == ("0.08", "0.00")


@pytest.mark.parametrize("create", [create_video, create_batch], ids=["video", "batch"])
async def test_one_that_has_failed_is_released_once(bench, create):
    await create(bench)
    body = event("video.failed" if create is create_video else "batch.failed")
    for _ in range(2):
        await deliver(bench, body, signed(body))
        assert await bench.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("kind", ["batch.completed", "batch.expired", "batch.cancelled", "video.failed", "odd"])
async def test_what_does_not_say_what_a_batch_has_used_changes_nothing(bench, kind):
    await create_batch(bench)
    body = event(kind)
    await deliver(bench, body, signed(body))
    assert await bench.figures() == ("0.00", "0.08")


async def test_one_that_overtakes_the_creation_of_its_job_changes_nothing(bench):
    body = event("video.failed")
    await deliver(bench, body, signed(body))
    await create_video(bench)
    shown = ScriptedApp(*json_answer({"id": "job_1", "object": "video", "status": "failed"}))
    await call(bench.guard(shown), path="/v1/videos/job_1", method="GET", headers=bearer())
    assert await bench.figures() == ("0.00", "0.00")


BODY = event("video.failed")
FORGED = {
    "unsigned": lambda: {"content-type": "application/json"},
    "by another key": lambda: signed(BODY, key=b"x" * 32),
    "of another body": lambda: signed(event("video.completed")),
    "of another version": lambda: signed(BODY, version="v2"),
    "without an id": lambda: {**signed(BODY), "webhook-id": ""},
    "at another time": lambda: {**signed(BODY), "webhook-timestamp": str(int(time.time()) + 9)},
    "at no time": lambda: {**signed(BODY), "webhook-timestamp": "NaN"},
    "cut": lambda: {**signed(BODY), "webhook-signature": signed(BODY)["webhook-signature"][:-2]},
    "empty": lambda: {**signed(BODY), "webhook-signature": ""},
}


@pytest.mark.parametrize("kind", FORGED)
async def test_a_forged_one_changes_nothing_and_passes(bench, kind):
    await create_video(bench)
    await deliver(bench, BODY, FORGED[kind]())
    assert await bench.figures() == ("0.00", "0.08")


@pytest.mark.parametrize("age_s", [301, -302], ids=["old", "of the future"])
async def test_one_that_was_not_signed_now_changes_nothing(bench, age_s):
    await create_video(bench)
    await deliver(bench, BODY, signed(BODY, age_s=age_s))
    assert await bench.figures() == ("0.00", "0.08")


async def test_one_of_a_minute_ago_counts(bench):
    await create_video(bench)
    await deliver(bench, BODY, signed(BODY, age_s=60))
    assert await bench.figures() == ("0.00", "0.00")


async def test_a_signed_one_at_another_path_changes_nothing(bench):
    await create_video(bench)
    await deliver(bench, BODY, signed(BODY), path="/other")
    assert await bench.figures() == ("0.00", "0.08")


async def test_two_secrets_of_a_path_count_while_one_takes_the_place_of_the_other(bench):
    await create_video(bench)
    new = f"whsec_{base64.b64encode(b'n' * 32).decode()}"
    await deliver(bench, BODY, signed(BODY), webhooks=f"{PATH}={new}; {HOOKS}")
    assert await bench.figures() == ("0.00", "0.00")


async def test_secrets_may_stand_in_a_file(bench, tmp_path):
    (tmp_path / "hooks").write_text(f"# OpenAI's\n{HOOKS}\n")
    await create_video(bench)
    await deliver(bench, BODY, signed(BODY), webhooks=f"@{tmp_path / 'hooks'}")
    assert await bench.figures() == ("0.00", "0.00")


def test_the_client_of_openai_believes_the_same():
    # Half a second, which each process would pay that collects the tests.
    import openai

    client = openai.OpenAI(api_key="sk", webhook_secret=SECRET)
    client.webhooks.verify_signature(BODY, signed(BODY))
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(BODY, FORGED["by another key"]())
