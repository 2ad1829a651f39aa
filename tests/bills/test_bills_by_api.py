"""What the other APIs' calls are held and booked at, to the nano-dollar, at message level."""

import json

import pytest

from budget_middleware.apis import APIS
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.testing import ScriptedApp, call, chunk, client_gone, event, event_stream, json_answer, start
from tests.apis.cuts import as_array, as_frames, as_lines
from tests.request.wire import KEY, LAST, STREAM_START, ask, bearer, completion, usage

PRICES = """
[models.plain]
input = 0
output = 1000
[models.claude]
input = 1000
cached_input = 100
cache_write = 2000
cache_write_1h = 4000
allow_high_prices = true
output = 1200
[models.drawn]
image = 0.04
[models.heard]
audio_hour = 36
[models.spoken]
characters = 1000
[models.searched]
rerank_search = 0.002
[models.windowed]
input = 10
output = 10
max_output_tokens = 2000
context_window = 40000
"""
TIERED = {
    "tiered": {
        "input_cost_per_token": 0,
        "output_cost_per_token": 1e-3,
        "output_cost_per_token_flex": 5e-4,
        "output_cost_per_token_priority": 2e-3,
    }
}
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
MULTIPART = "multipart/form-data; boundary=b"


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


async def booked(memory, app, body, path, *, headers=None, **settings):
    """The answer, what was held by its header, and what the key has spent and reserved."""
    guard = memory.guard(app, **settings)
    played = await call(guard, body, path=path, headers={**bearer(), **(headers or {})})
    return played, played.headers.get("x-budget-estimate-usd"), await memory.figures(KEY)


CLAUDE_USAGE = {"input_tokens": 10, "cache_read_input_tokens": 400, "output_tokens": 1}
CLAUDE_BEGINS = [
    event({"type": "message_start", "message": {"usage": CLAUDE_USAGE}}),
    *[event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "word"}})] * 25,
]
CLAUDE_ASK = {
    "model": "claude",
    "stream": True,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "x" * 385}],
}


class TestAnthropic:
    async def test_a_stream_books_what_its_start_and_end_tell(self, memory):
        end = [event({"type": "message_delta", "usage": {"output_tokens": 50}}), event({"type": "message_stop"})]
        app = ScriptedApp(STREAM_START, *CLAUDE_BEGINS, *end, LAST)
        _, held, figures = await booked(memory, app, CLAUDE_ASK, MESSAGES)
        assert held == "0.22"  # A hundred tokens at .001, and at most a hundred at .0012.
        assert figures == ("0.11", "0.00")  # 10 at .001, 400 at .0001, 50 at .0012.

    async def test_f24_a_stream_that_is_left_books_the_input_as_told_and_the_output_as_seen(self, memory):
        app = ScriptedApp(STREAM_START, *CLAUDE_BEGINS, client_gone)
        guard = memory.guard(app)
        await call(guard, CLAUDE_ASK, path=MESSAGES, headers=bearer(), leaves_after=27)
        assert await memory.figures(KEY) == ("0.08", "0.00")  # 25 at .0012.

    async def test_a_compaction_and_another_models_advice_are_booked_beside_the_usage(self, memory):
        iterations = [
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
            {"type": "compaction", "input_tokens": 20, "output_tokens": 10},
            {"type": "advisor_message", "model": "plain", "input_tokens": 1_000, "output_tokens": 7},
            {"type": "advisor_message", "model": "nobodys", "input_tokens": 1, "output_tokens": 0},
        ]
        told = {"input_tokens": 10, "output_tokens": 5, "iterations": iterations}
        app = ScriptedApp(*json_answer({"type": "message", "model": "claude", "usage": told}))
        _, _, figures = await booked(memory, app, {**CLAUDE_ASK, "stream": False}, MESSAGES)
        # 10 + 20 + 1 at .001, 5 + 10 at .0012; the advice at .001 a token of output, an unpriced one as the answer.
        assert figures == ("0.056", "0.00")

    async def test_at_worst_every_byte_is_written_to_a_cache(self, memory):
        body = json.dumps({**CLAUDE_ASK, "stream": False}).encode()
        app = ScriptedApp(*json_answer({"type": "message", "usage": {"input_tokens": 1, "output_tokens": 0}}))
        settings = {"estimate": "worst", "limits": "key=9/month"}
        _, held, figures = await booked(memory, app, body, MESSAGES, **settings)
        assert held == f"{len(body) * 0.002 + 0.12:.3f}"
        assert figures == ("0.001", "0.00")


RESPONSE_ASK = {"model": "plain", "input": "x", "max_output_tokens": 600}


class TestResponses:
    async def test_in_the_background_the_estimate_is_booked(self, memory):
        app = ScriptedApp(*json_answer({"status": "queued", "background": True, "output": [], "usage": None}))
        _, _, figures = await booked(memory, app, {**RESPONSE_ASK, "background": True}, RESPONSES)
        assert figures == ("0.60", "0.00")

    async def test_in_the_background_leaving_saves_nothing(self, memory):
        begun = {"type": "response.created", "response": {"background": True}}
        deltas = [event({"type": "response.output_text.delta", "delta": "word"})] * 3
        guard = memory.guard(ScriptedApp(STREAM_START, event(begun), *deltas, client_gone))
        await call(guard, RESPONSE_ASK, path=RESPONSES, headers=bearer(), leaves_after=4)
        assert await memory.figures(KEY) == ("0.60", "0.00")

    async def test_f16_reading_a_response_again_costs_nothing(self, memory):
        guard = memory.guard(ScriptedApp(*json_answer({"usage": {"input_tokens": 0, "output_tokens": 600}})))
        await call(guard, RESPONSE_ASK, path=RESPONSES, headers=bearer())
        for _ in range(5):
            await call(guard, b"", path=f"{RESPONSES}/resp_1", method="GET", headers=bearer())
        assert await memory.figures(KEY) == ("0.60", "0.00")

    async def test_the_terminal_event_settles_the_bill(self, memory):
        done = {"type": "response.completed", "response": {"usage": {"input_tokens": 0, "output_tokens": 100}}}
        app = ScriptedApp(*event_stream({"type": "response.output_text.delta", "delta": "word"}, done))
        _, _, figures = await booked(memory, app, RESPONSE_ASK, RESPONSES)
        assert figures == ("0.10", "0.00")


class TestServiceTiers:
    @pytest.fixture
    def prices(self, price_file):
        return price_file(json.dumps(TIERED), suffix=".json")

    @pytest.mark.parametrize(
        ("asked", "answered", "held", "spent"),
        [
            (None, "default", "0.40", "0.10"),
            ("flex", "flex", "0.40", "0.05"),
            ("flex", None, "0.40", "0.10"),
            ("priority", "priority", "0.80", "0.20"),
            ("priority", "default", "0.80", "0.10"),
        ],
    )
    async def test_the_tier_that_the_answer_names_counts(self, memory, asked, answered, held, spent):
        app = ScriptedApp(*completion(100, service_tier=answered))
        body = ask(400, model="tiered", service_tier=asked)
        assert (await booked(memory, app, body, "/v1/chat/completions"))[1:] == (held, (spent, "0.00"))


class TestFallbacks:
    """A gateway may have asked another model in the end."""

    @pytest.mark.parametrize(
        ("answered", "spent"),
        [("claude", "0.13"), ("plain", "0.10"), ("CLAUDE", "0.13"), ("nobodys", "0.10"), (None, "0.10"), (7, "0.10")],
    )
    @pytest.mark.parametrize("streamed", [False, True])
    @pytest.mark.parametrize("unknown_model", ["reject", "free", "5/5"])
    async def test_the_model_that_answered_is_billed_if_it_has_a_price(
        self, memory, answered, spent, streamed, unknown_model
    ):
        told = {"model": answered, "usage": usage(100, 10)}
        script = event_stream({"choices": []}, {"choices": [], **told}, "[DONE]") if streamed else json_answer(told)
        body = {**ask(400), "model": "plain", "stream": streamed}
        _, held, figures = await booked(
            memory, ScriptedApp(*script), body, "/v1/chat/completions", unknown_model=unknown_model
        )
        assert (held, figures) == ("0.40", (spent, "0.00"))

    async def test_a_stream_that_is_left_too(self, memory):
        word = {"model": "claude", "choices": [{"index": 0, "delta": {"content": "word"}}]}
        guard = memory.guard(ScriptedApp(STREAM_START, *[event(word)] * 10, client_gone))
        body = {"model": "plain", "stream": True, "max_tokens": 400}
        await call(guard, body, path="/v1/chat/completions", headers=bearer(), leaves_after=10)
        # Ten words at its price; without messages the input is the 56 bytes of the body.
        assert await memory.figures(KEY) == ("0.026", "0.00")


class TestWorst:
    @pytest.mark.parametrize(
        ("fields", "tokens"),
        [
            ({}, 100 + 2_000),
            ({"max_tokens": 10}, 100 + 10),
            ({"max_tokens": 10**9, "n": 2}, 100 + 4_000),
            ({"max_tokens": 10, "messages": [{"type": "file", "file": {"file_id": "f"}}]}, 40_000 + 10),
        ],
    )
    async def test_a_byte_is_a_token_and_the_answer_as_long_as_can_be(self, memory, fields, tokens):
        raw = json.dumps({"model": "windowed", "messages": [], **fields}).ljust(100).encode()
        app = ScriptedApp(*completion(1))
        played, held, _ = await booked(memory, app, raw, "/v1/chat/completions", estimate="worst")
        assert played.status == 200
        assert held == usd_from_nanos(tokens * 10_000)


class TestUnits:
    @pytest.mark.parametrize(
        ("path", "body", "answer", "spent"),
        [
            ("/v1/images/generations", {"model": "drawn", "n": 3}, {"data": [{}, {}, {}]}, "0.12"),
            ("/v1/rerank", {"model": "searched", "documents": ["x"] * 101}, {"results": []}, "0.004"),
            (
                "/v1/rerank",
                {"model": "searched", "documents": ["x"]},
                {"results": [], "meta": {"billed_units": {"search_units": 7}}},
                "0.014",
            ),
        ],
    )
    async def test_what_is_billed_by_the_piece(self, memory, path, body, answer, spent):
        assert (await booked(memory, ScriptedApp(*json_answer(answer)), body, path))[2] == (spent, "0.00")

    async def test_speech_is_billed_by_its_characters(self, memory):
        app = ScriptedApp(start(content_type="audio/mpeg"), chunk(b"ID3"), LAST)
        body = {"model": "spoken", "input": "ä" * 50}
        assert (await booked(memory, app, body, "/v1/audio/speech"))[1:] == ("0.05", ("0.05", "0.00"))

    @pytest.mark.parametrize(
        ("answer", "spent"),
        [
            (json_answer({"text": "x", "duration": 5}), "0.05"),
            (json_answer({"text": "x", "usage": {"type": "duration", "seconds": 5}}), "0.05"),
            (json_answer({"text": "x"}), "0.10"),
            ((start(content_type="text/plain"), chunk(b"x", is_last=True)), "0.10"),
        ],
    )
    async def test_a_transcription_is_billed_by_its_length(self, memory, answer, spent):
        raw = (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nheard\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
            + bytes(80_000)
            + b"\r\n--b--\r\n"
        )
        headers = {"content-type": MULTIPART}
        path = "/v1/audio/transcriptions"
        _, held, figures = await booked(memory, ScriptedApp(*answer), raw, path, headers=headers)
        assert (held, figures) == ("0.10", (spent, "0.00"))


class TestFree:
    @pytest.mark.parametrize("path", ["/v1/moderations", "/v1/messages/count_tokens", "/v1/files"])
    async def test_free_routes_are_never_gated_and_told_apart_from_unknown_ones(self, memory, path, caplog):
        guard = memory.guard(ScriptedApp(*json_answer({})), limits="key=0/month")
        counted = []
        guard.ledger.telemetry.metrics.count_request = lambda **told: counted.append(told["status"])
        with caplog.at_level("INFO", "budget_middleware"):
            assert (await call(guard, {"model": "nobodys"}, path=path, headers=bearer())).status == 200
        assert counted == ["free"]
        assert "unmetered" not in caplog.text
        assert memory.store_of(guard).calls == []


# A usage that lies: the request is booked by what could be read of it.
LIES = [
    usage("100"),
    usage(-100),
    usage(float("nan")),
    usage(True),
    usage(1.5),
    {"completion_tokens": 5},
    {"prompt_tokens": {"a": 1}, "completion_tokens": [1]},
    "100",
]


class TestBadAnswers:
    @pytest.mark.parametrize("told", LIES, ids=str)
    async def test_a_usage_that_is_none_books_what_was_seen(self, memory, told):
        app = ScriptedApp(*json_answer({"choices": [{"message": {"content": "word" * 100}}], "usage": told}))
        *_, figures = await booked(memory, app, ask(600), "/v1/chat/completions")
        assert figures == ("0.10", "0.00")

    @pytest.mark.parametrize("body", [b'{"choices": [', b"", b"\xff\xfe", b"null", b"[" * 50_000, b'{"error": {}}'])
    async def test_what_is_no_answer_books_the_estimate(self, memory, body):
        app = ScriptedApp(start(), chunk(body, is_last=True))
        played, _, figures = await booked(memory, app, ask(600), "/v1/chat/completions")
        assert (played.status, played.body, figures) == (200, body, ("0.60", "0.00"))

    async def test_usage_whose_parts_exceed_the_whole_is_cut(self, memory):
        told = usage(100, completion_tokens_details={"reasoning_tokens": 10**9, "audio_tokens": 5})
        app = ScriptedApp(*json_answer({"choices": [], "usage": told}))
        assert (await booked(memory, app, ask(600), "/v1/chat/completions"))[2] == ("0.10", "0.00")

    async def test_a_stream_that_ends_within_an_event(self, memory):
        word = {"choices": [{"delta": {"content": "word"}}]}
        half = chunk(b'data: {"choices": [{"delta": {"content": "wo')
        app = ScriptedApp(STREAM_START, event(word), half, LAST)
        body = {**ask(600), "stream": True}
        assert (await booked(memory, app, body, "/v1/chat/completions"))[2] == ("0.001", "0.00")

    async def test_an_event_of_2_mb_passes_and_the_estimate_is_booked(self, memory):
        long = event({"choices": [{"delta": {"content": "x" * (2 << 20)}}]})
        app = ScriptedApp(STREAM_START, long, LAST)
        body = {**ask(600), "stream": True}
        played, _, figures = await booked(memory, app, body, "/v1/chat/completions", max_body_bytes="1000")
        assert len(played.body) > 2 << 20
        assert figures == ("0.60", "0.00")

    @pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/json", b'{"usage": {"prompt_tokens": 1e400}}'),
            ("text/event-stream", b"data: {\n\ndata: []\n\n"),
            ("application/x-ndjson", as_lines([], 1, {"done": 1})),
            ("application/json", as_array({"usageMetadata": 7})),
            ("application/vnd.amazon.eventstream", as_frames({"bytes": "?"})),
        ],
    )
    async def test_the_reservation_always_ends(self, memory, api, content_type, body):
        path = {"gemini": "/v1beta/models/plain:generateContent", "bedrock": "/model/plain/invoke"}.get(
            api.name, "/x/y"
        )
        app = ScriptedApp(start(content_type=content_type), chunk(body[:7]), chunk(body[7:], is_last=True))
        played, held, figures = await booked(
            memory,
            app,
            {"model": "plain"},
            path,
            limits="key=90/month",
            routes=f"/x/y={api.name}",
            realtime_direct="hold",
        )
        assert (played.status, played.body) == (200, body)
        assert held is not None
        assert figures[1] == "0.00"


async def test_a_model_name_of_100_kb_is_refused_in_one_short_line(memory):
    played, _, _ = await booked(memory, ScriptedApp(), ask(1, model="m" * 100_000), "/v1/chat/completions")
    assert played.status == 400
    assert len(played.body) < 1_000
