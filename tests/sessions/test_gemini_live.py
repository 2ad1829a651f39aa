"""Each turn of Gemini Live is held ahead, followed and booked by its usage."""

import asyncio
import base64
import json
import re
import time

import pytest

from budget_middleware.apis import api_at
from budget_middleware.apis.bodies.bounded_answer import is_heavy
from budget_middleware.apis.google.live.call import HEARD, GeminiLive, usage_of
from budget_middleware.apis.google.live.session import GeminiLiveSession
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.usage import Usage
from budget_middleware.core.model import Balance
from tests.apis.timing import cpu_ms
from tests.request.wire import PRICES
from tests.sessions.live import (
    PATH,
    SETUP_COMPLETE,
    TOOL_CALL,
    TURN_COMPLETE,
    say,
    setup,
    sound,
    spoken,
    text,
    tool_result,
    turn,
    usage,
)
from tests.sessions.socket import ScriptedProvider, guard_of, opened
from tests.sessions.test_calls_of_a_session import tokens_of


class Live(ScriptedProvider):
    """Answers `setup` as Google does, and every other message with what its script says of it."""

    def __init__(self, *answers):
        script = iter(answers)
        super().__init__(lambda event: [SETUP_COMPLETE] if "setup" in event else next(script, []))

    async def say(self, *messages):
        for message in messages:
            await self.send({"type": "websocket.send", "bytes": json.dumps(message).encode()})


async def session(provider, prices, store, *, begin=None, **settings):
    socket = await opened(guard_of(provider, prices, store, **settings), path=PATH)
    socket.send(begin or setup())
    assert await socket.event() == SETUP_COMPLETE
    return socket


async def until_turn_complete(socket):
    while not (await socket.event()).get("serverContent", {}).get("turnComplete"):
        pass


async def received(provider, count):
    async with asyncio.timeout(30):
        while len(provider.received) < count:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        "/gemini" + PATH,
        "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContent",
        "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained",
        "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent",
        "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent",
    ],
)
def test_its_paths(path):
    api = api_at(path)
    assert api is not None
    assert api.name == "gemini-live"


async def test_a_turn_is_booked_before_its_end_is_seen(store, prices):
    socket = await session(Live(turn(250)), prices, store)
    socket.send(say())
    await until_turn_complete(socket)
    assert await tokens_of(store) == Balance(spent=250)
    await socket.leave()


def in_snake_case(message):
    """A message with its fields as Google's protocol buffers spell them, which its servers take and write too."""
    if isinstance(message, list):
        return [in_snake_case(each) for each in message]
    if not isinstance(message, dict):
        return message
    return {
        re.sub("[A-Z]", lambda at: f"_{at[0].lower()}", name): in_snake_case(value) for name, value in message.items()
    }


async def test_a_turn_in_snake_case_is_booked_all_the_same(store, prices):
    provider = Live([in_snake_case(message) for message in turn(250)])
    socket = await session(provider, prices, store)
    socket.send(in_snake_case(say()))
    while not (await socket.event()).get("server_content", {}).get("turn_complete"):
        pass
    assert await tokens_of(store) == Balance(spent=250)
    await socket.leave()


async def test_sound_is_held_for_once_whatever_comes_of_it(store, prices):
    provider = Live()
    socket = await session(provider, prices, store)
    for _ in range(5):
        socket.send(sound())
    await received(provider, 6)
    assert await tokens_of(store) == Balance(reserved=600)
    await provider.say(*turn(20))
    await until_turn_complete(socket)
    assert await tokens_of(store) == Balance(spent=20)
    socket.send(sound())
    await received(provider, 7)
    assert await tokens_of(store) == Balance(spent=20, reserved=600)
    await socket.leave()
    for _ in range(100):
        await asyncio.sleep(0)
    assert await tokens_of(store) == Balance(spent=20)


@pytest.mark.parametrize(
    "event", [say(), sound(), {"realtimeInput": {"text": "hello"}}, {"realtime_input": {"text": "hello"}}]
)
async def test_a_spent_key_is_told_and_the_provider_hears_nothing(store, prices, event):
    provider = Live()
    socket = await session(provider, prices, store, begin=setup(tokens=1_001))
    socket.send(event)
    message = await socket.message()
    assert (message["type"], message["code"]) == ("websocket.close", 1008)
    assert message["reason"].startswith("The budget of key:")
    assert len(message["reason"].encode()) <= 123
    await socket.task
    assert len(provider.received) == 1
    assert await tokens_of(store) == Balance()


async def test_what_does_not_end_a_turn_of_the_client_asks_for_nothing(store, prices):
    provider = Live()
    socket = await session(provider, prices, store)
    socket.send(say("more follows", is_whole=False))
    socket.send({"realtimeInput": {"activityStart": {}}})
    await received(provider, 3)
    assert await tokens_of(store) == Balance()
    await socket.leave()


async def test_a_turn_that_nobody_asked_for_is_booked(store, prices):
    provider = Live()
    socket = await session(provider, prices, store)
    await provider.say(text())
    await socket.event()
    assert await tokens_of(store) == Balance(reserved=600)
    await provider.say(TURN_COMPLETE | usage(30))
    await until_turn_complete(socket)
    assert await tokens_of(store) == Balance(spent=30)
    await socket.leave()


async def test_a_refused_turn_that_nobody_asked_for_ends_the_session(store, prices):
    provider = Live()
    socket = await session(provider, prices, store, begin=setup(tokens=1_001))
    with pytest.raises(Exception, match="closed by its budget"):
        await provider.say(text(), text())
    assert (await socket.message())["code"] == 1008
    await socket.leave()


async def test_each_generation_of_a_turn_counts(store, prices):
    """A tool's result is read by another generation, whose prompt is all that was said before."""
    first = [TOOL_CALL | usage(10, prompt=100)]
    socket = await session(Live(first, turn(20, prompt=130)), prices, store, begin=setup("talk", tokens=100))
    socket.send(say())
    await socket.event()
    socket.send(tool_result())
    await until_turn_complete(socket)
    # At 1 a token of input and 1.2 a token of output, in thousandths of a dollar.
    assert (await tokens_of(store)).spent == 100 + 12 + 130 + 24
    await socket.leave()


async def test_a_tool_call_without_usage_is_booked_by_what_was_seen(store, prices):
    socket = await session(Live([TOOL_CALL], turn(20, prompt=130)), prices, store, begin=setup("talk", tokens=100))
    socket.send(say("x" * 400))
    await socket.event()
    socket.send(tool_result())
    await until_turn_complete(socket)
    for _ in range(100):
        await asyncio.sleep(0)
    balance = await tokens_of(store)
    assert balance.reserved == 0
    assert 100 + 130 + 24 < balance.spent < 100 + 130 + 24 + 30
    await socket.leave()


async def test_generations_within_a_turn_add_up(store, prices):
    messages = [text(), usage(10, prompt=100), text(), TURN_COMPLETE | usage(20, prompt=130)]
    socket = await session(Live(messages), prices, store, begin=setup("talk", tokens=100))
    socket.send(say())
    await until_turn_complete(socket)
    assert (await tokens_of(store)).spent == 100 + 12 + 130 + 24
    await socket.leave()


async def test_a_usage_is_counted_once_however_often_it_is_read(store, prices):
    messages = [text(), usage(10, prompt=100), text(), usage(15, prompt=100), TURN_COMPLETE | usage(15, prompt=100)]
    socket = await session(Live(messages), prices, store, begin=setup("talk", tokens=100))
    socket.send(say())
    await until_turn_complete(socket)
    assert (await tokens_of(store)).spent == 100 + 18
    await socket.leave()


async def test_a_usage_behind_its_turn_is_booked_too(store, prices):
    socket = await session(Live([text("word"), TURN_COMPLETE, usage(20)]), prices, store)
    socket.send(say())
    await until_turn_complete(socket)
    assert "usageMetadata" in await socket.event()
    assert (await tokens_of(store)).spent == 21
    await socket.leave()


async def test_what_was_said_before_is_part_of_the_next_estimate(store, prices):
    provider = Live(turn(20, prompt=300))
    socket = await session(provider, prices, store, begin=setup("talk", tokens=10))
    socket.send(say())
    await until_turn_complete(socket)
    socket.send(sound(1))
    await received(provider, 3)
    assert (await tokens_of(store)).reserved == 300 + 20 + 32 + 12
    await socket.leave()


async def test_an_interrupted_turn_ends_with_its_usage(store, prices):
    messages = [text(), {"serverContent": {"interrupted": True}}, TURN_COMPLETE | usage(7)]
    socket = await session(Live(messages), prices, store)
    socket.send(say())
    await until_turn_complete(socket)
    assert await tokens_of(store) == Balance(spent=7)
    await socket.leave()


async def test_who_leaves_a_spoken_turn_pays_what_was_spoken(store, prices):
    begin = setup(tokens=50)
    begin["setup"]["generationConfig"]["responseModalities"] = ["AUDIO"]
    socket = await session(Live([spoken(8)]), prices, store, begin=begin, on_abort="partial")
    socket.send(say())
    await socket.event()
    await socket.leave()
    for _ in range(100):
        await asyncio.sleep(0)
    assert await tokens_of(store) == Balance(spent=200)


async def test_a_setup_without_a_model_is_not_free(store, prices):
    socket = await session(Live(), prices, store, begin={"setup": {}})
    socket.send(say())
    assert "names no model" in (await socket.message())["reason"]
    await socket.leave()


async def test_two_setups_are_held_for_at_the_dearest(store, prices):
    provider = Live()
    socket = await session(provider, prices, store, begin=setup("plain", tokens=100))
    socket.send(setup("gift", tokens=100))
    await socket.event()
    socket.send(sound())
    await received(provider, 3)
    assert (await tokens_of(store)).reserved == 100
    await socket.leave()


@pytest.mark.parametrize(
    "begin",
    [
        '{"setup": {"model": "models/plain", "model": "models/gift"}}',
        '{"setup": {"model": "models/gift", "Model": "models/plain"}}',
        '{"setup": {"model": "models/plain"}, "setup": {"mod\\u0065l": "models/gift"}}',
    ],
)
async def test_a_setup_that_names_two_models_is_held_for_and_booked_at_the_dearest(store, prices, begin):
    """Which of them Google takes is not known, and no answer says it."""
    socket = await session(Live(turn(100, prompt=50)), prices, store, begin=begin, limits="key=9/month")
    socket.send(say())
    await until_turn_complete(socket)
    (counter,) = await store.counters()
    assert counter.balance == Balance(spent=100_000_000)
    await socket.leave()


# With more values than are parsed.
HEAVY = ', "tools": [' + "{}," * 70_000 + "{}]"


@pytest.mark.parametrize(
    "begin",
    [
        '{"setup": {"model": "models/plain", "model": "models/gift"%s}}',
        '{"setup": {"model": "models/gift"%s, "Model" :\n"models/plain"}}',
        '{"setup": {"model": "models\\/plain"}, "setup": {"model": "models/gift"%s}}',
        '{"setup": {"model": "models/pl\\u002dain", "model": "models/plain", "model": "models/gift"%s}}',
    ],
)
async def test_so_it_is_of_a_setup_that_has_too_many_values_to_be_parsed(store, prices, begin):
    socket = await session(Live(turn(100, prompt=50)), prices, store, begin=begin % HEAVY, limits="key=9/month")
    socket.send(say())
    await until_turn_complete(socket)
    (counter,) = await store.counters()
    assert counter.balance.spent == 100_000_000
    await socket.leave()


@pytest.mark.parametrize("begin", ['{"setup": {"mod\\u0065l": "models/plain", "model": "models/gift"%s}}'])
async def test_of_such_a_setup_no_name_may_be_hidden(store, prices, begin):
    provider = Live(turn(100, prompt=50))
    socket = await opened(guard_of(provider, prices, store), path=PATH)
    socket.send(begin % HEAVY)
    assert "names in it are escaped" in (await socket.message())["reason"]
    await socket.leave()


async def test_a_dear_model_is_not_pushed_out_by_many_cheap_ones(store, prices):
    names = ", ".join(f'"model": "models/{name}"' for name in ("plain", *(f"gift-{n}" for n in range(20)), "gift"))
    socket = await session(Live(), prices, store, begin=f'{{"setup": {{{names}}}}}', limits="key=9/month")
    socket.send(say())
    assert "more than 8 models" in (await socket.message())["reason"]
    await socket.leave()


@pytest.mark.parametrize("heavy", ["", HEAVY], ids=["", "heavy"])
@pytest.mark.parametrize("tiers", ['"serviceTier": "priority"', '"serviceTier": "priority", "Service_Tier": "flex"'])
async def test_the_dearest_mode_of_a_setup_counts(store, price_file, tiers, heavy):
    """No answer has to repeat it."""
    prices = price_file(PRICES + "[models.plain.priority]\noutput = 2000\n")
    begin = f'{{"setup": {{"model": "models/plain", {tiers}{heavy}}}}}'
    socket = await session(Live(turn(100, prompt=50)), prices, store, begin=begin, limits="key=9/month")
    socket.send(say())
    await until_turn_complete(socket)
    (counter,) = await store.counters()
    assert counter.balance.spent == 200_000_000
    await socket.leave()


@pytest.mark.parametrize("name", [b'"model":"%d",', b'"model":'])
def test_many_names_are_read_in_linear_time(name):
    session, data = GeminiLiveSession().open({}, path=PATH), b'{"setup":{' + name * 800_000
    before_s = time.thread_time()
    session.read_client(data)
    assert time.thread_time() - before_s < 2


@pytest.mark.parametrize("begin", [b'{"clientContent":{"turns":[1', b'{"setup":{"model":"models/plain","x":[1'])
def test_a_message_of_millions_of_values_is_looked_through_in_little_time(begin):
    """As long as it takes to tell that it has so many, and hardly longer."""
    session, data = GeminiLiveSession().open({}, path=PATH), begin + b",1" * 7_000_000 + b"]}}"
    reading_ms, weighing_ms = cpu_ms(lambda: session.read_client(data)), cpu_ms(lambda: is_heavy(data))
    assert reading_ms < 3 * weighing_ms


@pytest.mark.parametrize("rate", ["0000", "000000", "999999", "16000"])
def test_sound_of_any_rate_is_heard(rate):
    """A rate of none would be a division by zero, and too high a one hardly any sound."""
    said = {"data": base64.b64encode(bytes(48_000)).decode(), "mimeType": f"audio/pcm;rate={rate}"}
    (asked,) = (
        GeminiLiveSession().open({}, path=PATH).read_client(json.dumps({"realtimeInput": {"audio": said}}).encode())
    )
    heard = (asked.body or {})[HEARD]
    assert isinstance(heard, Usage)
    assert heard.input_audio_tokens >= 16
    seen = Seen()
    GeminiLive().read_json({"serverContent": {"modelTurn": {"parts": [{"inlineData": said}]}}}, seen)
    assert seen.text_bytes > 0


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[]", b"{", b"[" * 9_000])
def test_what_cannot_be_read_may_be_answered(data):
    (asked,) = GeminiLiveSession().open({}, path=PATH).read_client(data)
    assert asked.is_maybe


@pytest.mark.parametrize(
    "data", [b"\xff", b"[]", b"null", b"", b'{"usageMetadata": 7}', b'{"serverContent": [1]}', b"[" * 9_000]
)
def test_what_the_server_says_may_be_anything(data):
    assert GeminiLiveSession().open({}, path=PATH).read_server_event(data) is None


@pytest.mark.parametrize(
    ("counts", "reads"),
    [
        # Thoughts stand beside the total, as a session of a native-audio model was measured.
        (
            {"promptTokenCount": 522, "responseTokenCount": 42, "totalTokenCount": 564, "thoughtsTokenCount": 136},
            Usage(input_tokens=522, output_tokens=178, reasoning_tokens=136),
        ),
        (
            {"promptTokenCount": 522, "responseTokenCount": 42, "totalTokenCount": 564, "thoughtsTokenCount": 30},
            Usage(input_tokens=522, output_tokens=72, reasoning_tokens=30),
        ),
        (
            {
                "promptTokenCount": 100,
                "responseTokenCount": 50,
                "totalTokenCount": 150,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 30},
                    {"modality": "AUDIO", "tokenCount": 60},
                ],
                "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
            },
            Usage(input_tokens=100, output_tokens=50, input_audio_tokens=60, output_audio_tokens=50),
        ),
        (
            {"prompt_token_count": 10, "response_token_count": 5, "total_token_count": 15},
            Usage(input_tokens=10, output_tokens=5),
        ),
    ],
)
def test_a_usage_by_its_kinds(counts, reads):
    assert usage_of({"usageMetadata": counts}) == reads
