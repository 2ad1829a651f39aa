"""Realtime sessions that go around the gateway are refused, or held as jobs of which nothing is known."""

import json

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import bearer

CREATING = [
    "/v1/realtime/client_secrets",
    "/v1/realtime/sessions",
    "/v1/realtime/transcription_sessions",
    "/v1/realtime/calls",
    "/v1/realtime/calls/rtc_1/accept",
    "/v1/realtime/translations/client_secrets",
    "/v1/realtime",
    "/openai/v1/realtime/client_secrets",
    "/openai/realtimeapi/../realtime/sessions",
]
SECRET = {"value": "ek_secret", "expires_at": 1, "session": {"id": "sess_1", "type": "realtime", "model": "plain"}}


@pytest.mark.parametrize("path", CREATING)
async def test_f68_sessions_around_the_gateway_are_refused(memory, path):
    app = ScriptedApp(*json_answer(SECRET))
    answer = await call(memory.guard(app), {"session": {"model": "plain"}}, path=path, headers=bearer())
    assert answer.status == 403
    assert "BUDGET_REALTIME_DIRECT" in json.loads(answer.body)["error"]["message"]
    assert app.scopes == []


async def test_an_offer_of_webrtc_is_refused_before_it_is_read(memory):
    app = ScriptedApp(*json_answer(SECRET))
    headers = {**bearer(), "content-type": "application/sdp"}
    answer = await call(memory.guard(app), b"v=0\r\no=- 1 2", path="/v1/realtime/calls", headers=headers)
    assert answer.status == 403


@pytest.mark.parametrize("path", ["/v1/realtime/calls/rtc_1/hangup", "/v1/realtime/calls/rtc_1/reject"])
async def test_what_ends_one_passes(memory, path):
    app = ScriptedApp(*json_answer({}))
    assert (await call(memory.guard(app), {}, path=path, headers=bearer())).status == 200


async def test_f68_one_is_held_as_a_job(memory):
    guard = memory.guard(ScriptedApp(*json_answer(SECRET)), limits="key=5/day", realtime_direct="hold")
    answer = await call(guard, {"session": {"model": "plain"}}, path="/v1/realtime/client_secrets", headers=bearer())
    assert answer.status == 200
    await memory.settle()
    assert await memory.figures() == ("0.00", "1.00")


async def test_one_without_an_id_is_booked(memory):
    app = ScriptedApp(*json_answer({}))
    guard = memory.guard(app, limits="key=5/day", realtime_direct="hold", job_estimate_usd="2")
    await call(guard, b"v=0\r\n", path="/v1/realtime/calls", headers={**bearer(), "content-type": "application/sdp"})
    await memory.settle()
    assert await memory.figures() == ("2.00", "0.00")


async def test_a_spent_key_gets_none(memory):
    app = ScriptedApp(*json_answer(SECRET))
    guard = memory.guard(app, limits="key=0.5/day", realtime_direct="hold")
    answer = await call(guard, {"session": {}}, path="/v1/realtime/client_secrets", headers=bearer())
    assert answer.status == 429
    assert app.scopes == []


async def test_shadow_mode_refuses_none(memory):
    guard = memory.guard(ScriptedApp(*json_answer(SECRET)), mode="shadow")
    assert (await call(guard, {}, path="/v1/realtime/client_secrets", headers=bearer())).status == 200
