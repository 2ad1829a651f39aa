"""Known ways of counting too little, at message level: each with the exact numbers of a correct system."""

import asyncio

import pytest

from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.statuses import Op, Status
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import (
    Gate,
    PlayedRequest,
    ScriptedApp,
    call,
    client_gone,
    event,
    event_stream,
    json_answer,
)
from tests.request.wire import (
    DONE,
    KEY,
    LAST,
    OTHER_KEY,
    OTHER_TOKEN,
    STREAM_START,
    TALK,
    TOKEN,
    ask,
    bearer,
    completion,
    delta,
    stream,
    usage,
    usage_event,
    words,
)
from tests.stores.verbs import HOUR_MS, START_MS, whole_journal


async def test_f18_counters_per_process(bench):
    app = ScriptedApp(*completion(600))
    workers = [bench.guard(app) for _ in range(3)]
    statuses = [(await call(workers[turn % 3], ask(600), headers=bearer())).status for turn in range(6)]
    assert statuses == [200, 429, 429, 429, 429, 429]
    assert await bench.figures() == ("0.60", "0.00")


async def test_f19_check_then_charge(bench):
    """They are also the first requests that these workers ever saw of this key."""
    upstream = Gate()
    app = ScriptedApp(upstream, *completion(600))
    workers = [bench.guard(app) for _ in range(2)]
    calls = [asyncio.create_task(call(workers[turn % 2], ask(600), headers=bearer())) for turn in range(8)]
    statuses = []
    for finished in asyncio.as_completed(calls):
        statuses.append((await finished).status)
        if len(statuses) == 7:
            upstream.open()
    assert statuses == [429] * 7 + [200]
    assert len(app.scopes) == 1
    assert await bench.figures() == ("0.60", "0.00")


async def test_f20_too_large_an_estimate(bench):
    app = ScriptedApp(*completion(990))
    guard = bench.guard(app)
    await call(guard, ask(990), headers=bearer())
    played = await call(guard, ask(5000), headers=bearer())
    assert (played.status, played.json()["error"]["code"]) == (429, "budget_exhausted")
    assert len(app.scopes) == 1
    assert await bench.figures() == ("0.99", "0.00")


async def test_f21_an_error_deletes_everyones_counter(bench):
    upstream = Gate()
    holder = bench.guard(ScriptedApp(upstream, *completion(500)))
    unlucky = bench.guard(ScriptedApp(*completion(0)), on_store_error="closed", store_timeout_s="0.05")

    async def fail():
        raise StoreUnavailable("away")

    bench.store_of(unlucky).before["reserve"] = fail
    first = asyncio.create_task(call(holder, ask(500), headers=bearer()))
    await upstream.reached()
    assert (await call(unlucky, ask(100), headers=bearer())).status == 503
    third = await call(holder, ask(900), headers=bearer())
    assert third.json()["error"]["code"] == "budget_held"
    upstream.open()
    await first
    assert await bench.figures() == ("0.50", "0.00")


async def test_f22_reservation_vanishes_in_flight(bench):
    upstream = Gate()
    guard = bench.guard(ScriptedApp(upstream, *completion(600)))
    slow = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await upstream.reached()
    bench.clock.advance(s=61)
    other = bench.guard(ScriptedApp(*completion(900)))
    assert (await call(other, ask(900), headers=bearer())).status == 200
    upstream.open()
    late = await slow
    assert late.headers["x-budget-remaining-usd"] == "-0.50"
    assert await bench.figures() == ("1.50", "0.00")
    journal = await whole_journal(bench.reader)
    assert [entry.op for entry in journal] == [Op.RESERVE, Op.EXPIRE, Op.RESERVE, Op.FINALIZE, Op.FINALIZE]
    assert journal[-1].status is Status.FINALIZED_LATE


HOUR_TURNS_MS = START_MS - START_MS % HOUR_MS + HOUR_MS


async def test_f23_window_turns_with_a_request_in_flight(bench):
    upstream = Gate()
    guard = bench.guard(ScriptedApp(upstream, *completion(100)), limits="key=1/hour")
    bench.clock.move_to(HOUR_TURNS_MS - 10_000)
    slow = asyncio.create_task(call(guard, ask(600), headers=bearer()))
    await upstream.reached()
    bench.clock.move_to(HOUR_TURNS_MS + 10_000)
    quick = bench.guard(ScriptedApp(*completion(800)), limits="key=1/hour")
    assert (await call(quick, ask(800), headers=bearer())).status == 200
    upstream.open()
    await slow
    assert await bench.figures(window="2026-11-18T14+00:00") == ("0.10", "0.00")
    assert await bench.figures(window="2026-11-18T15+00:00") == ("0.80", "0.00")


@pytest.mark.parametrize(("policy", "spent"), [("partial", "0.17"), ("drain", "0.65")])
async def test_f24_abort_before_the_end_and_pay_nothing(bench, policy, spent):
    async def work_on(receive, send):
        if policy == "partial":
            await client_gone(receive, send)
            return
        for message in (*words(400), event(usage_event(500, 50)), DONE, LAST):
            await send(message)

    guard = bench.guard(ScriptedApp(STREAM_START, *words(100), work_on), on_abort=policy)
    await call(guard, TALK, headers=bearer(), leaves_after=101)
    assert await bench.figures() == (spent, "0.00")


@pytest.mark.parametrize(("policy", "spent"), [("partial", "0.00"), ("input", "0.05")])
async def test_f24_before_the_first_byte(bench, policy, spent):
    guard = bench.guard(ScriptedApp(client_gone), on_abort=policy)
    await call(guard, TALK, headers=bearer(), leaves_after=0)
    assert await bench.figures() == (spent, "0.00")


async def test_f25_upstream_fails_after_work(bench):
    guard = bench.guard(ScriptedApp(STREAM_START, *words(100), ConnectionResetError("upstream")))
    await call(guard, TALK, headers=bearer())
    assert await bench.figures() == ("0.17", "0.00")
    (*_, entry) = await whole_journal(bench.reader)
    assert entry.reason == "estimated_partial"


USAGES = {
    "trailing chunk": (event_stream(delta(), delta(), usage_event(500, 50), "[DONE]"), "0.65", "usage"),
    "last content chunk": (event_stream(delta(), delta(usage=usage(500, 50)), "[DONE]"), "0.65", "usage"),
    "none at all": (event_stream(*[delta()] * 100, "[DONE]"), "0.17", "estimated_complete"),
    "none, and no terminal event": (event_stream(*[delta()] * 100), "0.17", "estimated_complete"),
    "none, and not readable": (event_stream("?"), "0.65", "estimated_complete"),
    "none, in JSON": (json_answer({"choices": [{"message": {"content": "x" * 400}}]}), "0.17", "estimated_complete"),
}


@pytest.mark.parametrize(("answer", "spent", "reason"), USAGES.values(), ids=USAGES)
async def test_f26_usage_missing_or_misplaced(bench, answer, spent, reason):
    guard = bench.guard(ScriptedApp(*answer))
    assert (await call(guard, TALK, headers=bearer())).status == 200
    assert await bench.figures() == (spent, "0.00")
    (*_, entry) = await whole_journal(bench.reader)
    assert entry.reason == reason


UNKNOWN = ask(600, model="nobody-knows")


async def test_f27_unknown_model_is_rejected(bench):
    app = ScriptedApp(*completion(600))
    played = await call(bench.guard(app), UNKNOWN, headers=bearer())
    assert (played.status, app.scopes) == (400, [])
    assert played.json()["error"]["code"] == "budget_unknown_model"
    assert "nobody-knows" in played.json()["error"]["message"]
    assert played.headers["x-should-retry"] == "false"
    assert await bench.accounts() == set()


async def test_f27_unknown_model_is_rejected_under_a_limit_that_an_operator_has_set(bench):
    """At once, also by a worker that has not heard of it."""
    app = ScriptedApp(*completion(600))
    await bench.reader.set_limit("key:*", period="month", limit_nanos=10**9)
    played = await call(bench.guard(app, limits=""), UNKNOWN, headers=bearer())
    assert (played.status, app.scopes) == (400, [])
    assert await bench.figures() == ("0.00", "0.00")


@pytest.mark.parametrize(
    ("settings", "spent"),
    [
        ({"limits": "team=1/month"}, "0.00"),
        ({"unknown_model": "free"}, "0.00"),
        ({"unknown_model": "0/1000"}, "0.60"),
    ],
    ids=str,
)
async def test_f27_unknown_model_is_served(bench, settings, spent):
    guard = bench.guard(ScriptedApp(*completion(600)), **settings)
    played = await call(guard, UNKNOWN, headers=bearer())
    assert played.status == 200
    assert await bench.figures() == (spent, "0.00")


async def test_f27_an_estimate_at_the_price_of_unknown_models_is_kept(bench):
    guard = bench.guard(ScriptedApp(*completion(600)), unknown_model="0/1000")
    assert (await call(guard, {**UNKNOWN, "max_tokens": 1001}, headers=bearer())).status == 429


HELD = {
    "the larger maximum": ({"max_completion_tokens": 1, "max_tokens": 800}, "0.80"),
    "the model's ceiling": ({"max_tokens": 10**9, "model": "short"}, "0.90"),
    "n": ({"max_tokens": 300, "n": 3}, "0.90"),
}


@pytest.mark.parametrize(("fields", "held"), HELD.values(), ids=HELD)
async def test_f28_hostile_shapes_are_held_for(bench, fields, held):
    gate = Gate()
    guard = bench.guard(ScriptedApp(gate, *completion(1)))
    running = asyncio.create_task(call(guard, {"model": "plain", **fields}, headers=bearer()))
    await gate.reached()
    (view,) = await bench.reader.counters(KEY)
    assert usd_from_nanos(view.balance.reserved) == held
    gate.open()
    await running


HOSTILE = [
    {"max_tokens": -100_000},
    {"max_tokens": "abc"},
    {"max_tokens": True},
    {"max_tokens": 0},
    {"max_completion_tokens": 1.5},
    {"n": 10**6},
    {"n": -3},
]


@pytest.mark.parametrize("fields", HOSTILE, ids=str)
async def test_f28_hostile_numbers(bench, fields):
    app = ScriptedApp(*completion(1))
    played = await call(bench.guard(app), {"model": "plain", **fields}, headers=bearer())
    assert (played.status, app.scopes) == (400, [])
    assert played.json()["error"]["code"] == "budget_bad_request"
    assert next(iter(fields)) in played.json()["error"]["message"]
    assert await bench.accounts() == set()


async def test_f29_no_token_is_charged_under_the_limit_of_all(bench):
    guard = bench.guard(ScriptedApp(*completion(600)))
    assert (await call(guard, ask(600))).status == 200
    assert (await call(guard, ask(600))).status == 429
    assert await bench.figures("key:-") == ("0.60", "0.00")


CARRIERS: list[dict] = [
    {"headers": {"authorization": f"Bearer {TOKEN}"}},
    {"headers": {"authorization": f"bEARER {TOKEN}"}},
    {"headers": {"x-api-key": TOKEN}},
    {"headers": {"api-key": TOKEN}},
    {"headers": {"x-goog-api-key": TOKEN}},
    {"scope": {"query_string": f"key={TOKEN}".encode()}},
]


async def test_f29_the_same_token_is_the_same_account_wherever_it_stands(bench):
    guard = bench.guard(ScriptedApp(*completion(100)))
    for carrier in CARRIERS:
        assert (await call(guard, ask(100), **carrier)).status == 200
    assert await bench.accounts() == {KEY}
    assert await bench.figures() == ("0.60", "0.00")


async def test_f29_two_tokens_that_differ(bench):
    app = ScriptedApp(*completion(100))
    guard = bench.guard(app)
    played = await call(guard, ask(100), headers={"authorization": "Bearer a", "x-api-key": "b"})
    assert (played.status, app.scopes) == (400, [])
    assert played.json()["error"]["message"] == "the request carries two API keys that differ; send one."


ODD_NAMES = ["a", "A", "*", "-", "a b", "a+b", "a;b=c", "%41", "é", "~" + "0" * 32, "x" * 300, "x" * 301, "日本"]


async def test_f29_odd_names_never_merge(bench):
    guard = bench.guard(ScriptedApp(*completion(1)), limits="", accounts="team=body:team")
    for name in ODD_NAMES:
        assert (await call(guard, ask(1, team=name))).status == 200
    assert len(await bench.accounts()) == len(ODD_NAMES)
    for account in await bench.accounts():
        assert await bench.figures(account) == ("0.001", "0.00")


async def test_f29_limit_0_refuses_and_no_limit_does_not(bench):
    guard = bench.guard(ScriptedApp(*completion(1)), limits=f"{KEY}=0/month")
    assert (await call(guard, ask(1), headers=bearer())).status == 429
    assert (await call(guard, ask(1, model="gift"), headers=bearer())).status == 200
    assert (await call(guard, ask(10**6), headers=bearer(OTHER_TOKEN))).status == 200
    assert await bench.figures(OTHER_KEY) == ("0.001", "0.00")


async def test_f32_one_account_of_three_refuses(bench):
    settings = {
        "accounts": "key=token; team=header:x-team; user=body:user",
        "limits": "key=5/month; team=10/month; user=100/month",
    }
    guard = bench.guard(ScriptedApp(*completion(10_000)), **settings)
    played = PlayedRequest(ask(10_000), headers={"authorization": "Bearer another", "x-team": "red"})
    assert (await played.run(bench.guard(ScriptedApp(*completion(10_000)), **settings, mode="shadow"))).status == 200
    before = await whole_journal(bench.reader)
    refused = await call(guard, ask(1000, user="ann"), headers={**bearer(), "x-team": "red"})
    assert refused.status == 429
    assert "The budget of team per month cannot cover" in refused.json()["error"]["message"]
    assert await bench.figures("team:red") == ("10.00", "0.00")
    assert await bench.figures(KEY) == ("0.00", "0.00")
    assert await bench.figures("user:ann") == ("0.00", "0.00")
    assert await whole_journal(bench.reader) == before


async def test_streams_and_whole_answers_cost_the_same(bench):
    for answer in (stream(300), completion(300)):
        guard = bench.guard(ScriptedApp(*answer))
        await call(guard, ask(300, stream=answer[0] == STREAM_START), headers=bearer())
    assert await bench.figures() == ("0.60", "0.00")
