"""Sessions that are billed by their time: each slice of it is held before it begins, and booked by what has passed."""

import asyncio
import base64
import json

import pytest

from budget_middleware.apis.openai.realtime.live import OpenAILiveSession
from budget_middleware.apis.openai.realtime.translations import OpenAITranslationsSession
from budget_middleware.apis.protocol.session_time import SLICE_MS, SessionTime
from budget_middleware.core.model import Balance
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.units import Unit
from tests.sessions.realtime import create, of_session, session, whole
from tests.sessions.realtime import sound as realtime_sound
from tests.sessions.socket import ScriptedProvider, guard_of, opened
from tests.sessions.test_realtime_responses import say, scripted, settled

TRANSLATIONS, LIVE = "/v1/realtime/translations", "/v1/live/sessions"
# A dollar for each slice of 30 seconds.
PRICES = """
[models.interpreter]
audio_hour = 120
allow_high_prices = true
[models.scribe]
audio_hour = 60
[models.host]
audio_hour = 120
allow_high_prices = true
[models.plain]
input = 0
output = 1000
"""
QUERY = b"model=interpreter"


@pytest.fixture
def by_time(tmp_path):
    path = tmp_path / "by_time.toml"
    path.write_text(PRICES)
    return str(path)


async def cents_of(store, subject="sk-one"):
    for _ in range(100):
        await asyncio.sleep(0)
    views = await store.counters(f"key:{key_id(subject)}")
    return Balance(*(figure // 10_000_000 for figure in views[0].balance)) if views else Balance()


async def spent_nanos(store):
    views = await store.counters(f"key:{key_id('sk-one')}")
    return views[0].balance.spent


def heard(seconds):
    data = base64.b64encode(bytes(int(seconds * 48_000))).decode()
    return {"type": "session.input_audio_buffer.append", "audio": data}


async def hear(socket, provider, *seconds):
    for each in seconds:
        socket.send(heard(each))
    await received(provider, len(seconds))


async def received(provider, n_events):
    before = len(provider.received)
    async with asyncio.timeout(10):
        while len(provider.received) < before + n_events:
            await asyncio.sleep(0)


class TestTranslations:
    async def open(self, store, prices, provider, **named):
        guard = guard_of(provider, prices, store, **{"limits": "key=3/day", **named})
        return await opened(guard, path=TRANSLATIONS, query=QUERY)

    async def test_however_long_a_session_is_it_is_one_request(self, store, by_time):
        provider = scripted()
        socket = await self.open(store, by_time, provider, limits="key=3 requests/day")
        await hear(socket, provider, 31, 31, 31, 31)
        await socket.leave()
        other = await self.open(store, by_time, provider, limits="key=3 requests/day")
        await hear(other, provider, 31)
        await other.leave()
        for _ in range(100):
            await asyncio.sleep(0)
        (view,) = [view for view in await store.counters() if view.counter.unit is Unit.REQUESTS]
        assert view.balance == Balance(spent=2)

    async def test_sound_is_held_by_the_slice_and_booked_by_its_length(self, store, by_time):
        provider = scripted()
        socket = await self.open(store, by_time, provider)
        assert await cents_of(store) == Balance()
        await hear(socket, provider, 6)
        assert await cents_of(store) == Balance(reserved=100)
        await hear(socket, provider, 15, 15)
        # The slice is over with the sound that crosses its end.
        assert await cents_of(store) == Balance(reserved=100)
        await hear(socket, provider, 3)
        assert await cents_of(store) == Balance(spent=120, reserved=100)
        await socket.leave()
        assert await cents_of(store) == Balance(spent=130)

    @pytest.mark.parametrize("on_abort", ["full", "partial", "input", "release", "drain"])
    async def test_who_leaves_pays_for_what_was_heard(self, store, by_time, on_abort):
        provider = scripted()
        socket = await self.open(store, by_time, provider, on_abort=on_abort)
        await hear(socket, provider, 9)
        await socket.leave()
        assert await cents_of(store) == Balance(spent=30)

    async def test_sound_that_no_budget_carries_is_withheld(self, store, by_time):
        provider = scripted()
        socket = await self.open(store, by_time, provider, limits="key=1.05/day")
        await hear(socket, provider, 30)
        for _ in range(3):
            socket.send(heard(30))
        refused = await socket.event()
        assert (refused["type"], refused["error"]["code"]) == ("error", "budget_exhausted")
        socket.send({"type": "session.close"})
        await received(provider, 1)
        assert [event["type"] for event in provider.received].count("session.input_audio_buffer.append") == 1
        await socket.leave()
        assert await cents_of(store) == Balance(spent=100)

    async def test_a_spent_key_hears_nothing(self, store, by_time):
        provider = scripted()
        socket = await self.open(store, by_time, provider, limits="key=0.5/day")
        socket.send(heard(1))
        assert (await socket.event())["error"]["code"] == "budget_exhausted"
        assert provider.received == []
        await socket.leave()
        assert await cents_of(store) == Balance()

    async def test_a_transcription_of_the_source_is_paid_beside_it(self, store, by_time):
        provider = scripted()
        socket = await self.open(store, by_time, provider)
        wish = {"audio": {"input": {"transcription": {"model": "scribe"}}}}
        socket.send(of_session("update", wish))
        await received(provider, 1)
        await hear(socket, provider, 15)
        # Of several models that an address and an event name the dearest is held for.
        assert await cents_of(store) == Balance(reserved=200)
        await socket.leave()
        assert await cents_of(store) == Balance(spent=75)

    async def test_a_model_without_a_price_is_refused(self, store, by_time):
        provider = scripted()
        guard = guard_of(provider, by_time, store)
        socket = await opened(guard, path=TRANSLATIONS, query=b"model=unheard-of")
        socket.send(heard(1))
        assert (await socket.event())["error"]["code"] == "budget_unknown_model"
        assert provider.received == []
        await socket.leave()

    @pytest.mark.parametrize("data", [b"", b"\x00" * 480, b"[]", b'{"type": 5}', b'{"type": "nonsense"}', b"\xff{"])
    def test_what_is_not_understood_may_be_sound(self, data):
        conversation = OpenAITranslationsSession().open({"query_string": QUERY}, path=TRANSLATIONS)
        assert [asked.lane for asked in conversation.read_client(data)] == ["said"]


class Live(ScriptedProvider):
    """Starts a session when asked for it, and says nothing more by itself."""

    def __init__(self):
        super().__init__(lambda event: [STARTED] if event["type"] == "session.start" else [])


STARTED = {"type": "session.started", "event_id": "event_1", "session": {"id": "sess_1", "model": "host"}}
START = {"type": "session.start", "event_id": "mine", "session": {"model": "host"}}


def usage(seconds, kind="session.usage.updated"):
    return {"type": kind, "event_id": "event_2", "usage": {"seconds": seconds}}


def delegated(kind, **response):
    response = {"id": "resp_1", "model": "plain", **response}
    return {"type": "response.event", "delegation_id": "d_1", "event": {"type": kind, "response": response}}


class TestLive:
    async def start(self, store, prices, provider, **named):
        guard = guard_of(provider, prices, store, **{"limits": "key=3/day", **named})
        socket = await opened(guard, path=LIVE)
        socket.send(START)
        assert (await socket.event())["type"] == "session.started"
        return socket

    async def test_time_is_held_and_booked_by_the_word_of_the_server(self, store, by_time):
        provider = Live()
        socket = await self.start(store, by_time, provider)
        assert await cents_of(store) == Balance(reserved=100)
        await say(provider, usage(6), usage(12.6, "session.closed"))
        await socket.until("session.closed")
        await socket.leave()
        assert await cents_of(store) == Balance(spent=42)

    async def test_the_next_slice_is_held_when_one_is_over(self, store, by_time, monkeypatch):
        monkeypatch.setattr("budget_middleware.apis.protocol.session_time.SLICE_MS", 20)
        provider = Live()
        socket = await self.start(store, by_time, provider)
        async with asyncio.timeout(10):
            for _ in range(3):
                spent = await spent_nanos(store)
                while await spent_nanos(store) == spent:
                    await asyncio.sleep(0.001)
        await say(provider, usage(1.5, "session.closed"))
        await socket.until("session.closed")
        await socket.leave()
        assert (await cents_of(store)).reserved == 0

    async def test_time_that_no_budget_carries_closes_the_session(self, store, by_time):
        provider = Live()
        guard = guard_of(provider, by_time, store, limits="key=0.5/day")
        socket = await opened(guard, path=LIVE)
        socket.send(START)
        refused = await socket.event()
        assert (refused["error"]["code"], refused["client_event_id"]) == ("budget_exhausted", "mine")
        closed = await socket.message()
        assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
        assert provider.received == []
        assert await cents_of(store) == Balance()

    async def test_a_session_that_names_two_models_is_refused(self, store, by_time):
        """The one that is read here may be the cheaper one, and some servers say nothing of it."""
        provider = Live()
        socket = await opened(guard_of(provider, by_time, store, limits="key=3/day"), path=LIVE)
        socket.send('{"type": "session.start", "session": {"model": "host", "model": "plain"}}')
        assert "several models" in (await socket.event())["error"]["message"]
        assert (await socket.message())["code"] == 1008
        assert provider.received == []
        assert await cents_of(store) == Balance()

    async def test_a_response_that_is_delegated_is_a_call_beside_it(self, store, by_time):
        provider = Live()
        socket = await self.start(store, by_time, provider)
        await say(provider, delegated("response.created", status="in_progress"))
        completed = delegated("response.completed", status="completed", usage={"input_tokens": 0, "output_tokens": 250})
        # Told twice, and booked once.
        await say(provider, completed, completed, usage(3, "session.closed"))
        await socket.until("session.closed")
        await socket.leave()
        assert await cents_of(store) == Balance(spent=25 + 10)

    @pytest.mark.parametrize("seconds", [None, "x", -1, 1e300, [], True, float("nan")])
    def test_an_odd_usage_changes_nothing(self, seconds):
        conversation = OpenAILiveSession().open({}, path=LIVE)
        for event in (usage(seconds), {"type": "session.closed"}, {"type": "response.event", "event": seconds}):
            assert conversation.read_server_event(json.dumps(event).encode()) is None

    def test_whatever_comes_first_asks_for_time(self):
        conversation = OpenAILiveSession().open({}, path=LIVE)
        assert len(conversation.read_client(b"\xff")) == 1


class TestByTheMinute:
    """Voice models that are served by OpenAI's realtime API, and billed by the time of the connection."""

    async def test_time_is_paid_if_the_model_has_a_price_for_it(self, store, by_time):
        provider = scripted([], [])
        socket = await opened(
            guard_of(provider, by_time, store, limits="key=3/day"), path="/v1/realtime", query=b"model=host"
        )
        await say(provider, of_session("created", session(model="host")))
        socket.send(realtime_sound())
        await received(provider, 1)
        assert (await cents_of(store)).reserved == 100
        await socket.leave()
        assert await cents_of(store) == Balance()

    async def test_what_no_budget_carries_closes_the_session(self, store, by_time):
        provider = scripted()
        socket = await opened(
            guard_of(provider, by_time, store, limits="key=0.5/day"), path="/v1/realtime", query=b"model=host"
        )
        socket.send(create())
        assert (await socket.event())["error"]["code"] == "budget_exhausted"
        assert (await socket.message())["code"] == 1008
        assert provider.received == []

    @pytest.mark.parametrize(
        ("query", "told"),
        [
            (b"model=plain&model=host", "plain"),
            (b"model=alias", "host"),
            (b"", "host"),
        ],
        ids=["one of several names", "behind a name of the gateway's own", "by the server's word alone"],
    )
    async def test_so_it_is_however_the_model_is_named(self, store, by_time, query, told):
        provider = scripted([], [])
        guard = guard_of(provider, by_time, store, limits="key=9/day", unknown_model="1/1")
        socket = await opened(guard, path="/v1/realtime", query=query)
        # What comes before the server has named its model.
        socket.send({"type": "session.update", "session": {"instructions": "x"}})
        await received(provider, 1)
        await say(provider, of_session("created", session(model=told)))
        socket.send(realtime_sound())
        await received(provider, 1)
        assert (await cents_of(store)).reserved >= 100
        await socket.leave()

    async def test_so_it_is_for_who_says_that_nothing_will_be_answered(self, store, by_time):
        """A server that has no transcriptions does not heed that."""
        provider = scripted([], [])
        guard = guard_of(provider, by_time, store, limits="key=3/day")
        socket = await opened(guard, path="/v1/realtime", query=b"model=host&intent=transcription")
        socket.send(realtime_sound())
        await received(provider, 1)
        assert (await cents_of(store)).reserved == 100
        await socket.leave()

    async def test_who_is_answered_all_the_same_pays_from_then_on(self, store, by_time):
        provider = scripted([], [], [])
        guard = guard_of(provider, by_time, store, limits="key=9/day")
        socket = await opened(guard, path="/v1/realtime", query=b"deployment=host&intent=transcription")
        socket.send(realtime_sound())
        await received(provider, 1)
        assert (await cents_of(store)).reserved == 0
        await say(provider, *whole(1))
        socket.send(realtime_sound())
        await received(provider, 1)
        assert (await cents_of(store)).reserved == 100
        await socket.leave()

    async def test_others_pay_none(self, store, by_time):
        provider = scripted(whole(20), whole(30))
        socket = await opened(guard_of(provider, by_time, store), path="/v1/realtime", query=b"model=plain")
        for _ in range(2):
            socket.send(create(tokens=300))
            await socket.until("response.done")
        await socket.leave()
        assert await settled(store) == Balance(spent=50)


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def test_the_time_of_a_session_is_paid_once_whatever_the_server_says_of_it():
    clock = Clock()
    time = SessionTime(by_clock=True, clock_s=clock)
    first = time.next_slice()
    assert first is not None
    clock.now_s += 5  # It waits for its budget.
    first.begin()
    assert time.next_slice() is None
    clock.now_s += SLICE_MS / 1_000
    second = first.following()
    assert second is not None
    second.begin()
    assert first.end().audio_ms == SLICE_MS
    # The server's clock is behind.
    time.correct(SLICE_MS - 2_000, is_over=False)
    clock.now_s += 12
    assert second.passed_ms == 10_000
    time.correct(SLICE_MS + 11_000, is_over=True)
    clock.now_s += 100
    assert second.end().audio_ms == 11_000
    assert second.following() is None
