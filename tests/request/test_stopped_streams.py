"""BUDGET_ON_LIMIT=stop: a stream that outgrows its hold past a limit ends there, in its API's own way.

A hundred tokens are held, a tenth of a cent each, of a limit of twelve cents: so the 101st asks for more than there is.
"""

import asyncio
import json
import zlib
from contextlib import suppress
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from budget_middleware.core.statuses import Op
from budget_middleware.ledger import Hold
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.reservation_explanation import explain_reservation
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call, chunk, event, start
from tests.apis.cuts import as_array, as_events, as_frames, as_lines
from tests.ledger.holds.test_leases import beaten
from tests.request.bench import Bench
from tests.request.wire import DONE, LAST, STREAM_START, ask, bearer, delta, usage_event

STOPS = {
    "on_limit": "stop",
    "limits": "key=0.12/month",
    "estimate": "learned",
    "estimate_spread": "0",
    "default_output_tokens": "100",
}
MESSAGE = "The budget of key per month is used up by this answer, which ends here."
CODED = f"{MESSAGE} (budget_exhausted)"
OPENAI_ERROR = {"message": MESSAGE, "type": "insufficient_quota", "param": None, "code": "budget_exhausted"}
GOOGLE_ERROR = {"error": {"code": 429, "message": CODED, "status": "RESOURCE_EXHAUSTED"}}
ANTHROPIC_ERROR = {"type": "error", "error": {"type": "rate_limit_error", "message": CODED}}
RESPONSES_ERROR = {
    "type": "error",
    "code": "budget_exhausted",
    "message": MESSAGE,
    "param": None,
    "error": OPENAI_ERROR,
}
STREAM_ASK = ask(1_000, stream=True, stream_options={"include_usage": True})
REST = (event(usage_event(150)), DONE, LAST)


def words(count: int):
    return [event(delta()) for _ in range(count)]


def frames_of(stream: bytes) -> list[bytes]:
    """The payloads of frames whose checksums are right."""
    payloads = []
    while stream:
        total, header_bytes = int.from_bytes(stream[:4]), int.from_bytes(stream[4:8])
        frame, stream = stream[:total], stream[total:]
        assert zlib.crc32(frame[:8]) == int.from_bytes(frame[8:12])
        assert zlib.crc32(frame[:-4]) == int.from_bytes(frame[-4:])
        payloads.append(frame[12 + header_bytes : -4])
    return payloads


GEMINI = {"candidates": [{"content": {"role": "model", "parts": [{"text": "word"}]}}]}
CHAT = "/v1/chat/completions"
OLLAMA = {"model": "plain", "message": {"role": "assistant", "content": "word"}, "done": False}
FRAME = {"contentBlockIndex": 0, "delta": {"text": "word"}}
RESPONSE = {"type": "response.output_text.delta", "delta": "word"}
MESSAGES = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word"}}
EVENTS = "text/event-stream"
DIALECTS = {
    "openai-chat": (CHAT, b"", EVENTS, as_events(delta()), as_events({"error": OPENAI_ERROR})),
    "openai-completions": (
        *("/v1/completions", b"", EVENTS),
        *(as_events({"choices": [{"index": 0, "text": "word"}]}), as_events({"error": OPENAI_ERROR})),
    ),
    "openai-responses": ("/v1/responses", b"", EVENTS, as_events(RESPONSE), as_events(RESPONSES_ERROR)),
    "anthropic-messages": ("/v1/messages", b"", EVENTS, as_events(MESSAGES), as_events(ANTHROPIC_ERROR)),
    "gemini": (
        *("/v1beta/models/plain:streamGenerateContent", b"alt=sse", EVENTS),
        *(as_events(GEMINI), as_events(GOOGLE_ERROR)),
    ),
    "ollama": ("/api/chat", b"", "application/x-ndjson", as_lines(OLLAMA), as_lines({"error": CODED})),
}
MAXIMA = {"max_tokens": 1_000, "max_output_tokens": 1_000, "generationConfig": {"maxOutputTokens": 1_000}}
ASKED = {"stream": True, **MAXIMA}


async def played(bench: Bench, path: str, query: bytes, content_type: str, *pieces: bytes, **settings: str):
    app = ScriptedApp(start(content_type=content_type), *map(chunk, pieces), LAST)
    body = {"model": "plain", "messages": [], "prompt": "", "input": "", "contents": [], **ASKED}
    scope = {"query_string": query}
    guard = bench.guard(app, **{**STOPS, **settings})
    return await call(guard, body, path=path, headers=bearer(), scope=scope)


class TestEachDialect:
    @pytest.mark.parametrize("name", DIALECTS)
    async def test_ends_with_its_own_error(self, memory: Bench, name: str):
        path, query, content_type, word, error = DIALECTS[name]
        answer = await played(memory, path, query, content_type, *[word] * 150)
        assert answer.status == 200
        assert answer.is_complete
        assert answer.raised is None
        assert answer.body == word * 101 + error
        assert await memory.figures() == ("0.101", "0.00")

    async def test_geminis_array_ends_as_an_array(self, memory: Bench):
        array = as_array(*[GEMINI] * 150)
        pieces = [array[at : at + 7] for at in range(0, len(array), 7)]
        path = "/v1beta/models/plain:streamGenerateContent"
        answer = await played(memory, path, b"", "application/json", *pieces)
        assert answer.json() == [GEMINI] * 101 + [GOOGLE_ERROR]
        assert answer.is_complete
        assert await memory.figures() == ("0.101", "0.00")

    async def test_bedrocks_frames_end_with_an_exception(self, memory: Bench):
        frame = as_frames(FRAME)
        path = "/model/plain/converse-stream"
        answer = await played(memory, path, b"", "application/vnd.amazon.eventstream", *[frame] * 150)
        *before, last = frames_of(answer.body)
        assert [json.loads(payload) for payload in before] == [FRAME] * 101
        assert json.loads(last) == {"message": CODED}
        assert b":message-type\x07\x00\x09exception" in answer.body
        assert b":exception-type\x07\x00\x13throttlingException" in answer.body
        assert await memory.figures() == ("0.101", "0.00")


@pytest.mark.parametrize("size", [1, 7, 1_000])
async def test_an_error_follows_a_whole_event_however_the_stream_is_cut(memory: Bench, size: int):
    word = as_events(delta())
    stream = word * 150
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    answer = await played(memory, CHAT, b"", EVENTS, *pieces)
    whole, _, error = answer.body.rpartition(b'data: {"error"')
    n_words = len(whole) // len(word)
    assert whole == word * n_words
    assert json.loads(b'{"error"' + error) == {"error": OPENAI_ERROR}
    # Past the limit's hundred by what came in the chunk that crossed, and no more.
    assert 101 <= n_words <= 101 + size // len(word)
    assert await memory.figures() == (f"0.{n_words}", "0.00")


async def test_a_client_that_asked_for_its_usage_is_stopped_alike(bench: Bench):
    guard = bench.guard(ScriptedApp(STREAM_START, *words(150), *REST), **STOPS)
    answer = await call(guard, STREAM_ASK, headers=bearer())
    assert answer.body.endswith(as_events({"error": OPENAI_ERROR}))
    assert await bench.figures() == ("0.101", "0.00")
    assert await bench.ops() == [Op.RESERVE, Op.GROW, Op.FINALIZE]
    context = OperatorContext(guard._settings, bench.reader, guard.ledger)
    story = await explain_reservation(context, answer.headers["x-budget-reservation-id"])
    assert story is not None
    assert [change.reason for change in story.changes][1:] == [
        "outgrown: 101 tokens shown, holds 200",
        "estimated_partial, stopped at a limit",
    ]


async def test_where_there_is_room_the_stream_goes_on(bench: Bench):
    guard = bench.guard(ScriptedApp(STREAM_START, *words(150), *REST), **{**STOPS, "limits": "key=0.20/month"})
    answer = await call(guard, STREAM_ASK, headers=bearer())
    assert b"error" not in answer.body
    assert answer.is_complete
    assert await bench.figures() == ("0.15", "0.00")


async def test_what_others_hold_counts(bench: Bench):
    """Two share a limit of thirty cents: each holds ten, so that the second to double finds too little left."""
    first, second = Gate(), Gate()

    def app_of(gate: Gate) -> ScriptedApp:
        return ScriptedApp(STREAM_START, *words(100), gate, *words(50), *REST)

    settings = {**STOPS, "limits": "key=0.30/month"}
    guards = [bench.guard(app_of(gate), **settings) for gate in (first, second)]
    calls = [asyncio.create_task(call(guard, STREAM_ASK, headers=bearer())) for guard in guards]
    await first.reached()
    await second.reached()
    holds_on = Gate()

    async def wait_at_its_ending() -> None:
        await holds_on.wait()

    bench.store_of(guards[0]).before["finalize"] = wait_at_its_ending
    first.open()
    await holds_on.reached()
    second.open()
    assert b"budget_exhausted" in (await calls[1]).body
    holds_on.open()
    assert b"budget_exhausted" not in (await calls[0]).body
    assert await bench.figures() == ("0.251", "0.00")


@pytest.mark.parametrize("settings", [{"on_limit": "pass"}, {"mode": "shadow"}, {"limits": "global=9/month"}])
async def test_nothing_is_stopped_where_nothing_is_to_be(memory: Bench, settings: dict[str, str]):
    guard = memory.guard(ScriptedApp(STREAM_START, *words(150), *REST), **{**STOPS, **settings})
    answer = await call(guard, STREAM_ASK, headers=bearer())
    assert b"error" not in answer.body
    assert answer.is_complete


async def test_a_store_that_is_away_stops_nothing(memory: Bench):
    guard = memory.guard(ScriptedApp(STREAM_START, *words(150), *REST), **STOPS)

    async def away() -> None:
        raise StoreUnavailable("away")

    memory.store_of(guard).before["grow"] = away
    answer = await call(guard, STREAM_ASK, headers=bearer())
    assert b"error" not in answer.body
    assert await memory.figures() == ("0.15", "0.00")


async def test_a_store_that_is_silent_delays_the_stream_by_its_time_out(memory: Bench):
    guard = memory.guard(ScriptedApp(STREAM_START, *words(150), *REST), **STOPS, store_timeout_s="0.05")
    memory.store_of(guard).before["grow"] = Gate().wait
    answer = await call(guard, STREAM_ASK, headers=bearer())
    assert b"error" not in answer.body
    assert answer.is_complete


async def test_the_chunk_that_crosses_waits_for_the_store(memory: Bench):
    guard = memory.guard(ScriptedApp(STREAM_START, *words(150), *REST), **STOPS)
    gate = Gate()
    memory.store_of(guard).before["grow"] = gate.wait
    request = PlayedRequest(STREAM_ASK, headers=bearer())
    task = asyncio.create_task(request.run(guard))
    await gate.reached()
    assert len(request.messages) == 1 + 100
    gate.open()
    await task
    assert request.body.endswith(as_events({"error": OPENAI_ERROR}))


async def test_what_age_has_grown_is_asked_for_again_by_what_is_shown(memory: Bench):
    """A heartbeat passes the limit for an answer that shows nothing: it stops where it shows more than was admitted."""
    writes = Gate()
    guard = memory.guard(ScriptedApp(STREAM_START, writes, *words(150), *REST), **STOPS)
    task = asyncio.create_task(call(guard, STREAM_ASK, headers=bearer()))
    await writes.reached()
    hold: Hold
    (hold,) = guard.ledger._leases._live.current().holds.values()
    assert hold.growth is not None
    hold.growth._since_s -= 5
    await beaten(guard.ledger)
    assert hold.held.usd == 400_000_000
    writes.open()
    assert (await task).body.endswith(as_events({"error": OPENAI_ERROR}))
    assert await memory.figures() == ("0.101", "0.00")


@pytest.mark.parametrize("headers", [{"content_length": "99999"}, {"content_encoding": "gzip"}])
async def test_a_stream_that_an_error_would_spoil_goes_on(memory: Bench, headers: dict[str, Any]):
    packer = zlib.compressobj(wbits=31)
    packed = "content_encoding" in headers
    pieces = [as_events(delta())] * 150
    if packed:
        pieces = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    app = ScriptedApp(start(content_type=EVENTS, **headers), *map(chunk, pieces), LAST)
    answer = await call(memory.guard(app, **STOPS), STREAM_ASK, headers=bearer())
    assert answer.body == b"".join(pieces)
    assert await memory.figures() == ("0.15", "0.00")


async def test_a_json_answer_is_not_bounded(memory: Bench):
    body = json.dumps({"choices": [{"message": {"content": "x" * 600}}]}).encode()
    guard = memory.guard(ScriptedApp(start(), chunk(body[:500]), chunk(body[500:]), LAST), **STOPS)
    answer = await call(guard, ask(1_000), headers=bearer())
    assert answer.body == body
    assert await memory.figures() == ("0.15", "0.00")


@pytest.mark.parametrize(
    ("policy", "spent"), [("partial", "0.101"), ("full", "0.10"), ("release", "0.00"), ("drain", "0.101")]
)
async def test_it_is_booked_by_the_abort_rule(memory: Bench, policy: str, spent: str):
    guard = memory.guard(ScriptedApp(STREAM_START, *words(150), *REST), **STOPS, on_abort=policy)
    answer = await call(guard, STREAM_ASK, headers=bearer())
    assert answer.body.endswith(as_events({"error": OPENAI_ERROR}))
    assert await memory.figures() == (spent, "0.00")


async def test_the_app_is_told_as_if_the_client_had_gone(memory: Bench):
    ended = asyncio.Event()

    async def endless():
        try:
            while True:
                yield as_events(delta())
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def app(scope, receive, send):
        await StreamingResponse(endless(), media_type="text/event-stream")(scope, receive, send)

    answer = await call(memory.guard(app, **STOPS), STREAM_ASK, headers=bearer())
    assert answer.raised is None
    assert answer.body.endswith(as_events({"error": OPENAI_ERROR}))
    async with asyncio.timeout(10):
        await ended.wait()


async def test_an_app_that_fails_of_itself_afterwards_is_heard(memory: Bench):
    async def app(scope, receive, send):
        with suppress(OSError):
            await ScriptedApp(STREAM_START, *words(150), LAST)(scope, receive, send)
        raise ValueError("of its own")

    answer = await call(memory.guard(app, **STOPS), STREAM_ASK, headers=bearer())
    assert isinstance(answer.raised, ValueError)


async def test_a_stream_with_trailers_ends_with_them(memory: Bench):
    begun = {**STREAM_START, "trailers": True}
    answer = await call(memory.guard(ScriptedApp(begun, *words(150), *REST), **STOPS), STREAM_ASK, headers=bearer())
    assert answer.is_complete
    assert answer.body.endswith(as_events({"error": OPENAI_ERROR}))
