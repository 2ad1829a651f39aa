"""When the ending begins, what waits for it, and what no longer matters then."""

import asyncio

import pytest
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Message

from budget_middleware.core.statuses import Op
from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call, chunk, event, json_answer, start
from tests.request.wire import DONE, LAST, STREAM_START, ask, bearer, completion, delta, stream, usage, usage_event

STREAM_ASK = ask(600, stream=True, stream_options={"include_usage": True})


@pytest.fixture
def held_ending(memory):
    """A middleware whose store keeps each finalize waiting at a gate."""

    def make(app, **settings):
        gate = Gate()
        guard = memory.guard(app, **settings)
        memory.store_of(guard).before["finalize"] = gate.wait
        return guard, gate

    return make


class TestWhatWaits:
    async def test_the_message_with_the_terminal_event_waits_and_no_earlier_one(self, memory, held_ending):
        guard, store = held_ending(ScriptedApp(*stream(600)))
        played = PlayedRequest(STREAM_ASK, headers=bearer())
        task = asyncio.create_task(played.run(guard))
        await store.reached()
        assert b'"usage"' in played.body
        assert b"[DONE]" not in played.body
        store.open()
        await task
        assert played.body.endswith(b"data: [DONE]\n\n")
        assert played.is_complete

    async def test_the_only_message_waits_and_so_does_its_start(self, memory, held_ending):
        guard, store = held_ending(ScriptedApp(*completion(600)))
        played = PlayedRequest(ask(600), headers=bearer())
        task = asyncio.create_task(played.run(guard))
        await store.reached()
        assert played.messages == []
        store.open()
        await task
        assert played.headers["x-budget-cost-usd"] == "0.60"
        # It is what is left after this request was settled.
        assert played.headers["x-budget-remaining-usd"] == "0.40"

    async def test_the_last_message_of_several_waits(self, memory, held_ending):
        begin, end = completion(600)
        half = len(end["body"]) // 2
        parts = [chunk(end["body"][:half]), chunk(end["body"][half:]), LAST]
        guard, store = held_ending(ScriptedApp(begin, *parts))
        played = PlayedRequest(ask(600), headers=bearer())
        task = asyncio.create_task(played.run(guard))
        await store.reached()
        assert [message["type"] for message in played.messages] == ["http.response.start", *["http.response.body"] * 2]
        assert not played.is_complete
        store.open()
        await task
        assert "x-budget-cost-usd" not in played.headers
        assert await memory.figures() == ("0.60", "0.00")

    async def test_at_most_the_store_time_out(self, memory, held_ending):
        """The client has its answer while the store still says nothing; the ending goes on."""
        guard, store = held_ending(ScriptedApp(*stream(600)), store_timeout_s="0.05")
        played = await call(guard, STREAM_ASK, headers=bearer())
        assert played.is_complete
        store.open()
        assert await memory.figures() == ("0.60", "0.00")

    async def test_what_waits_for_it_waits_once(self, memory, monkeypatch):
        """A store that is away delays the terminal event, and not the last message once more."""
        guard = memory.guard(ScriptedApp(*stream(600)))
        waits = []

        async def end(hold, _, **__):
            waits.append(hold)
            guard.ledger._leases.drop(hold)

        monkeypatch.setattr(guard.ledger, "end", end)
        played = await call(guard, STREAM_ASK, headers=bearer())
        assert played.is_complete
        assert len(waits) == 1

    async def test_an_exception_reaches_the_server_after_the_ending(self, memory, held_ending):
        guard, store = held_ending(ScriptedApp(STREAM_START, event(delta()), RuntimeError("broken")))
        task = asyncio.create_task(call(guard, STREAM_ASK, headers=bearer()))
        await store.reached()
        assert not task.done()
        store.open()
        assert isinstance((await task).raised, RuntimeError)


class TestWhatComesLater:
    async def test_a_background_task_that_runs_and_raises(self, memory):
        gate = Gate()

        async def work():
            await gate.wait()
            raise RuntimeError("background")

        answer = {"choices": [], "usage": usage(600)}
        guard = memory.guard(JSONResponse(answer, background=BackgroundTask(work)))
        played = PlayedRequest(ask(600), headers=bearer())
        task = asyncio.create_task(played.run(guard))
        await gate.reached()
        assert played.is_complete
        (view,) = await memory.reader.counters()
        assert (view.balance.spent, view.balance.reserved) == (600_000_000, 0)
        gate.open()
        await task
        assert isinstance(played.raised, RuntimeError)
        assert await memory.ops() == [Op.RESERVE, Op.FINALIZE]

    @pytest.mark.parametrize("late", [RuntimeError("late"), asyncio.CancelledError()], ids=repr)
    async def test_what_breaks_after_the_terminal_event(self, bench, late):
        guard = bench.guard(ScriptedApp(*stream(100)[:-1], late), on_abort="full")
        await call(guard, STREAM_ASK, headers=bearer())
        assert await bench.figures() == ("0.10", "0.00")
        assert await bench.ops() == [Op.RESERVE, Op.FINALIZE]

    async def test_a_second_terminal_event_and_a_second_usage(self, bench):
        script = [*stream(100)[:-1], event(usage_event(900)), DONE, LAST]
        await call(bench.guard(ScriptedApp(*script)), STREAM_ASK, headers=bearer())
        assert await bench.figures() == ("0.10", "0.00")

    async def test_cost_is_that_of_the_last_usage_before_the_end(self, bench):
        script = [STREAM_START, event(delta(usage=usage(1))), event(delta(usage=usage(100))), DONE, LAST]
        await call(bench.guard(ScriptedApp(*script)), STREAM_ASK, headers=bearer())
        assert await bench.figures() == ("0.10", "0.00")

    async def test_starlettes_own_streams_and_middleware(self, bench):
        async def events():
            for message in stream(100)[1:-1]:
                yield message["body"]

        async def forward(request, call_next):
            return await call_next(request)

        app = StreamingResponse(events(), media_type="text/event-stream")
        guard = bench.guard(BaseHTTPMiddleware(app, forward))
        played = await call(BaseHTTPMiddleware(guard, forward), STREAM_ASK, headers=bearer())
        assert (played.status, played.is_complete) == (200, True)
        assert await bench.figures() == ("0.10", "0.00")


class TestMessageTypes:
    async def test_trailers_come_last(self, memory, held_ending):
        begin, body = completion(600)
        trailer: Message = {"type": "http.response.trailers", "headers": []}
        trailers = [{**trailer, "more_trailers": True}, trailer]
        guard, store = held_ending(ScriptedApp({**begin, "trailers": True}, body, *trailers))
        played = PlayedRequest(ask(600), headers=bearer())
        task = asyncio.create_task(played.run(guard))
        await store.reached()
        assert played.messages[-1] == trailers[0]
        store.open()
        await task
        assert played.is_complete
        assert await memory.figures() == ("0.60", "0.00")

    @pytest.mark.parametrize(("status", "spent"), [(200, "0.60"), (404, "0.00")])
    async def test_a_file_is_sent_by_the_server_itself(self, bench, status, spent):
        path = {"type": "http.response.pathsend", "path": "/file"}
        played = await call(bench.guard(ScriptedApp(start(status), path)), ask(600), headers=bearer())
        assert played.messages[1] == path
        assert await bench.figures() == (spent, "0.00")

    async def test_zero_copy(self, bench):
        part: Message = {"type": "http.response.zerocopysend", "file": 3, "count": 9}
        parts = [{**part, "more_body": True}, part]
        played = await call(bench.guard(ScriptedApp(start(), *parts)), ask(600), headers=bearer())
        assert played.messages[1:] == parts
        assert await bench.figures() == ("0.60", "0.00")

    async def test_other_extensions_pass_through_at_once(self, memory):
        hint = {"type": "http.response.push", "path": "/style.css", "headers": []}

        async def push(scope, receive, send):
            await send(hint)
            for message in completion(1):
                await send(message)

        seen = []

        async def keep(message):
            seen.append(message["type"])

        await memory.guard(push)(
            PlayedRequest(ask(600), headers=bearer()).scope, PlayedRequest(ask(600))._receive, keep
        )
        assert seen == ["http.response.push", "http.response.start", "http.response.body"]

    async def test_a_start_without_a_body_is_sent_all_the_same(self, memory):
        played = await call(memory.guard(ScriptedApp(start(201, x_app="1"))), ask(600), headers=bearer())
        assert (played.status, played.headers["x-app"], played.is_complete) == (201, "1", False)

    async def test_nothing_at_all(self, bench):
        played = await call(bench.guard(ScriptedApp()), ask(600), headers=bearer())
        assert played.messages == []
        assert await bench.figures() == ("0.00", "0.00")


class TestCosts:
    @pytest.mark.parametrize(
        ("reported", "spent"),
        [
            ("0.25", "0.25"),
            ("2.5e-05", "0.000025"),
            (" 0.25 ", "0.25"),
            *[(text, "0.60") for text in ("", "0", "0.0", "-1", "nan", "inf", "None", "1_0", "9" * 30, "é")],
        ],
    )
    async def test_the_gateways_own_cost_wins_if_it_is_one(self, bench, reported, spent):
        begin, body = completion(600)
        begin["headers"].append((b"x-litellm-response-cost", reported.encode()))
        await call(bench.guard(ScriptedApp(begin, body)), ask(600), headers=bearer())
        assert await bench.figures() == (spent, "0.00")

    async def test_on_an_unpriced_model_a_cost_of_0_is_a_cost(self, bench):
        answer = json_answer({"choices": [], "usage": usage(600)}, x_litellm_response_cost="0.25")
        guard = bench.guard(ScriptedApp(*answer), limits="")
        await call(guard, ask(600, model="nobody-knows"), headers=bearer())
        assert await bench.figures() == ("0.25", "0.00")

    async def test_of_a_stream_the_header_is_not_believed_and_its_own_cost_is(self, bench):
        begin = start(content_type="Text/Event-Stream", x_litellm_response_cost="0.9")
        told = event({"choices": [], "usage": usage(600, cost=0.25)})
        await call(bench.guard(ScriptedApp(begin, told, DONE, LAST)), STREAM_ASK, headers=bearer())
        assert await bench.figures() == ("0.25", "0.00")

    async def test_the_model_that_answered_is_billed(self, bench):
        guard = bench.guard(ScriptedApp(*completion(1000, model="talk", usage=usage(1000, 10))))
        await call(guard, ask(600), headers=bearer())
        assert await bench.figures() == ("1.21", "0.00")
