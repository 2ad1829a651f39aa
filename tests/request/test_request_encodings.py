"""Forms and compressed bodies are read as the app reads them, and passed on as they came."""

import gzip
import json
import sys
import zlib

import brotli
import httpx
import pytest

from budget_middleware.apis.bodies import inflating
from budget_middleware.testing import ScriptedApp, call, chunk, json_answer
from tests.request.test_request_body import ASKED, HIDDEN, STREAM
from tests.request.wire import ask, bearer, completion

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PRICES = """
[models.plain]
input = 0
output = 1000
[models.cheap]
audio_hour = 0.003
[models.dear]
audio_hour = 6
[models.fair]
audio_hour = 3.6
"""
FORMS = "/v1/audio/transcriptions"
HOUR = ("file", ("a.mp3", b"ID3" + bytes(8_000 * 1_200 - 3)))  # 20 minutes.


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


def form_of(*parts):
    """A form whose parts come in this order."""
    request = httpx.Request("POST", "http://x", files=parts)
    return request.read(), {**bearer(), "content-type": request.headers["content-type"]}


def field(name, text):
    return name, (None, text)


class TestForms:
    async def test_f44_a_model_after_256_parts(self, memory):
        """It is read, and it is what is booked: 20 minutes at 6 USD an hour."""
        parts = [field(f"x{n}", "1") for n in range(255)]
        body, headers = form_of(HOUR, *parts, field("model", "dear"))
        guard = memory.guard(ScriptedApp(*json_answer({"text": ""})), limits="key=9/month")
        played = await call(guard, body, headers=headers, path=FORMS)
        assert (played.status, await memory.figures()) == (200, ("2.00", "0.00"))

    @pytest.mark.parametrize(
        "parts",
        [
            [field("model", "cheap"), HOUR, field("model", "dear")],
            [field("model", "cheap"), *[field(f"x{n}", "1") for n in range(1_000)], field("y", "dear")],
        ],
        ids=["twice", "too many parts"],
    )
    async def test_f44_an_unclear_form_is_refused(self, memory, parts):
        body, headers = form_of(*parts)
        app = ScriptedApp(*json_answer({"text": ""}))
        played = await call(memory.guard(app), body, headers=headers, path=FORMS)
        assert (played.status, app.scopes, await memory.accounts()) == (400, [], set())
        assert played.json()["error"]["code"] == "budget_bad_request"

    async def test_f44_in_the_callers_shape(self, memory):
        headers = {**bearer(), "content-type": "multipart/form-data; boundary=x"}
        played = await call(memory.guard(ScriptedApp()), b"{}", headers=headers, path="/v1/messages")
        assert played.status == 400
        assert played.json()["error"]["type"] == "invalid_request_error"

    async def test_f44_in_shadow_mode_it_passes(self, memory):
        body, headers = form_of(field("model", "cheap"), field("model", "dear"))
        app = ScriptedApp(*json_answer({"text": ""}))
        guard = memory.guard(app, mode="shadow", unknown_model="free")
        played = await call(guard, [body[:50], body[50:]], headers=headers, path=FORMS)
        assert (played.status, app.bodies) == (200, [body])

    @pytest.mark.parametrize("piece_bytes", [65_536, 12_000_000])
    async def test_f54_a_file_before_the_model(self, memory, piece_bytes):
        """11 MB at 8,000 bytes a second are 24 minutes."""
        file = ("file", ("a.mp3", b"ID3" + bytes(11_520_000 - 3)))
        body, headers = form_of(file, field("model", "fair"))
        pieces = [body[start : start + piece_bytes] for start in range(0, len(body), piece_bytes)]
        received = []

        async def app(scope, receive, send):
            while True:
                message = await receive()
                received.append(message["body"])
                if not message["more_body"]:
                    break
            for message in json_answer({"text": ""}):
                await send(message)

        guard = memory.guard(app, limits="key=9/month")
        played = await call(guard, pieces, headers=headers, path=FORMS)
        assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "1.44")
        # Message by message, not joined and not copied.
        assert all(mine is theirs for mine, theirs in zip(received, pieces, strict=True))
        assert guard._responder.in_hand.current().n_bytes == 0

    async def test_f54_a_form_longer_than_all_bodies_together(self, memory):
        body, headers = form_of(HOUR, field("model", "dear"))
        guard = memory.guard(ScriptedApp(*json_answer({})), max_bodies_bytes="9000000")
        played = await call(guard, body, headers=headers, path=FORMS)
        assert played.status == 400
        assert "BUDGET_MAX_BODIES_BYTES" in played.json()["error"]["message"]

    async def test_f44_urlencoded_fields_are_fields(self, memory):
        """As LiteLLM reads them, on any route."""
        headers = {**bearer(), "content-type": "application/x-www-form-urlencoded"}
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app), b"model=plain&max_tokens=600", headers=headers)
        assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.60")

    async def test_a_form_that_asks_for_a_stream_is_passed_on_as_it_came(self, memory):
        body, headers = form_of(field("model", "plain"), field("stream", "true"), field("max_tokens", "5"))
        app = ScriptedApp(*completion(5))
        assert (await call(memory.guard(app), body, headers=headers)).status == 200
        assert app.bodies == [body]

    async def test_f44_json_that_curl_calls_a_form_is_json(self, memory):
        headers = {**bearer(), "content-type": "application/x-www-form-urlencoded"}
        body = json.dumps(ask(600, messages=[{"content": "R&D = 5; a&b=c"}])).encode()
        played = await call(memory.guard(ScriptedApp(*completion(600))), body, headers=headers)
        assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.60")

    async def test_f44_but_not_if_it_is_both(self, memory):
        headers = {**bearer(), "content-type": "application/x-www-form-urlencoded"}
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app), b'{"model":"plain","x":"&m%6fdel=dear&y="}', headers=headers)
        assert (played.status, app.scopes) == (400, [])


def deflated(raw):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(raw) + stream.flush()


PACKED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "deflate, without a header": deflated,
    "zstd": zstd.compress,
    "br": brotli.compress,
    "identity": bytes,
    "gzip, zstd": lambda raw: zstd.compress(gzip.compress(raw)),
    "gzip, in two members": lambda raw: gzip.compress(raw[:9]) + gzip.compress(raw[9:]),
    "zstd, in two frames": lambda raw: zstd.compress(raw[:9]) + zstd.compress(raw[9:]),
}


def packed_with(name):
    coding = name if name == "gzip, zstd" else name.partition(",")[0]
    return [(b"authorization", b"Bearer sk-one"), (b"Content-Encoding", coding.encode())]


class TestCompressed:
    @pytest.mark.parametrize("name", PACKED)
    async def test_f53_is_read_and_passed_on_as_it_came(self, memory, name):
        body = PACKED[name](json.dumps(ask(600)).encode())
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app), [body[:20], body[20:]], headers=packed_with(name))
        assert (played.status, app.bodies) == (200, [body])
        assert packed_with(name)[1] in app.scopes[0]["headers"]
        assert played.headers["x-budget-estimate-usd"] == "0.60"
        assert await memory.figures() == ("0.60", "0.00")

    @pytest.mark.parametrize("name", PACKED)
    async def test_f53_a_streams_usage_is_asked_for(self, memory, name):
        """Then it is sent on as plain text."""
        body = PACKED[name](b'{"model": "plain", "stream": true, "max_tokens": 600}')
        app = ScriptedApp(*STREAM)
        headers = [*packed_with(name), (b"content-length", str(len(body)).encode())]
        played = await call(memory.guard(app), [body], headers=headers)
        assert json.loads(app.bodies[0])["stream_options"] == {"include_usage": True}
        told = dict(app.scopes[0]["headers"])
        assert told[b"content-length"] == str(len(app.bodies[0])).encode()
        assert not {b"content-encoding", b"Content-Encoding"} & told.keys()
        assert played.body == HIDDEN != ASKED
        assert await memory.figures() == ("0.60", "0.00")

    @pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "br", "gzip, zstd"])
    async def test_f53_a_bomb_is_not_inflated(self, memory, name):
        body = PACKED[name](b'{"model": "plain", "x": "' + bytes(20_000_000) + b'"}')
        app = ScriptedApp(*completion(600))
        guard = memory.guard(app)
        played = await call(guard, [body], headers=packed_with(name))
        assert (played.status, app.scopes) == (400, [])
        assert "inflated, it is longer than BUDGET_MAX_BODY_BYTES" in played.json()["error"]["message"]
        assert guard._responder.in_hand.current().n_bytes == 0

    @pytest.mark.parametrize(
        ("coding", "body", "why"),
        [
            ("gzip", b"no gzip", "it is no gzip, as its content-encoding says"),
            ("br", b' {"model": "plain"}', "its header says that it is compressed, but it is plain JSON"),
            ("zstd", b"no zstd", "it is no zstd, as its content-encoding says"),
            ("br", b"\xff\xff\xff", "it is no br, as its content-encoding says"),
            ("gzip", gzip.compress(b'{"model": "plain"}', mtime=0)[:-9], "its gzip is cut off"),
            ("gzip", gzip.compress(b"", mtime=0) * 1_001, "its gzip has more than 1000 members"),
            ("zstd", zstd.compress(b'{"model": "plain"}')[:-1], "its zstd is cut off"),
            ("br", brotli.compress(b'{"model": "plain"}')[:-1], "its br is cut off"),
            ("gzip", b"", "its gzip is cut off"),
            ("compress", b"x", "its content-encoding 'compress' is none of gzip, deflate, zstd, br"),
            ("gzip, gzip, gzip, gzip", b"x", "it has more than 3 content-encodings"),
        ],
        # Not the bodies: an id is the same in each test process, and short.
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_f53_what_cannot_be_inflated_is_never_free(self, memory, coding, body, why):
        headers = {**bearer(), "content-encoding": coding}
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app), body, headers=headers)
        assert (played.status, app.scopes) == (400, [])
        assert f": {why}." in played.json()["error"]["message"]
        guard = memory.guard(app, unknown_model="0/1000", estimate="worst", limits="")
        played = await call(guard, body, headers=headers)
        assert (played.status, app.bodies) == (200, [body])
        assert float(played.headers["x-budget-estimate-usd"]) > 0

    async def test_f53_without_brotli_the_fix_is_told(self, memory, monkeypatch):
        monkeypatch.setattr(inflating, "_brotli", None)
        headers = {**bearer(), "content-encoding": "br"}
        played = await call(memory.guard(ScriptedApp()), brotli.compress(b"{}"), headers=headers)
        assert played.status == 400
        assert "pip install 'budget-middleware[brotli]'" in played.json()["error"]["message"]

    async def test_f53_a_compressed_form(self, memory):
        body, headers = form_of(HOUR, field("model", "dear"))
        app = ScriptedApp(*json_answer({"text": ""}))
        guard = memory.guard(app, limits="key=9/month")
        played = await call(guard, gzip.compress(body), headers={**headers, "content-encoding": "gzip"}, path=FORMS)
        assert (played.status, await memory.figures()) == (200, ("2.00", "0.00"))
        assert gzip.decompress(app.bodies[0]) == body

    async def test_f53_what_is_longer_than_was_read_passes_through(self, memory):
        body = gzip.compress(json.dumps(ask(600)).encode())
        app = ScriptedApp(*completion(600, model="plain"))
        guard = memory.guard(app, max_body_bytes="10", unknown_model="0/1000", limits="key=9/month")
        played = await call(guard, [body[:15], body[15:]], headers=packed_with("gzip"))
        assert (played.status, app.bodies) == (200, [body])


async def test_an_answer_in_pieces_stays_one(memory):
    """A rewritten body is one message, whatever it came as."""
    app = ScriptedApp(*STREAM[:-1], chunk(is_last=True))
    sent = b'{"model": "plain", "stream": true, "max_tokens": 600}'
    await call(memory.guard(app), [sent[:9], sent[9:]], headers=bearer())
    assert json.loads(app.bodies[0]) == json.loads(sent) | {"stream_options": {"include_usage": True}}
