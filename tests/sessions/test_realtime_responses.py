"""Each response of a realtime session is a call: asked for, or begun by the server with what it has heard."""

import asyncio
import json

import pytest

from budget_middleware.apis.openai.realtime.config import Agreed, Agreement
from budget_middleware.core.model import Balance
from budget_middleware.core.payers.accounts import key_id
from tests.sessions.realtime import (
    PATH,
    QUERY,
    create,
    created,
    delta,
    done,
    error,
    listening,
    of_session,
    sound,
    spoken,
    transcribed,
    whole,
)
from tests.sessions.socket import ScriptedProvider, guard_of, opened
from tests.sessions.test_calls_of_a_session import tokens_of

SILENT = listening(None)
LIVELY = listening({"type": "server_vad"})


async def talk(guard, **named):
    return await opened(guard, **{"path": PATH, "query": QUERY, **named})


def scripted(*answers):
    """Answers events in turn; after the last of them, nothing."""
    left = iter(answers)
    return ScriptedProvider(lambda event: next(left, []))


async def say(provider, *events):
    for event in events:
        await provider.send({"type": "websocket.send", "text": json.dumps(event)})


async def settled(store):
    """Once the endings that nobody waits for have come to the store."""
    for _ in range(100):
        await asyncio.sleep(0)
    return await tokens_of(store)


class TestAsked:
    @pytest.mark.parametrize("name", ["time_ms", "spoken_ms", "context", "outlives", "continues"])
    async def test_a_client_cannot_name_what_only_a_session_knows(self, store, prices, name):
        """The fields by which a session has its time and its transcriptions held, which cost less."""
        provider = scripted([created(), delta()])
        socket = await talk(guard_of(provider, prices, store))
        event = create(tokens=600)
        socket.send({**event, "response": {**event["response"], name: 1}})
        await socket.until("response.output_text.delta")
        assert await tokens_of(store) == Balance(reserved=600)
        await socket.leave()

    async def test_is_held_and_booked(self, store, prices):
        provider = scripted([created(), delta()])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create(tokens=600))
        await socket.until("response.output_text.delta")
        assert await tokens_of(store) == Balance(reserved=600)
        await say(provider, done(250))
        await socket.until("response.done")
        assert await tokens_of(store) == Balance(spent=250)
        await socket.leave()

    async def test_is_refused_by_an_error_that_names_its_event(self, store, prices):
        provider = scripted(whole(10))
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create(tokens=1_001, event_id="mine"))
        event = await socket.event()
        assert (event["type"], event["error"]["code"]) == ("error", "budget_exhausted")
        assert event["error"]["event_id"] == "mine"
        assert provider.received == []
        socket.send(create(tokens=100))
        await socket.until("response.done")
        assert await tokens_of(store) == Balance(spent=10)
        await socket.leave()

    @pytest.mark.parametrize("maximum", [300, 300.0, "300"])
    async def test_a_maximum_of_the_session_is_held(self, store, prices, maximum):
        provider = scripted([of_session("updated", {**SILENT, "max_output_tokens": maximum})], [created()])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(of_session("update", {**SILENT, "max_output_tokens": maximum}))
        await socket.until("session.updated")
        socket.send(create(tokens=None))
        await socket.until("response.created")
        assert await tokens_of(store) == Balance(reserved=300)
        await socket.leave()

    @pytest.mark.parametrize("maximum", ["inf", None])
    async def test_no_maximum_holds_what_is_usual(self, store, prices, maximum):
        provider = scripted([created()])
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        socket.send(create(tokens=maximum))
        await socket.until("response.created")
        assert await tokens_of(store) == Balance(reserved=200)
        await socket.leave()

    async def test_several_go_on_side_by_side_beside_the_conversation(self, store, prices):
        provider = scripted([created("resp_1")], [created("resp_2", conversation=None)])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create(tokens=400))
        socket.send(create(tokens=300, conversation="none"))
        await socket.until("response.created")
        await socket.until("response.created")
        assert await tokens_of(store) == Balance(reserved=700)
        await say(provider, delta("resp_2"), delta("resp_1"), done(30, "resp_2", conversation=None))
        assert await tokens_of(store) == Balance(spent=30, reserved=400)
        await say(provider, done(40, "resp_1"))
        assert await tokens_of(store) == Balance(spent=70)
        await socket.leave()

    @pytest.mark.parametrize("named", [None, "second"], ids=["no event named", "its event named"])
    async def test_one_too_many_costs_nothing(self, store, prices, named):
        provider = scripted([created()], [error(event_id=named)])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create(tokens=400))
        await socket.until("response.created")
        socket.send(create(tokens=300, event_id="second"))
        await socket.until("error")
        assert await tokens_of(store) == Balance(reserved=400)
        await say(provider, done(40))
        assert await tokens_of(store) == Balance(spent=40)
        await socket.leave()

    async def test_an_error_about_another_event_frees_nothing(self, store, prices):
        provider = scripted([], [error(event_id="nonsense")])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create(tokens=400, event_id="mine"))
        socket.send({"type": "nonsense", "event_id": "nonsense"})
        await socket.until("error")
        assert await tokens_of(store) == Balance(reserved=400)
        await socket.leave()

    async def test_a_cancelled_one_is_booked_by_its_usage(self, store, prices):
        provider = scripted([created(), delta()], [done(7, status="cancelled")])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create())
        socket.send({"type": "response.cancel"})
        await socket.until("response.done")
        assert await tokens_of(store) == Balance(spent=7)
        await socket.leave()

    async def test_one_of_the_beta(self, store, prices):
        beta = [
            created(),
            {"type": "response.text.delta", "response_id": "resp_1", "delta": "word"},
            {"type": "response.audio_transcript.delta", "response_id": "resp_1", "delta": "word"},
            done(20),
        ]
        socket = await talk(guard_of(scripted(beta), prices, store))
        socket.send(
            {"type": "response.create", "response": {"modalities": ["text"], "max_response_output_tokens": 600}}
        )
        await socket.until("response.done")
        assert await tokens_of(store) == Balance(spent=20)
        await socket.leave()

    @pytest.mark.parametrize(
        ("path", "query"),
        [("/openai/realtime", b"api-version=1&deployment=plain"), ("/openai/v1/realtime", b"model=plain")],
        ids=["Azure's beta", "Azure's"],
    )
    async def test_one_of_azure(self, store, prices, path, query):
        socket = await talk(guard_of(scripted(whole(20)), prices, store), path=path, query=query)
        socket.send(create())
        await socket.until("response.done")
        assert await tokens_of(store) == Balance(spent=20)
        await socket.leave()


class TestUnasked:
    """With turn detection the server answers sound by itself."""

    async def test_one_is_held_ahead_of_the_first_sound(self, store, prices):
        provider = scripted()
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        await say(provider, of_session("created", LIVELY))
        for _ in range(3):
            socket.send(sound())
        while len(provider.received) < 3:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance(reserved=200)
        await say(provider, *whole(50))
        assert await tokens_of(store) == Balance(spent=50)
        await socket.leave()

    async def test_one_that_never_comes_is_given_back(self, store, prices):
        provider = scripted()
        guard = guard_of(provider, prices, store, on_abort="full", estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        socket.send(sound())
        while not provider.received:
            await asyncio.sleep(0)
        assert (await tokens_of(store)).reserved == 200
        await socket.leave()
        assert await settled(store) == Balance()

    async def test_the_next_is_held_while_one_is_answered(self, store, prices):
        """Whoever interrupts is answered at once, and there would be no hold for that."""
        provider = scripted([created()])
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        socket.send(sound())
        await socket.until("response.created")
        assert await tokens_of(store) == Balance(reserved=200)
        socket.send(sound())
        while len(provider.received) < 2:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance(reserved=400)
        await socket.leave()

    async def test_f67_a_spent_key_is_not_listened_to(self, store, prices):
        provider = scripted()
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="1001")
        socket = await talk(guard)
        for _ in range(50):
            socket.send(sound())
        event = await socket.event()
        assert event["error"]["code"] == "budget_exhausted"
        socket.send(of_session("update", SILENT))
        while not provider.received:
            await asyncio.sleep(0)
        assert [event["type"] for event in provider.received] == ["session.update"]
        assert len(socket.sent) == 2, "one error for all of the sound"
        await socket.leave()

    @pytest.mark.parametrize(
        "given",
        [SILENT, listening({"type": "server_vad", "create_response": False}), {"turn_detection": None}],
        ids=["no detection", "detection alone", "the beta's"],
    )
    async def test_where_nothing_is_answered_nothing_is_held(self, store, prices, given):
        provider = scripted([of_session("updated", given)])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(of_session("update", given))
        await socket.until("session.updated")
        socket.send(sound())
        while len(provider.received) < 2:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance()
        await socket.leave()

    async def test_what_a_client_wishes_counts_before_the_server_has_answered(self, store, prices):
        provider = scripted([of_session("updated", SILENT)])
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        socket.send(of_session("update", SILENT))
        await socket.until("session.updated")
        socket.send(of_session("update", LIVELY))
        socket.send(sound())
        while len(provider.received) < 3:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance(reserved=200)
        await socket.leave()

    async def test_f67_one_that_is_refused_is_cancelled_and_booked(self, store, prices):
        """As after a silence: nothing that the client sends comes before it."""
        provider = ScriptedProvider(lambda event: [done(30, status="cancelled")] if "cancel" in event["type"] else [])
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="1001")
        socket = await talk(guard)
        await say(provider, created(), delta())
        assert (await socket.event())["error"]["code"] == "budget_exhausted"
        while not provider.received:
            await asyncio.sleep(0)
        assert provider.received == [{"type": "response.cancel", "response_id": "resp_1"}]
        while (await tokens_of(store)).reserved:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance(spent=30)
        assert len(socket.sent) == 2, "the client sees nothing of it"
        socket.send(create(tokens=100))
        while len(provider.received) < 2:
            await asyncio.sleep(0)
        await socket.leave()

    async def test_one_that_is_refused_and_never_ends_is_booked_by_what_was_seen(self, store, prices):
        provider = scripted()
        guard = guard_of(provider, prices, store, on_abort="partial", estimate="expected", default_output_tokens="1001")
        socket = await talk(guard)
        await say(provider, created(), *[delta()] * 40)
        await socket.until("error")
        await socket.leave()
        assert await settled(store) == Balance(spent=40)


class TestEnds:
    async def test_an_answer_without_an_end_is_booked_by_what_was_seen(self, store, prices):
        provider = scripted([created(), *[delta()] * 40])
        socket = await talk(guard_of(provider, prices, store, on_abort="partial"))
        socket.send(create())
        for _ in range(41):
            await socket.event()
        await socket.leave()
        assert await settled(store) == Balance(spent=40)

    async def test_sound_without_an_end_is_booked_by_its_length(self, store, prices):
        provider = scripted([created(), spoken()])
        socket = await talk(guard_of(provider, prices, store, on_abort="partial"))
        socket.send(create(tokens=600))
        await socket.until("response.output_audio.delta")
        await socket.leave()
        assert await settled(store) == Balance(spent=1)

    async def test_a_beginning_that_is_lost_changes_nothing(self, store, prices):
        provider = scripted([delta(), done(20)])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create())
        await socket.until("response.done")
        assert await tokens_of(store) == Balance(spent=20)
        await socket.leave()

    async def test_a_late_event_begins_nothing(self, store, prices):
        provider = scripted([*whole(20), delta(), done(20)])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create())
        await socket.until("response.done")
        socket.send(create(tokens=300))
        while len(provider.received) < 2:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance(spent=20, reserved=300)
        await socket.leave()

    async def test_an_end_that_is_told_again_is_booked_once(self, store, prices):
        """However many others have ended meanwhile."""
        others = [event for n in range(100) for event in whole(1, f"other_{n}")]
        provider = scripted([*whole(20), *others, done(20), error()])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create())
        await socket.until("error")
        assert await tokens_of(store) == Balance(spent=120)
        await socket.leave()

    async def test_an_id_may_be_used_again(self, store, prices):
        socket = await talk(guard_of(scripted(whole(20), whole(30)), prices, store))
        for _ in range(2):
            socket.send(create(tokens=300))
            await socket.until("response.done")
        assert await tokens_of(store) == Balance(spent=50)
        await socket.leave()

    async def test_a_stream_stops_at_its_limit_and_the_session_goes_on(self, store, prices):
        provider = scripted([created(), *[delta()] * 1_200], [done(1_000, status="cancelled")], whole(1, "resp_2"))
        guard = guard_of(
            provider,
            prices,
            store,
            estimate="learned",
            estimate_spread="0",
            default_output_tokens="100",
            on_limit="stop",
        )
        socket = await talk(guard)
        socket.send(create(tokens=2_000))
        events = await socket.until("error")
        assert events[-1]["error"]["code"] == "budget_exhausted"
        assert 100 < len(events) < 1_010
        events = await socket.until("response.done")
        assert len(events) == 1, "nothing of it comes after the error but its end"
        assert provider.received[-1]["type"] == "response.cancel"
        assert await tokens_of(store) == Balance(spent=1_000)
        await socket.leave()


class TestTranscriptions:
    HEARD = listening(None, transcription={"model": "talk"})

    async def test_each_is_booked_at_its_own_model(self, store, prices):
        provider = scripted([of_session("updated", self.HEARD)], [transcribed(input_tokens=0, output_tokens=10)])
        socket = await talk(guard_of(provider, prices, store, limits="key=5/day"))
        socket.send(of_session("update", self.HEARD))
        await socket.until("session.updated")
        socket.send(sound())
        await socket.until("conversation.item.input_audio_transcription.completed")
        # `talk` is dearer than `plain`, by a fifth.
        assert await tokens_of(store) == Balance(spent=12)
        await socket.leave()

    async def test_each_part_of_an_item_is_booked_once(self, store, prices):
        heard = transcribed(input_tokens=0, output_tokens=10)
        second = {**heard, "content_index": 1}
        provider = scripted([of_session("updated", self.HEARD)], [heard, second, heard, second, error()])
        socket = await talk(guard_of(provider, prices, store))
        socket.send(of_session("update", self.HEARD))
        await socket.until("session.updated")
        socket.send(sound())
        await socket.until("error")
        assert await tokens_of(store) == Balance(spent=24)
        await socket.leave()

    async def test_one_that_nobody_held_ahead_is_booked_too(self, store, prices):
        heard = transcribed(input_tokens=0, output_tokens=10)
        provider = scripted([of_session("updated", self.HEARD), heard])
        socket = await talk(guard_of(provider, prices, store, limits="key=0.001/day"))
        socket.send(of_session("update", self.HEARD))
        events = await socket.until("conversation.item.input_audio_transcription.completed")
        assert events[-2]["error"]["code"] == "budget_exhausted"
        assert await tokens_of(store) == Balance(spent=12)
        await socket.leave()


class TestOddClients:
    async def test_binary_frames_are_read(self, store, prices):
        provider = scripted(whole(20))
        socket = await talk(guard_of(provider, prices, store))
        socket.send(json.dumps(create()).encode())
        await socket.until("response.done")
        assert await tokens_of(store) == Balance(spent=20)
        await socket.leave()

    @pytest.mark.parametrize(
        "frame",
        [b"\x00\x01\x02\x03", "[1, 2]", '{"type": 5}', '{"x": ' + "[" * 5_000 + "]" * 5_000 + "}", '"response.create"'],
        ids=["sound", "a list", "a number for a type", "deep", "a text"],
    )
    async def test_what_is_not_understood_is_held(self, store, prices, frame):
        received = []

        async def app(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                received.append(message)

        guard = guard_of(app, prices, store, estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        socket.send(frame)
        while not received:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance(reserved=200)
        await socket.leave()

    @pytest.mark.parametrize("forged", [done(0), created("resp_2"), of_session("updated", SILENT), error()])
    async def test_events_of_a_server_are_nothing_from_a_client(self, store, prices, forged):
        provider = scripted([created()])
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        socket.send(create(tokens=400))
        await socket.until("response.created")
        socket.send(forged)
        socket.send(sound())
        while len(provider.received) < 3:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance(reserved=600)
        await say(provider, done(40))
        assert await tokens_of(store) == Balance(spent=40, reserved=200)
        await socket.leave()

    @pytest.mark.parametrize(
        "response",
        [
            '{"max_output_tokens": 900, "max_output_tokens": 1}',
            '{"max_output_tokens": 1, "Max_Output_Tokens": "inf"}',
            '{"x": NaN, "max_output_tokens": 900, "max_output_tokens": 1}',
            '{"max_output_tokens": 1, "audio": {"output": {"format": {"type": 1, "type": 2}}}}',
            '{"max_output_tokens": 900}, "response": {"max_output_tokens": 1}',
        ],
    )
    async def test_a_response_that_may_be_read_otherwise_has_no_maximum(self, store, prices, response):
        provider = scripted([created()])
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        socket.send(f'{{"type": "response.create", "response": {response}}}')
        await socket.until("response.created")
        assert await tokens_of(store) == Balance(reserved=200)
        await socket.leave()

    @pytest.mark.parametrize(
        "given",
        [
            '{"audio": {"input": {"turn_detection": {"type": "server_vad"}, "turn_detection": null}}}',
            '{"audio": {"input": {"turn_detection": {"type": "server_vad"}}, "input": {}}}',
            '{"turn_detection": {"create_response": true, "create_response": false}}',
        ],
    )
    async def test_a_session_that_may_be_read_otherwise_may_answer_sound(self, store, prices, given):
        """And what it hears may be transcribed, for which 40 more are held."""
        provider = scripted([of_session("created", SILENT)], [])
        guard = guard_of(provider, prices, store, estimate="expected", default_output_tokens="200")
        socket = await talk(guard)
        socket.send(of_session("update"))
        await socket.until("session.created")
        socket.send(f'{{"type": "session.update", "session": {given}}}')
        socket.send(sound())
        while len(provider.received) < 3:
            await asyncio.sleep(0)
        assert await tokens_of(store) == Balance(reserved=240)
        await socket.leave()

    @pytest.mark.parametrize(
        "given",
        [
            '{"output_modalities": ["audio"], "output_modalities": ["text"]}',
            '{"audio": {"input": {"format": {"type": "audio/pcmu"}, "format": {"type": "audio/pcm"}}}}',
        ],
    )
    def test_a_session_that_may_be_read_otherwise_may_speak_and_hear_for_longer(self, given):
        """The same bytes of sound last longest in the format of telephones."""
        agreement = Agreement(Agreed(modalities=["text"]))
        agreement.wish(f'{{"type": "session.update", "session": {given}}}'.encode(), "")
        known = agreement.known
        assert (known.modalities, known.bytes_per_s) == (None, 8_000)
        agreement.wish(b'{"session": {"output_modalities": ["text"], "input_audio_format": "pcm16"}}', "")
        assert agreement.known == known, "until the server has answered"

    async def test_a_maximum_that_is_none_is_an_error(self, store, prices):
        provider = scripted()
        socket = await talk(guard_of(provider, prices, store))
        socket.send(create(tokens="many"))
        assert (await socket.event())["error"]["code"] == "budget_bad_request"
        assert provider.received == []
        await socket.leave()


class TestKeys:
    @pytest.mark.parametrize("place", ["header", "subprotocol", "query"])
    async def test_are_charged_and_shown_nowhere(self, store, prices, caplog, place):
        query, headers = QUERY, {"authorization": ""}
        match place:
            case "header":
                headers = {"authorization": "Bearer sk-secret"}
            case "subprotocol":
                headers |= {"sec-websocket-protocol": "realtime, openai-insecure-api-key.sk-secret"}
            case _:
                query += b"&api-key=sk-secret"
        caplog.set_level("DEBUG")
        provider = scripted(whole(20))
        socket = await talk(guard_of(provider, prices, store), query=query, **headers)
        socket.send(create())
        await socket.until("response.done")
        socket.send(create(tokens=1_001))
        await socket.until("error")
        await socket.leave()
        assert await store.counters(f"key:{key_id('sk-secret')}")
        kept = [str(await store.counters()), str(await store.journal(after_seq=0, count=100)), str(socket.sent)]
        assert "sk-secret" not in caplog.text + "".join(kept)
