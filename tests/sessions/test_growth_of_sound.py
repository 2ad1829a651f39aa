"""Sound that a model says grows its hold as text does, by its length, and is stopped where no budget carries it."""

import base64
import json

import pytest

from budget_middleware.apis.openai.realtime.session import OpenAIRealtimeSession
from budget_middleware.core.model import Balance
from tests.sessions.live import PATH as LIVE_PATH
from tests.sessions.live import say as ask_live
from tests.sessions.live import setup
from tests.sessions.live import spoken as spoken_live
from tests.sessions.realtime import QUERY, create, created, done, of_session, session
from tests.sessions.socket import guard_of, opened
from tests.sessions.test_calls_of_a_session import tokens_of
from tests.sessions.test_gemini_live import Live
from tests.sessions.test_realtime_responses import say, scripted, settled, talk

# A hold of 100 tokens that grows with what is seen.
GROWS = {"estimate": "learned", "estimate_spread": "0", "default_output_tokens": "100"}
BYTES_PER_S = {"audio/pcm": 48_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}


def spoken(seconds, *, kind="response.output_audio.delta", bytes_per_s=48_000):
    data = base64.b64encode(bytes(int(seconds * bytes_per_s))).decode()
    return {"type": kind, "event_id": "event_2", "response_id": "resp_1", "delta": data}


async def held_for(store, prices, *events, tokens=2_000, agreed=None):
    """What is held after these events of one response."""
    provider = scripted([created(), *events])
    socket = await talk(guard_of(provider, prices, store, **GROWS))
    await say(provider, of_session("created", agreed or session()))
    socket.send(create(tokens=tokens))
    await socket.until("response.created")
    for _ in events:
        await socket.event()
    held = await settled(store)
    await say(provider, done(0))
    await socket.leave()
    assert (await settled(store)).reserved == 0
    return held


async def test_what_is_said_holds_more(store, prices):
    assert await held_for(store, prices, spoken(5)) == Balance(reserved=100)
    # Six seconds are 120 tokens, for which twice 100 are held.
    assert (await held_for(store, prices, spoken(3), spoken(3))).reserved == 200


@pytest.mark.parametrize("kind", BYTES_PER_S)
async def test_its_length_goes_by_the_format_of_the_session(store, prices, kind):
    form = {"type": kind, "rate": BYTES_PER_S[kind] // (2 if kind == "audio/pcm" else 1)}
    agreed = session(audio={"output": {"format": form}})
    event = spoken(6, bytes_per_s=BYTES_PER_S[kind])
    assert (await held_for(store, prices, event, agreed=agreed)).reserved == 200


@pytest.mark.parametrize("price", [{"audio": 1_000}, {"text": 200, "audio": 1_000}], ids=["one price", "two prices"])
async def test_it_is_held_at_the_price_of_sound(store, prices, tmp_path, price):
    path = tmp_path / "spoken.toml"
    text = price.get("text", price["audio"])
    path.write_text(f"[models.plain]\ninput = 0\noutput = {text}\noutput_audio = {price['audio']}\n")
    agreed = session(output_modalities=["audio"])
    assert (await held_for(store, str(path), spoken(6), agreed=agreed)).reserved == 200


async def test_so_it_does_in_the_beta(store, prices):
    agreed = {"model": "plain", "output_audio_format": "g711_ulaw"}
    event = spoken(6, kind="response.audio.delta", bytes_per_s=8_000)
    assert (await held_for(store, prices, event, agreed=agreed)).reserved == 200


async def test_a_response_that_says_too_much_is_cancelled(store, prices):
    provider = scripted([created(), *[spoken(2)] * 100], [done(950, status="cancelled")])
    socket = await talk(guard_of(provider, prices, store, on_limit="stop", **GROWS))
    socket.send(create(tokens=8_000))
    events = await socket.until("error")
    assert events[-1]["error"]["code"] == "budget_exhausted"
    # 40 tokens each, of which 1,000 may be spent.
    assert sum(event["type"] == "response.output_audio.delta" for event in events) <= 25
    await socket.until("response.done")
    assert provider.received[-1] == {"type": "response.cancel", "response_id": "resp_1"}
    assert await tokens_of(store) == Balance(spent=950)
    await socket.leave()


async def test_a_turn_of_gemini_that_says_too_much_closes_its_session(store, prices):
    guard = guard_of(Live([spoken_live(2)] * 100), prices, store, on_limit="stop", **GROWS)
    socket = await opened(guard, path=LIVE_PATH)
    socket.send(setup(tokens=8_000))
    await socket.event()
    socket.send(ask_live())
    n_said, message = 0, await socket.message()
    while message["type"] == "websocket.send":
        n_said, message = n_said + 1, await socket.message()
    assert (message["type"], message["code"]) == ("websocket.close", 1008)
    assert "budget" in message["reason"]
    # 50 tokens each.
    assert 2 < n_said <= 20
    # What is said last crosses the limit, and is not passed on.
    assert await settled(store) == Balance(spent=50 * (n_said + 1))


async def test_who_leaves_pays_what_was_said(store, prices):
    provider = scripted([created(), spoken(5)])
    socket = await talk(guard_of(provider, prices, store, on_abort="partial"))
    socket.send(create(tokens=600))
    await socket.until("response.output_audio.delta")
    await socket.leave()
    assert await settled(store) == Balance(spent=100)


@pytest.mark.parametrize("delta", [None, 7, "", "=", ["AAAA"], "A" * 10, "%%%"])
def test_odd_sound_raises_nothing(delta):
    conversation = OpenAIRealtimeSession().open({"query_string": QUERY}, path="/v1/realtime")
    conversation.read_server_event(json.dumps(created()).encode())
    event = conversation.read_server_event(json.dumps({**spoken(0), "delta": delta}).encode())
    assert event is not None
    assert event.spoken_tokens >= 0
