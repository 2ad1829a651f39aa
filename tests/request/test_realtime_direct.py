"""Realtime sessions that go around the gateway are refused, or held as jobs of which nothing is known."""

import json

import pytest

from budget_middleware.core.units import Unit
from budget_middleware.ledger import Job
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


@pytest.mark.parametrize(
    "path",
    ["/v1/realtime/calls/rtc_1/hangup", "/v1/realtime/calls/rtc_1/reject", "/openai/v1/realtime/calls/rtc_1/refer"],
)
async def test_what_ends_one_passes(memory, path):
    guard = memory.guard(ScriptedApp(*json_answer({})), unmetered="refuse")
    assert (await call(guard, {}, path=path, headers=bearer())).status == 200


async def test_f68_one_is_held_as_a_job(memory):
    guard = memory.guard(ScriptedApp(*json_answer(SECRET)), limits="key=90/day", realtime_direct="hold")
    answer = await call(guard, {"session": {"model": "plain"}}, path="/v1/realtime/client_secrets", headers=bearer())
    assert answer.status == 200
    await memory.settle()
    # An hour of 20 tokens a second.
    assert await memory.figures() == ("0.00", "72.00")


async def test_one_without_an_id_is_booked(memory):
    app = ScriptedApp(*json_answer({}))
    guard = memory.guard(app, limits="key=5/day", realtime_direct="hold", job_estimate_usd="2")
    await call(guard, b"v=0\r\n", path="/v1/realtime/calls", headers={**bearer(), "content-type": "application/sdp"})
    await memory.settle()
    assert await memory.figures() == ("2.00", "0.00")


# Per second: 10 tokens heard at .1, 20 spoken at 1, in dollars; the window is a turn long.
SPOKEN = """
[models.voice]
input = 0
output = 500
output_audio = 1000
[models.hearing]
input = 0
input_audio = 100
output = 0
[models.hourly]
audio_hour = 36
[models.cheap]
audio_hour = 3.6
[models.reader]
input = 1000
cached_audio = 100
output = 0
context_window = 600
"""
SECRETS, CALLS = "/v1/realtime/client_secrets", "/v1/realtime/calls"


@pytest.fixture
def held(memory, tmp_path):
    path = tmp_path / "spoken.toml"
    path.write_text(SPOKEN)

    async def hold(body, *, path=SECRETS, answer=None, query=b"", headers=None, limits="key=90/day"):
        settings = {"limits": limits, "realtime_direct": "hold", "realtime_direct_s": "100"}
        guard = memory.guard(
            ScriptedApp(*(answer or json_answer(SECRET))), prices=str(tmp_path / "spoken.toml"), **settings
        )
        answered = await call(
            guard, body, path=path, headers={**bearer(), **(headers or {})}, scope={"query_string": query}
        )
        assert answered.status < 300
        await memory.settle()
        return await memory.figures() if limits == "key=90/day" else None

    return hold


SESSIONS = {
    "a voice": ({"model": "voice"}, "2.00"),
    "one with a maximum": ({"model": "voice", "max_output_tokens": 100}, "1.00"),
    "one that may say as much as it likes": ({"model": "voice", "max_output_tokens": "inf"}, "2.00"),
    "one that writes": ({"model": "voice", "output_modalities": ["text"]}, "1.00"),
    "one that is transcribed": (
        {"model": "voice", "audio": {"input": {"transcription": {"model": "hearing"}}}},
        "2.10",
    ),
    "a transcription": ({"type": "transcription", "audio": {"input": {"transcription": {"model": "hearing"}}}}, "0.10"),
    "by the hour": ({"type": "translation", "model": "hourly"}, "1.00"),
    # It hears 1,000 tokens. Ten turns read 0, 300, and eight times 600 tokens again: 5,100 at a tenth of the price.
    "one that reads again what was said": ({"model": "reader"}, "1.51"),
    "no model": ({}, "1.00"),
    "one without a price": ({"model": "unheard-of"}, "1.00"),
    "one whose transcription has no price": (
        {"model": "voice", "audio": {"input": {"transcription": {"model": "unheard-of"}}}},
        "1.00",
    ),
}


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"session": {"model": "hearing"}}, b"model=voice"),
        ({"session": {"model": "voice"}}, b"model=hearing"),
        ({"model": "voice", "session": {"model": "hearing"}}, b""),
        ({"model": "hearing", "session": {"model": "hearing"}}, b"model=hearing&model=voice"),
    ],
    ids=["in the address", "in the session", "in the body", "a second one"],
)
async def test_of_several_models_the_dearest_is_held(held, body, query):
    """A server may heed another name than we do."""
    assert await held(body, path=CALLS, query=query) == ("0.00", "2.00")


@pytest.mark.parametrize("name", SESSIONS)
async def test_f68_a_session_is_held_at_its_ceiling(held, name):
    session, usd = SESSIONS[name]
    assert await held({"session": session, "expires_after": {"seconds": 60}}) == ("0.00", usd)


@pytest.mark.parametrize("path", ["/v1/realtime/sessions", "/v1/realtime/calls/rtc_1/accept", "/v1/live/sessions"])
async def test_its_fields_may_stand_by_themselves(held, path):
    assert await held({"model": "voice"}, path=path) == ("0.00", "2.00")


EMPTY = (
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]},
    {"type": "http.response.body", "body": b""},
)


@pytest.mark.parametrize("path", ["/v1/realtime/calls/rtc_Abc1/accept", "/v1/live/sessions/rtc_Abc1/accept"])
async def test_f68_an_accepted_telephone_call_is_a_job_by_its_address(held, memory, path):
    assert await held({"type": "realtime", "model": "voice"}, path=path, answer=EMPTY) == ("0.00", "2.00")
    (ticket,) = await memory.reader.holds()
    assert await memory.guards[0].ledger.tickets.find(Job("openai-realtime-direct", "rtc_Abc1"))
    assert ticket.deadline_ms - ticket.created_ms > 100_000


async def test_one_that_the_provider_does_not_accept_costs_nothing(memory):
    app = ScriptedApp(*json_answer({"error": {"message": "no such call"}}, status=404))
    guard = memory.guard(app, limits="key=90/day", realtime_direct="hold")
    answer = await call(guard, {"model": "plain"}, path="/v1/realtime/calls/rtc_1/accept", headers=bearer())
    assert answer.status == 404
    assert await memory.figures() == ("0.00", "0.00")


TOKENS = {
    # A thousand heard, two thousand spoken, and what was said before, in each of ten turns.
    "a voice": ({"model": "voice"}, 16_500),
    "one with a maximum": ({"model": "voice", "max_output_tokens": 100}, 11_000),
    "by the hour": ({"type": "translation", "model": "hourly"}, 0),
    "a transcription": ({"type": "transcription", "audio": {"input": {"transcription": {"model": "hearing"}}}}, 1_400),
    "one without a price": ({"model": "unheard-of"}, 16_500),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_f68_a_session_holds_tokens_too(held, memory, name):
    session, tokens = TOKENS[name]
    await held({"session": session}, limits="key=90/day; key=20000 tokens/day")
    views = [view for view in await memory.reader.counters() if view.counter.unit is Unit.TOKENS]
    assert sum(view.balance.reserved for view in views) == tokens


LOCATED = (
    {
        "type": "http.response.start",
        "status": 201,
        "headers": [(b"content-type", b"application/sdp"), (b"location", b"/v1/realtime/calls/rtc_Abc1")],
    },
    {"type": "http.response.body", "body": b"v=0\r\n"},
)


FORM = {"content-type": "multipart/form-data; boundary=x"}


def offer(session):
    """With the settings as a text."""
    return b"\r\n".join([
        b"--x", b'content-disposition: form-data; name="sdp"', b"", b"v=0",
        b"--x", b'content-disposition: form-data; name="session"', b"", session,
        b"--x--", b"",
    ])  # fmt: skip


MANY_VALUES = b'{"model": "cheap", "x": [%s]}' % b",".join([b"0"] * 300_000)
"""More than are made objects of while other requests wait."""


@pytest.mark.parametrize(
    "session",
    [b'{"model": "voice", "model": "voice"}', b'{"model": "voice", "x": [}', MANY_VALUES],
    ids=["twice", "cut off", "many values"],
)
async def test_settings_that_may_be_read_otherwise_may_be_of_any_model(held, session):
    """Also where the address names one: what it comes to nobody knows."""
    found = await held(offer(session), path=CALLS, answer=LOCATED, query=b"model=cheap", headers=FORM)
    assert found == ("0.00", "1.00")


async def test_an_answer_of_webrtc_is_a_job_by_its_address(held, memory):
    form = offer(b'{"type": "realtime", "model": "voice"}')
    assert await held(form, path=CALLS, answer=LOCATED, headers=FORM) == ("0.00", "2.00")
    (ticket,) = await memory.reader.holds()
    # A hundred seconds, and ten minutes in which a secret may open it.
    assert ticket.deadline_ms - ticket.created_ms <= 700_000


async def test_so_is_one_whose_model_stands_in_its_own(held):
    headers = {"content-type": "application/sdp"}
    assert await held(b"v=0\r\n", path=CALLS, answer=LOCATED, query=b"model=voice", headers=headers) == ("0.00", "2.00")


async def test_a_spent_key_gets_none(memory):
    app = ScriptedApp(*json_answer(SECRET))
    guard = memory.guard(app, limits="key=0.5/day", realtime_direct="hold")
    answer = await call(guard, {"session": {}}, path="/v1/realtime/client_secrets", headers=bearer())
    assert answer.status == 429
    assert app.scopes == []


async def test_shadow_mode_refuses_none(memory):
    guard = memory.guard(ScriptedApp(*json_answer(SECRET)), mode="shadow")
    assert (await call(guard, {}, path="/v1/realtime/client_secrets", headers=bearer())).status == 200
