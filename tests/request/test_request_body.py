"""The app gets what the client sent, and the client what it asked for, whatever we had to read or to add."""

import codecs
import gc
import gzip
import json

import pytest

from budget_middleware.apis.protocol.base import Ask
from budget_middleware.testing import ScriptedApp, call, chunk, client_gone, event, event_stream, start
from tests.request.wire import LAST, STREAM_START, ask, bearer, completion, delta, usage_event

SPACED = b'{ "model" : "plain",\n"max_tokens":600, "messages":[] }\n'


def headers_of(app):
    return [(name, value) for name, value in app.scopes[-1]["headers"] if name != b"authorization"]


class TestReplay:
    @pytest.mark.parametrize("body", [SPACED, [SPACED[:7], b"", SPACED[7:], b""], [b"", SPACED]], ids=str)
    async def test_byte_for_byte(self, bench, body):
        app = ScriptedApp(*completion(600))
        played = await call(bench.guard(app), body, headers=bearer())
        assert (played.status, app.bodies) == (200, [SPACED])
        assert await bench.figures() == ("0.60", "0.00")

    async def test_nothing_of_it_is_kept_while_it_is_answered(self, memory):
        """A long conversation is thousands of objects, and its answer may take minutes."""
        kept: list[object] = []

        async def app(scope, receive, send):
            await receive()
            asks = [each for each in gc.get_objects() if type(each) is Ask]
            kept.extend(ask for ask in asks if "\u00fc of this test" in ask.texts)
            kept.extend(each for each in gc.get_objects() if type(each) is dict and each.get("mark") == "of this test")
            for message in completion(600):
                await send(message)

        messages = b'[{"content": "\\u00fc of this test"}]'
        body = b'{"mark": "of this test", "model": "plain", "max_tokens": 600, "messages": %s}' % messages
        played = await call(memory.guard(app), body, headers=bearer())
        assert played.status == 200
        assert kept == []

    async def test_after_the_body_the_app_hears_the_server_again(self, memory):
        app = ScriptedApp(client_gone)
        await call(memory.guard(app), SPACED, headers=bearer(), leaves_after=0)
        assert app.bodies == [SPACED]

    @pytest.mark.parametrize("max_body_bytes", ["7", "30"])
    async def test_a_body_beyond_the_bound_passes_through_unread(self, bench, max_body_bytes):
        app = ScriptedApp(*event_stream(usage_event(600, model="plain"), "[DONE]"))
        guard = bench.guard(app, max_body_bytes=max_body_bytes, unknown_model="0/100")
        parts = [SPACED[:20], SPACED[20:25], SPACED[25:]]
        played = await call(guard, parts, headers=bearer())
        assert (played.status, app.bodies) == (200, [SPACED])
        # The output of a request that nobody read: 1024 tokens at the price of unknown models.
        assert played.headers["x-budget-estimate-usd"] == "0.1024"
        assert await bench.figures() == ("0.60", "0.00")

    async def test_a_body_beyond_the_bound_is_no_way_around_a_limit(self, memory):
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app, max_body_bytes="7"), SPACED, headers=bearer())
        assert (played.status, app.bodies) == (400, [])
        assert "BUDGET_MAX_BODY_BYTES" in played.json()["error"]["message"]

    async def test_its_length_is_the_announced_one(self, memory):
        app = ScriptedApp(*completion(0))
        guard = memory.guard(app, max_body_bytes="7", unknown_model="1000/0", limits="key=9/month")
        length = (b"content-length", b"4000")
        headers = [(b"authorization", b"Bearer t"), length]
        played = await call(guard, [SPACED, b"x" * (4000 - len(SPACED))], headers=headers)
        # A token for each four bytes.
        assert played.headers["x-budget-estimate-usd"] == "1.00"

    @pytest.mark.parametrize("announced", [b"-1", b"9" * 30, b"1e9", b"", "٤".encode()])
    async def test_an_announced_length_that_is_none(self, memory, announced):
        guard = memory.guard(ScriptedApp(*completion(0)), max_body_bytes="7", unknown_model="1000/0")
        headers = [(b"authorization", b"Bearer t"), (b"content-length", announced)]
        played = await call(guard, [b"x" * 400, b""], headers=headers)
        assert played.headers["x-budget-estimate-usd"] == "0.10"

    async def test_a_client_that_leaves_before_it_has_sent_everything(self, memory):
        app = ScriptedApp(*completion(600))
        guard = memory.guard(app)
        messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

        async def receive():
            return next(messages)

        await guard((await call(ScriptedApp(LAST_START, LAST))).scope, receive, None)
        assert app.scopes == []
        assert memory.store_of(guard).calls == []


LAST_START = start(204)
TEXT = '{"model": "plain", "max_tokens": 600, "messages": []}'
LENIENT = {
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a BOM": TEXT.encode("utf-16-le"),
    "UTF-32": TEXT.encode("utf-32"),
    "BOM": codecs.BOM_UTF8 + TEXT.encode(),
    "NaN": TEXT.replace("[]", "[NaN, Infinity, -Infinity]").encode(),
    "1e400": TEXT.replace("[]", "[1e400]").encode(),
    "lone surrogates": TEXT.replace("[]", r'["\ud800"]').encode(),
}
NO_JSON = {"text": b"hello", "nothing": b"", "cut off": TEXT[:-1].encode(), "not UTF-8": b'{"model": "\xff"}'}


class TestWhatCannotBeRead:
    @pytest.mark.parametrize("body", LENIENT.values(), ids=LENIENT)
    async def test_what_a_lenient_gateway_reads_is_read(self, memory, body):
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app), body, headers=bearer())
        assert (played.status, app.bodies) == (200, [body])
        assert played.headers["x-budget-estimate-usd"] == "0.60"
        assert await memory.figures() == ("0.60", "0.00")

    @pytest.mark.parametrize("body", [*NO_JSON.values(), b"[]", b"null", b'"model"', b'{"model": 7}', b"{}"])
    async def test_without_a_model_there_is_no_price(self, memory, body):
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app), body, headers=bearer())
        assert (played.status, app.scopes) == (400, [])
        assert played.json()["error"]["code"] == "budget_unknown_model"

    @pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
    async def test_it_is_booked_by_its_answer(self, bench, body):
        app = ScriptedApp(*completion(600, model="plain"))
        played = await call(bench.guard(app, unknown_model="0/100"), body, headers=bearer())
        assert (played.status, app.bodies) == (200, [body])
        assert await bench.figures() == ("0.60", "0.00")

    @pytest.mark.parametrize("model", ["x" * 100_000, "\ud800", "a\nb", "plain\x00"], ids=ascii)
    async def test_odd_models(self, memory, model):
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app, limits="model=1/month"), ask(model=model), headers=bearer())
        assert (played.status, app.scopes) == (400, [])
        assert len(played.body) < 1000

    async def test_a_very_deep_body(self, memory):
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app, limits=""), b"[" * 100_000, headers=bearer())
        assert (played.status, app.bodies) == (200, [b"[" * 100_000])


STREAM = (
    STREAM_START,
    event(delta("hel", usage=None)),
    event(delta("lo", usage=None)),
    event(usage_event(600)),
    event("[DONE]"),
    LAST,
)
ASKED = b"".join(message.get("body", b"") for message in STREAM)
HIDDEN = ASKED.replace(STREAM[3]["body"], b"").replace(b',"usage":null', b"")


class TestUsageOfStreams:
    async def test_is_asked_for_and_kept_from_who_did_not_ask(self, bench):
        app = ScriptedApp(*STREAM)
        sent = b'{"model": "plain", "stream": true, "max_tokens": 600}'
        played = await call(bench.guard(app), sent, headers=bearer())
        assert json.loads(app.bodies[0]) == json.loads(sent) | {"stream_options": {"include_usage": True}}
        assert headers_of(app) == [(b"content-length", str(len(app.bodies[0])).encode())]
        assert played.body == HIDDEN
        assert await bench.figures() == ("0.60", "0.00")

    async def test_who_asked_gets_it_and_nothing_is_changed(self, bench):
        app = ScriptedApp(*STREAM)
        sent = ask(600, stream=True, stream_options={"include_usage": True})
        played = await call(bench.guard(app), sent, headers=bearer())
        assert app.bodies == [json.dumps(sent).encode()]
        assert played.body == ASKED
        assert [message["type"] for message in played.messages].count("http.response.body") == 5

    async def test_a_chunked_request_stays_one(self, memory):
        app = ScriptedApp(*STREAM)
        headers = [(b"authorization", b"Bearer t"), (b"transfer-encoding", b"chunked")]
        parts = [b'{"model": "plain", "stream": true, ', b'"max_tokens": 600}']
        await call(memory.guard(app), parts, headers=headers)
        assert b"include_usage" in app.bodies[0]
        assert headers_of(app) == [(b"transfer-encoding", b"chunked")]

    async def test_an_upstream_that_compresses(self, bench):
        packed = gzip.compress(ASKED)
        begin = start(content_type="text/event-stream", content_encoding="gzip", content_length=str(len(packed)))
        app = ScriptedApp(begin, chunk(packed[:40]), chunk(packed[40:]), LAST)
        played = await call(bench.guard(app), ask(600, stream=True), headers=bearer())
        assert played.body == HIDDEN
        assert played.headers.keys().isdisjoint({"content-encoding", "content-length"})
        assert await bench.figures() == ("0.60", "0.00")

    async def test_an_answer_that_is_no_stream(self, memory):
        app = ScriptedApp(*completion(600))
        played = await call(memory.guard(app), ask(600, stream=True), headers=bearer())
        assert played.json()["usage"]["completion_tokens"] == 600


class TestAcceptEncoding:
    """Encodings that cannot be read here are not asked for, and no other is."""

    @pytest.mark.parametrize(
        ("offered", "passed"),
        [
            ([b"gzip, deflate, br, zstd"], b"gzip, identity"),
            ([b"br;q=1.0, gzip;q=0.8, *;q=0.1"], b"gzip, identity"),
            ([b"GZIP"], b"gzip, identity"),
            ([b"x-gzip"], b"gzip, identity"),
            ([b"*"], b"gzip, identity"),
            ([b"br", b"gzip"], b"gzip, identity"),
            ([b"br, zstd"], b"identity"),
            ([b"gzip;q=0, br"], b"identity"),
            ([b"gzip; q=0.000, *"], b"identity"),
            ([b"*;q=0"], b"identity"),
            ([b"identity"], b"identity"),
            ([b""], b"identity"),
            ([b"br, identity;q=0"], b"identity"),
            ([b"gzip, identity;q=0"], b"gzip, identity"),
        ],
        ids=str,
    )
    async def test_is_cut(self, memory, offered, passed):
        app = ScriptedApp(*completion(600))
        headers = [(b"authorization", b"Bearer t"), *((b"Accept-Encoding", value) for value in offered)]
        await call(memory.guard(app), ask(600), headers=headers)
        assert [value for name, value in headers_of(app) if name == b"accept-encoding"] == [passed]

    async def test_is_not_invented(self, memory):
        app = ScriptedApp(*completion(600))
        await call(memory.guard(app), ask(600), headers=bearer())
        assert b"accept-encoding" not in dict(headers_of(app))

    async def test_of_what_is_not_metered_stays(self, memory):
        app = ScriptedApp(*completion(600))
        await call(memory.guard(app), method="GET", headers={"accept-encoding": "br"})
        assert dict(headers_of(app))[b"accept-encoding"] == b"br"
