"""Known ways of counting too much, at message level: each with the exact numbers of a correct system."""

import asyncio

import pytest

from budget_middleware.testing import (
    Gate,
    PlayedRequest,
    ScriptedApp,
    call,
    chunk,
    client_gone,
    event_stream,
    json_answer,
    start,
)
from tests.request.wire import KEY, LAST, STREAM_START, ask, bearer, completion, delta, stream, usage


async def test_f01_disconnect_leaks_the_reservation(bench):
    guard = bench.guard(ScriptedApp(STREAM_START, client_gone))
    for _ in range(50):
        await call(guard, ask(600, stream=True), headers=bearer(), leaves_after=1)
    assert await bench.figures() == ("0.00", "0.00")


async def test_f02_cancel_inside_reserve(bench):
    app = ScriptedApp(*completion(600))
    guard = bench.guard(app)
    reply = Gate()
    bench.store_of(guard).after["reserve"] = reply.wait
    task = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await reply.reached()
    task.cancel()
    await asyncio.wait([task])
    reply.open()
    assert task.cancelled()
    assert app.scopes == []
    assert await bench.figures() == ("0.00", "0.00")


async def test_f05_next_request_sees_the_last_ones_hold(bench):
    """At once, 200 times, and through another worker each time."""
    app = ScriptedApp(*completion(0))
    workers = [bench.guard(app), bench.guard(app)]
    for turn in range(200):
        played = await call(workers[turn % 2], ask(600), headers=bearer())
        assert played.status == 200, played.body
    assert await bench.figures() == ("0.00", "0.00")


async def test_f05_streams_are_settled_when_done_is_read(bench):
    """The client has the event that ends the stream, and the gateway is still busy with what comes after it."""
    after_done = Gate()
    app = ScriptedApp(*stream(0)[:-1], after_done, LAST)
    workers = [bench.guard(app), bench.guard(app)]
    running = []
    for turn in range(20):
        played = PlayedRequest(ask(600, stream=True), headers=bearer())
        running.append(asyncio.create_task(played.run(workers[turn % 2])))
        await after_done.reached()
        assert played.status == 200
        assert b"[DONE]" in played.body
    after_done.open()
    await asyncio.gather(*running)


async def test_f06_unknown_output_size_takes_all_headroom(bench):
    gate = Gate()
    guard = bench.guard(ScriptedApp(gate, *completion(1)), limits="key=2000/month")
    body = ask()
    del body["max_tokens"]
    calls = [asyncio.create_task(call(guard, body, headers=bearer())) for _ in range(2)]
    await gate.reached(2)
    # 1024 tokens each, which is the default.
    (view,) = await bench.reader.counters(KEY)
    assert view.balance.reserved == 2 * 1_024_000_000
    gate.open()
    assert [(await played).status for played in calls] == [200, 200]
    assert await bench.figures() == ("0.002", "0.00")


async def test_f07_held_is_not_spent(bench):
    gate = Gate()
    guard = bench.guard(ScriptedApp(gate, *completion(20)), limits="key=25/month")
    calls = [asyncio.create_task(call(guard, ask(5000), headers=bearer())) for _ in range(5)]
    await gate.reached(5)
    sixth = await call(guard, ask(5000), headers=bearer())
    assert sixth.status == 429
    assert sixth.headers["x-should-retry"] == "true"
    assert 1 <= int(sixth.headers["retry-after"]) <= 30
    error = sixth.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("rate_limit_error", "budget_held", None)
    assert "reserved $25.00, estimate $5.00" in error["message"]
    gate.open()
    assert [(await played).status for played in calls] == [200] * 5
    assert await bench.figures() == ("0.10", "0.00")
    assert (await call(guard, ask(5000), headers=bearer())).status == 200


async def test_a_spent_budget_is_not_worth_a_retry(bench):
    guard = bench.guard(ScriptedApp(*completion(600)))
    await call(guard, ask(600), headers=bearer())
    refused = await call(guard, ask(600), headers=bearer())
    assert refused.status == 429
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    message = refused.json()["error"].pop("message")
    assert message == (
        f"The budget of {KEY} for month 2026-11 cannot cover this request:"
        " limit $1.00, spent $0.60, reserved $0.00, estimate $0.60."
    )
    assert refused.json()["error"]["type"] == "insufficient_quota"
    assert refused.json()["error"]["code"] == "budget_exhausted"
    assert refused.headers["content-length"] == str(len(refused.body))


FINE = {"model": "fine", "max_tokens": 10, "messages": []}
NOT_READABLE = (start(content_type="audio/mpeg"), chunk(b"\xff\xfb"), LAST)
NO_CONTENT = (start(204), LAST)
ANSWERS = {
    "json": json_answer({"choices": [], "usage": usage(10)}),
    "sse": (STREAM_START, *stream(10)[1:]),
    "binary": NOT_READABLE,
    "no content": NO_CONTENT,
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_f12_a_route_that_never_settles(bench, kind):
    guard = bench.guard(ScriptedApp(*ANSWERS[kind]), limits="key=.30/month")
    for _ in range(100):
        played = await call(guard, FINE, headers=bearer())
        assert played.status in (200, 204)
    assert await bench.figures() == ("0.01", "0.00")


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_f12_a_clean_error_costs_nothing(bench, status):
    guard = bench.guard(ScriptedApp(*json_answer({"usage": usage(10)}, status=status)), limits="key=.30/month")
    for _ in range(20):
        assert (await call(guard, ask(300), headers=bearer())).status == status
    assert await bench.figures() == ("0.00", "0.00")


async def test_f12_what_is_not_metered_holds_nothing(bench):
    app = ScriptedApp(*completion(10))
    guard = bench.guard(app, limits="key=0/month")
    for method in ("GET", "HEAD", "OPTIONS"):
        assert (await call(guard, method=method, headers=bearer())).status == 200
    assert (await call(guard, {}, path="/v1/models", headers=bearer())).status == 200
    refused: list = []

    async def refuse(scope, receive, send):
        await send({"type": "websocket.close", "code": 1008})

    async def keep(message):
        refused.append(message)

    await bench.guard(refuse)({"type": "websocket", "path": "/v1/chat/completions"}, None, keep)
    assert refused == [{"type": "websocket.close", "code": 1008}]
    assert await bench.accounts() == set()


@pytest.mark.parametrize("limit", ["0.60", "0.30"])
async def test_f15_free_model_blocked(bench, limit):
    """S = B, and S > B."""
    guard = bench.guard(ScriptedApp(*completion(600)), limits="key=1/month")
    await call(guard, ask(600), headers=bearer())
    spent = bench.guard(ScriptedApp(*completion(600)), limits=f"key={limit}/month")
    assert (await call(spent, ask(1), headers=bearer())).status == 429
    assert (await call(spent, ask(600, model="gift"), headers=bearer())).status == 200
    assert await bench.figures() == ("0.60", "0.00")


async def test_f15_no_price_is_not_price_0(bench):
    app = ScriptedApp(*completion(600))
    guard = bench.guard(app)
    assert (await call(guard, ask(600, model="nobody-knows"), headers=bearer())).status == 400
    assert app.scopes == []


async def test_f16_reading_billed_as_creating(bench):
    guard = bench.guard(ScriptedApp(*completion(0, usage=usage(0, 2300))))
    assert (await call(guard, ask(model="cache"), headers=bearer())).status == 200
    for _ in range(5):
        path = "/v1/chat/completions/chatcmpl-1"
        assert (await call(guard, method="GET", path=path, headers=bearer())).status == 200
    assert await bench.figures() == ("0.0023", "0.00")


CACHED = usage(0, 1000, prompt_tokens_details={"cached_tokens": 900})


@pytest.mark.parametrize(("reported", "spent"), [(CACHED, "0.00019"), (usage(0, 0), "0.00")])
@pytest.mark.parametrize("streams", [False, True])
async def test_f17_token_classes_counted_twice(bench, reported, spent, streams):
    document = {"choices": [], "usage": reported}
    # A usage of zeros is one where nothing was generated.
    words = [delta()] if reported is CACHED else []
    answer = event_stream(*words, document, "[DONE]") if streams else json_answer(document)
    guard = bench.guard(ScriptedApp(*answer))
    body = ask(100, model="cache", stream=streams)
    assert (await call(guard, body, headers=bearer())).status == 200
    assert await bench.figures() == (spent, "0.00")
