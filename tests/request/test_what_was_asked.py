"""What a request asks for is read as the app reads it, and what is not understood is never free."""

import json
import struct

import httpx
import pytest

from budget_middleware.apis.counting.media import image_size
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.testing import ScriptedApp, call, event_stream, json_answer
from tests.request.wire import KEY, bearer, completion, delta, usage_event

PRICES = """
[models.plain]
input = 0
output = 1000
[models.embed]
input = 10
output = 0
[models.search]
rerank_search = 0.002
[models.whisper]
audio_hour = 0.36
[models.tts]
characters = 15
[models.reader]
input = 1.25
output = 0
[models.writer]
input = 0
output = 120
max_output_tokens = 128000
[models.gift]
input = 0
output = 0
"""


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


def held(played):
    return played.headers["x-budget-estimate-usd"]


def form_of(*, data, files):
    request = httpx.Request("POST", "http://x", data=data, files=files)
    return request.read(), {**bearer(), "content-type": request.headers["content-type"]}


def wav(*, n_bytes, form=1, channels=1, rate=16_000, bytes_per_s=32_000, block=2, bits=16):
    head = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, form, channels, rate, bytes_per_s, block, bits)
    return head + bytes(n_bytes - len(head))


FORGED = {
    "a byte rate of 2^32 - 1": {"bytes_per_s": 2**32 - 1},
    "and the samples to go with it": {"bytes_per_s": 4_294_770_690, "rate": 65_535, "block": 65_534, "bits": 65_528},
    "MP3 in WAV": {"form": 0x55, "rate": 384_000, "bytes_per_s": 384_000 * 64, "channels": 8, "block": 64, "bits": 64},
    "more channels than there are": {"channels": 60_000, "block": 60_000, "bytes_per_s": 16_000 * 60_000, "bits": 8},
}


@pytest.mark.parametrize("header", FORGED.values(), ids=FORGED)
async def test_f45_a_forged_media_header(memory, header):
    """20 minutes at the rate at which applications send speech."""
    body, headers = form_of(data={"model": "whisper"}, files={"file": ("a.wav", wav(n_bytes=9_600_000, **header))})
    guard = memory.guard(ScriptedApp(*json_answer({"text": ""})))
    played = await call(guard, body, headers=headers, path="/v1/audio/transcriptions")
    assert (played.status, held(played)) == (200, "0.12")
    assert await memory.figures() == ("0.12", "0.00")


async def test_f45_a_true_header_is_believed(memory):
    body, headers = form_of(data={"model": "whisper"}, files={"file": ("a.wav", wav(n_bytes=3_200_000))})
    guard = memory.guard(ScriptedApp(*json_answer({"text": ""})))
    played = await call(guard, body, headers=headers, path="/v1/audio/transcriptions")
    assert held(played) == "0.01"


TRUE_SIZE = (100, 100)
FORGED_IMAGES = {
    "a thumbnail before the JPEG's own frame": b"\xff\xd8\xff\xe1\x00\x20Exif\0\0\xff\xd8\xff\xc0\0\x11\x08\0\1\0\1"
    + bytes(15)
    + b"\xff\xc0\0\x11\x08"
    + struct.pack(">HH", *TRUE_SIZE),
    "a JPEG of padding": b"\xff\xd8" + b"\xff" * 5 + b"\xc0\0\x11\x08" + struct.pack(">HH", *TRUE_SIZE),
    "a JPEG without a frame before its data": b"\xff\xd8\xff\xda\0\4\0\0\xff\xc0\0\x11\x08\0\1\0\1",
    "a JPEG whose frame is far away": b"\xff\xd8" + b"\xff\xe1\xff\xff" * 40_000 + b"\xff\xc0\0\x11\x08\0\1\0\1",
    "a PNG without its header": b"\x89PNG\r\n\x1a\n\0\0\0\4tEXt" + struct.pack(">II", 1, 1),
    "a GIF of no version": b"GIF80a" + struct.pack("<HH", 1, 1),
    "a WebP without its start code": b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 1, 1),
}


@pytest.mark.parametrize("head", FORGED_IMAGES.values(), ids=FORGED_IMAGES)
def test_f45_impossible_images_count_as_unknown(head):
    assert image_size(head) in (None, TRUE_SIZE)


async def streaming_app(scope, receive, send):
    """180 words, and the usage of 1,680 tokens for who asks for it."""
    body = json.loads((await receive())["body"])
    asks = (body.get("stream_options") or {}).get("include_usage")
    events = [*[delta()] * 180, *([usage_event(1_680)] if asks else []), "[DONE]"]
    for message in event_stream(*events):
        await send(message)


@pytest.mark.parametrize("stream", [True, "true", "True", 1, "1", 1.0, "on", "yes", "t", "Y", [1]], ids=repr)
@pytest.mark.parametrize("options", [{}, {"stream_options": None}, {"stream_options": {"include_usage": "false"}}])
async def test_f47_a_stream_by_another_name(memory, stream, options):
    body = {"model": "plain", "max_tokens": 2_000, "stream": stream, "messages": [], **options}
    played = await call(memory.guard(streaming_app, limits="key=9/month"), body, headers=bearer())
    assert played.status == 200
    assert await memory.figures() == ("1.68", "0.00")


@pytest.mark.parametrize("stream", [False, "false", "False", 0, "0", "off", "no", "", None, []], ids=repr)
async def test_f47_what_is_a_no_is_left_alone(memory, stream):
    app = ScriptedApp(*completion(600))
    await call(memory.guard(app), {"model": "plain", "max_tokens": 600, "stream": stream}, headers=bearer())
    assert "stream_options" not in json.loads(app.bodies[0])


@pytest.mark.parametrize("number", [8_192, 8_192.0, "8192", " 8192 ", "+8192.0"], ids=repr)
async def test_f47_a_number_by_another_name(memory, number):
    body = {"model": "plain", "max_tokens": number, "n": "3", "messages": []}
    played = await call(memory.guard(ScriptedApp(*completion(1)), limits="key=99/month"), body, headers=bearer())
    assert held(played) == "24.576"


TEXT = "x" * 400_000  # 100,000 tokens.
UNKNOWN_INPUT = {
    "inputs": ("/v1/embeddings", {"model": "embed", "inputs": TEXT}, "1.0000"),
    "text in a list of numbers": ("/v1/embeddings", {"model": "embed", "input": [1, TEXT]}, "1.0000"),
    "numbers in a list of texts": ("/v1/embeddings", {"model": "embed", "input": ["", *[1.5] * 10_000]}, "0.1000"),
    "fields beside the input": ("/v1/embeddings", {"model": "embed", "input": "x", "texts": [TEXT]}, "1.0000"),
    "an object to embed": ("/v1/embeddings", {"model": "embed", "input": {"a": {"b": TEXT}}}, "1.0000"),
    "content to embed": ("/v1beta/models/embed:embedContent", {"text": TEXT}, "1.0000"),
    "an object to rank": ("/v1/rerank", {"model": "search", "query": "x", "documents": {"0": "x"}}, "0.0020"),
    "nothing to rank": ("/v1/rerank", {"model": "search"}, "0.0020"),
    "texts of two names": ("/v1/rerank", {"model": "search", "documents": ["x"], "texts": ["x"] * 100}, "0.0040"),
    "a text to rank": ("/v1/rerank", {"model": "search", "documents": TEXT}, "0.0160"),
    "speech of a list": ("/v1/audio/speech", {"model": "tts", "input": [TEXT]}, "6.0000"),
    "speech of another name": ("/v1/audio/speech", {"model": "tts", "text": TEXT}, "6.0000"),
    "a message that is a text": ("/api/embed", {"model": "embed", "messages": [TEXT]}, "1.0000"),
    "messages that are one": ("/api/embed", {"model": "embed", "messages": {"content": TEXT}}, "1.0000"),
    "images that are a text": ("/api/embed", {"model": "embed", "images": TEXT}, "1.0000"),
}


@pytest.mark.parametrize(("path", "body", "least"), UNKNOWN_INPUT.values(), ids=UNKNOWN_INPUT)
async def test_f49_unknown_input_is_free(memory, path, body, least):
    app = ScriptedApp(*json_answer({"data": [], "results": []}))
    guard = memory.guard(app, limits="key=9/month")
    played = await call(guard, body, headers=bearer(), path=path)
    assert played.status == 200
    # A few tokens more for names, or a number of three bytes that counts as one.
    assert float(least) <= float(held(played)) <= float(least) * 1.01 + 0.0001
    await memory.settle()
    (view,) = await memory.reader.counters(KEY)
    app.scopes.clear()
    full = memory.guard(app, limits=f"key={usd_from_nanos(view.balance.spent)}/month")
    assert [(await call(full, body, headers=bearer(), path=path)).status for _ in range(20)] == [429] * 20
    assert app.scopes == []


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank", "/v1/chat/completions", "/api/embed", "/v1/messages"])
@pytest.mark.parametrize("fields", [{}, {"input": []}, {"messages": 7}, {"documents": None}, {"n": "1"}], ids=str)
async def test_f49_nothing_but_a_free_model_is_estimated_at_nothing(memory, path, fields):
    for model in ("embed", "search", "plain", "tts"):
        app = ScriptedApp(*json_answer({}))
        played = await call(
            memory.guard(app, limits="key=0/month"), {"model": model, **fields}, headers=bearer(), path=path
        )
        assert (played.status, app.scopes) == (429, [])
    app = ScriptedApp(*json_answer({}))
    played = await call(
        memory.guard(app, limits="key=0/month"), {"model": "gift", **fields}, headers=bearer(), path=path
    )
    assert played.status == 200


SECRET = "x" * 200_000
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"signature": SECRET}}}
IMAGE = {"type": "image", "source": {"type": "base64", "data": SECRET}}
HIDDEN = {
    "a seal in a schema": {"tools": [TOOL]},
    "an image in a schema": {"tools": [{"type": "function", "function": {"parameters": {"examples": [IMAGE]}}}]},
    "an image in the answer's schema": {"response_format": {"json_schema": {"schema": IMAGE}}},
    "an image in arguments": {"messages": [{"content": [{"type": "tool_use", "input": {"content": [IMAGE]}}]}]},
    "an image in an old function": {
        "functions": [{"parameters": {"inlineData": {"mimeType": "image/png", "data": SECRET}}}]
    },
    "an image of words": {"messages": [{"content": [{"type": "image", "source": "a " * 100_000}]}]},
    "a seal of words": {"messages": [{"content": [{"type": "thinking", "signature": "a " * 100_000}]}]},
    "a field of nobody's": {"documents": [IMAGE]},
}


@pytest.mark.parametrize("fields", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize(("by", "least"), [("worst", 0.25), ("expected", 0.0625)])
async def test_f50_text_where_media_or_seals_stand(memory, fields, by, least):
    guard = memory.guard(ScriptedApp(*completion(0)), estimate=by)
    played = await call(guard, {"model": "reader", "max_tokens": 1, **fields}, headers=bearer())
    assert least <= float(held(played)) <= least * 1.01


@pytest.mark.parametrize("background", [True, "true", 1], ids=repr)
async def test_f51_a_background_answer_is_held_at_its_ceiling(memory, background):
    body = {"model": "writer", "input": "hello", "background": background}
    answer = {
        "id": "resp_1",
        "object": "response",
        "status": "queued",
        "background": True,
        "output": [],
        "model": "writer",
    }
    guard = memory.guard(ScriptedApp(*json_answer(answer)), limits="key=100/month")
    played = await call(guard, body, headers=bearer(), path="/v1/responses")
    assert held(played) == "15.36"
    assert await memory.figures() == ("0.00", "15.36")


async def test_f51_its_own_maximum_holds_less(memory):
    body = {"model": "writer", "input": "hello", "background": True, "max_output_tokens": 1_000}
    guard = memory.guard(ScriptedApp(*json_answer({"status": "queued", "background": True})), limits="key=100/month")
    assert held(await call(guard, body, headers=bearer(), path="/v1/responses")) == "0.12"


async def test_f51_a_deferred_completion_too(memory):
    """xAI answers with the id of a request whose result is asked for later: held until that shows its usage."""
    body = {"model": "writer", "messages": [], "deferred": True}
    guard = memory.guard(ScriptedApp(*json_answer({"request_id": "x"})), limits="key=100/month")
    assert held(await call(guard, body, headers=bearer())) == "15.36"
    assert await memory.figures() == ("0.00", "15.36")
    usage = {"prompt_tokens": 0, "completion_tokens": 1_000, "total_tokens": 1_000}
    done = {"id": "c", "model": "writer", "choices": [{"message": {"content": "x"}}], "usage": usage}
    for status, figures in ((202, ("0.00", "15.36")), (403, ("0.00", "15.36")), (200, ("0.12", "0.00"))):
        guard = memory.guard(ScriptedApp(*json_answer(done, status=status)), limits="key=100/month")
        played = await call(guard, path="/v1/chat/deferred-completion/x", method="GET", headers=bearer("sk-two"))
        assert played.json() == done
        assert await memory.figures() == figures


async def test_an_answer_that_names_a_request_beside_other_things_is_not_deferred(memory):
    body = {"model": "writer", "messages": [], "deferred": True}
    answer = {"request_id": "x", "error": {"message": "no"}}
    guard = memory.guard(ScriptedApp(*json_answer(answer)), limits="key=100/month")
    await call(guard, body, headers=bearer())
    assert await memory.figures() == ("0.00", "0.00")
