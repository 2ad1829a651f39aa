"""What requests ask for and book where tokens, requests or requests in flight are limited."""

import asyncio
import json

import pytest

from budget_middleware.core.answers import Answer
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import NOTHING, Amounts, Unit
from budget_middleware.core.verbs import Reserve
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import Gate, ScriptedApp, Step, call, chunk, client_gone, event, json_answer, start
from tests.request.bench import Bench
from tests.request.wire import DONE, KEY, LAST, STREAM_START, ask, bearer, completion, delta, usage, usage_event
from tests.stores.verbs import whole_journal

ALL = "key=2inflight; key=3requests/total; key=5000tokens/total; key=1/month"

LONG = ask(600, messages=[{"role": "user", "content": "x" * (200 - 15)}])
"""Fifty tokens of input, and at most 600 of output."""


async def figures(bench: Bench) -> dict[str, tuple[int, int]]:
    """Spent and reserved of each unit that is not 0; of money in tokens of the model `plain`."""
    shown = {}
    for view in await bench.reader.counters():
        worth = 1_000_000 if view.counter.unit is Unit.USD else 1
        shown[str(view.counter.unit)] = view.balance.spent // worth, view.balance.reserved // worth
    return shown


def used(output_tokens: int, input_tokens: int, **details: object):
    return json_answer(
        {"choices": [{"message": {"content": "x"}}], "usage": usage(output_tokens, input_tokens, **details)}
    )


async def test_each_unit_is_held_and_booked(bench: Bench):
    gate = Gate()
    guard = bench.guard(ScriptedApp(gate, *used(100, 40)), limits=ALL)
    playing = asyncio.create_task(call(guard, LONG, headers=bearer()))
    await gate.reached()
    assert await figures(bench) == {"usd": (0, 600), "tokens": (0, 650), "requests": (0, 1), "inflight": (0, 1)}
    gate.open()
    await playing
    assert await figures(bench) == {"usd": (100, 0), "tokens": (140, 0), "requests": (1, 0)}


async def test_money_alone_is_asked_for_where_it_alone_is_counted(memory: Bench):
    guard = memory.guard(ScriptedApp(*used(100, 40)))
    sent: list[Reserve] = []
    store = memory.store_of(guard)
    reserve = store.reserve

    async def noted(verb: Reserve) -> Answer:
        sent.append(verb)
        answer: Answer = await reserve(verb)
        return answer

    store.reserve = noted  # type: ignore[attr-defined]
    played = await call(guard, LONG, headers=bearer())
    assert [(verb.asked, verb.expiry_charge) for verb in sent] == [(Amounts(usd=600_000_000), NOTHING)]
    kept = await memory.reader.reservation(played.headers["x-budget-reservation-id"])
    assert kept is not None
    assert kept.actual == Amounts(usd=100_000_000)


@pytest.mark.parametrize(("counted", "tokens"), [("all", 140), ("uncached", 110)])
async def test_cached_input_counts_as_the_setting_says(memory: Bench, counted: str, tokens: int):
    answer = used(
        100, 40, prompt_tokens_details={"cached_tokens": 30}, completion_tokens_details={"reasoning_tokens": 60}
    )
    await call(memory.guard(ScriptedApp(*answer), limits=ALL, tokens=counted), LONG, headers=bearer())
    assert (await figures(memory))["tokens"] == (tokens, 0)


async def test_an_answer_without_usage_books_the_tokens_that_were_expected(memory: Bench):
    await call(memory.guard(ScriptedApp(*json_answer({"what": "is this"})), limits=ALL), LONG, headers=bearer())
    assert await figures(memory) == {"usd": (600, 0), "tokens": (650, 0), "requests": (1, 0)}


async def test_an_answer_that_was_read_books_what_was_read(memory: Bench):
    answer = json_answer({"choices": [{"message": {"content": "x" * 400}}]})
    await call(memory.guard(ScriptedApp(*answer), limits=ALL), LONG, headers=bearer())
    assert await figures(memory) == {"usd": (100, 0), "tokens": (150, 0), "requests": (1, 0)}


@pytest.mark.parametrize(("on_abort", "tokens"), [("partial", 70), ("input", 50), ("full", 650)])
async def test_a_broken_off_answer_books_its_tokens_by_the_abort_rule(memory: Bench, on_abort: str, tokens: int):
    app = ScriptedApp(STREAM_START, *[event(delta())] * 20, client_gone)
    guard = memory.guard(app, limits=ALL, on_abort=on_abort)
    await call(guard, {**LONG, "stream": True}, headers=bearer(), leaves_after=21)
    assert (await figures(memory))["tokens"] == (tokens, 0)
    assert (await figures(memory))["requests"] == (1, 0)


@pytest.mark.parametrize(
    "answer", [json_answer({"error": "no"}, status=503), [ConnectionError("no")]], ids=["503", "raises"]
)
async def test_a_call_that_failed_for_nothing_was_a_request(memory: Bench, answer: list[Step]):
    await call(memory.guard(ScriptedApp(*answer), limits=ALL), LONG, headers=bearer())
    assert await figures(memory) == {"requests": (1, 0)}
    assert [entry.status for entry in await whole_journal(memory.reader)][-1] is Status.FINALIZED


@pytest.mark.parametrize("status", [401, 403])
async def test_whom_the_app_does_not_let_in_has_made_no_request(memory: Bench, status: int):
    await call(memory.guard(ScriptedApp(*json_answer({}, status=status)), limits=ALL), LONG, headers=bearer())
    assert await figures(memory) == {}


async def test_without_a_limit_of_requests_a_failure_is_given_back(memory: Bench):
    await call(
        memory.guard(ScriptedApp(*json_answer({}, status=503)), limits="key=5000tokens/total; key=1/month"),
        LONG,
        headers=bearer(),
    )
    assert [entry.op for entry in await whole_journal(memory.reader)] == [Op.RESERVE] * 2 + [Op.RELEASE] * 2


async def test_a_limit_of_requests_refuses_the_next(bench: Bench):
    guard = bench.guard(ScriptedApp(*completion(10)), limits="key=2requests/total")
    statuses = [(await call(guard, ask(20), headers=bearer())).status for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_a_limit_of_tokens_holds_what_may_come(bench: Bench):
    guard = bench.guard(ScriptedApp(*completion(10)), limits="key=700tokens/total; key=1/month")
    assert (await call(guard, {**LONG, "max_tokens": 651}, headers=bearer())).status == 429
    assert (await call(guard, {**LONG, "max_tokens": 650}, headers=bearer())).status == 200


async def test_at_worst_every_byte_is_a_token(memory: Bench):
    settings = {"limits": "key=790tokens/total", "estimate": "worst"}
    assert (await call(memory.guard(ScriptedApp(*completion(10)), **settings), LONG, headers=bearer())).status == 429
    settings["limits"] = "key=900tokens/total"
    assert (await call(memory.guard(ScriptedApp(*completion(10)), **settings), LONG, headers=bearer())).status == 200


async def test_a_free_model_is_limited_by_its_tokens_and_requests(memory: Bench):
    guard = memory.guard(ScriptedApp(*used(100, 40)), limits="key=1requests/total; key=700tokens/total; key=0/month")
    assert (await call(guard, ask(600, model="gift"), headers=bearer())).status == 200
    assert (await call(guard, ask(600, model="gift"), headers=bearer())).status == 429
    assert await figures(memory) == {"tokens": (140, 0), "requests": (1, 0)}


@pytest.mark.parametrize(
    ("limit", "booked"),
    [("650tokens/total", {"tokens": (140, 0)}), ("9requests/total", {"requests": (1, 0)}), ("9inflight", {})],
    ids=["tokens", "requests", "inflight"],
)
async def test_a_limit_without_money_needs_no_price(memory: Bench, limit: str, booked: object):
    unpriced = {**LONG, "model": "nobody-knows"}
    guard = memory.guard(ScriptedApp(*used(100, 40)), limits=f"key={limit}")
    assert (await call(guard, unpriced, headers=bearer())).status == 200
    assert await figures(memory) == booked
    with_money = memory.guard(ScriptedApp(*used(100, 40)), limits=f"key={limit}; key=1/month")
    assert (await call(with_money, unpriced, headers=bearer())).status in (400, 429)


@pytest.mark.parametrize(("model", "n_in_flight"), [("plain", 1), ("grok-4", 0)])
async def test_deferred_is_in_flight_elsewhere_only_where_that_is_done(bench: Bench, model: str, n_in_flight: int):
    """Others than xAI take no notice of the word, which would lift the limit."""
    goes_on = Gate()
    guard = bench.guard(ScriptedApp(goes_on, *completion(100)), limits="key=1inflight; key=1000/month")
    body = {"model": model, "messages": [], "max_tokens": 200, "deferred": True}
    playing = asyncio.create_task(call(guard, body, headers=bearer()))
    await goes_on.reached()
    assert (await figures(bench)).get("inflight", (0, 0)) == (0, n_in_flight)
    if n_in_flight:
        assert (await call(guard, body, headers=bearer())).status == 429
    goes_on.open()
    assert (await playing).status == 200
    assert "inflight" not in await figures(bench)


async def test_a_stream_holds_more_tokens_as_it_grows(bench: Bench):
    goes_on, has_grown = Gate(), asyncio.Event()
    app = ScriptedApp(STREAM_START, *[event(delta("x"))] * 101, goes_on, event(usage_event(150, 50)), DONE, LAST)
    guard = bench.guard(app, limits=ALL, estimate="learned", estimate_spread="0", default_output_tokens="100")

    async def note() -> None:
        has_grown.set()

    bench.store_of(guard).after["grow"] = note
    playing = asyncio.create_task(call(guard, {**LONG, "stream": True}, headers=bearer()))
    await goes_on.reached()
    await has_grown.wait()
    assert await figures(bench) == {"usd": (0, 200), "tokens": (0, 250), "requests": (0, 1), "inflight": (0, 1)}
    goes_on.open()
    await playing
    assert (await figures(bench))["tokens"] == (200, 0)


async def test_a_free_stream_grows_by_its_tokens_where_they_are_counted(memory: Bench):
    goes_on, has_grown = Gate(), asyncio.Event()
    app = ScriptedApp(STREAM_START, *[event(delta("x"))] * 101, goes_on, event(usage_event(150, 50)), DONE, LAST)
    settings = {"estimate": "learned", "estimate_spread": "0", "default_output_tokens": "100"}
    guard = memory.guard(app, limits="key=5000tokens/total; key=1/month", **settings)

    async def note() -> None:
        has_grown.set()

    memory.store_of(guard).after["grow"] = note
    playing = asyncio.create_task(call(guard, {**LONG, "model": "gift", "stream": True}, headers=bearer()))
    await goes_on.reached()
    await has_grown.wait()
    assert await figures(memory) == {"tokens": (0, 250)}
    goes_on.open()
    await playing


async def test_a_stream_is_stopped_at_a_limit_of_tokens(memory: Bench):
    app = ScriptedApp(STREAM_START, *[event(delta("x"))] * 500, event(usage_event(500)), DONE, LAST)
    settings = {"estimate": "learned", "estimate_spread": "0", "default_output_tokens": "100", "on_limit": "stop"}
    guard = memory.guard(app, limits="key=170tokens/total; key=1/month", **settings)
    played = await call(guard, {**LONG, "stream": True}, headers=bearer())
    assert b"budget_exhausted" in played.body
    assert (await figures(memory))["tokens"] == (151, 0)


async def test_a_limit_of_tokens_clamps_the_output(memory: Bench):
    app = ScriptedApp(*used(100, 40))
    settings = {"clamp": "on", "estimate": "learned", "estimate_spread": "0", "default_output_tokens": "100"}
    await call(
        memory.guard(app, limits="key=700tokens/total; key=1/month", **settings),
        {**LONG, "max_tokens": 900},
        headers=bearer(),
    )
    assert b'"max_tokens":650' in app.bodies[0].replace(b" ", b"")


@pytest.mark.parametrize(
    ("on_expire", "charged"),
    [
        ("release", {}),
        ("input", {"tokens": (50, 0), "requests": (1, 0)}),
        ("estimate", {"usd": (600, 0), "tokens": (650, 0), "requests": (1, 0)}),
    ],
)
async def test_an_expired_hold_is_charged_in_every_unit(bench: Bench, on_expire: str, charged):
    gate = Gate()
    guard = bench.guard(ScriptedApp(gate, *used(100, 40)), limits=ALL, on_expire=on_expire)
    playing = asyncio.create_task(call(guard, LONG, headers=bearer()))
    await gate.reached()
    bench.clock.advance(s=61)
    await bench.reader.sweep(at_most=10)
    assert await figures(bench) == charged
    gate.open()
    await playing
    # Its late ending takes the place of the charge.
    assert await figures(bench) == {"usd": (100, 0), "tokens": (140, 0), "requests": (1, 0)}


async def test_while_the_store_is_away_each_unit_is_counted_here(memory: Bench):
    guard = memory.guard(ScriptedApp(*used(100, 40)), limits=ALL, store_timeout_s="0.2")
    await call(guard, LONG, headers=bearer())

    async def away() -> None:
        raise StoreUnavailable("it is away")

    store = memory.store_of(guard)
    store.before = {"reserve": away, "finalize": away}
    assert [(await call(guard, LONG, headers=bearer())).status for _ in range(3)] == [200, 200, 429]
    store.before = {}
    await memory.settle()
    assert await figures(memory) == {"usd": (300, 0), "tokens": (420, 0), "requests": (3, 0)}


async def test_what_the_app_adds_counts_in_tokens_too(memory: Bench):

    async def app(scope, receive, send):
        scope["state"]["budget"].add_usage("plain", input_tokens=7, output_tokens=3)
        await ScriptedApp(*used(100, 40))(scope, receive, send)

    await call(memory.guard(app, limits=ALL), LONG, headers=bearer())
    assert await figures(memory) == {"usd": (103, 0), "tokens": (150, 0), "requests": (1, 0)}


@pytest.mark.parametrize("status", [200, 401, 503])
async def test_tokens_of_a_free_model_that_the_app_adds_count_whatever_becomes_of_the_call(memory: Bench, status: int):

    async def app(scope, receive, send):
        scope["state"]["budget"].add_usage("gift", input_tokens=7, output_tokens=3)
        await ScriptedApp(*json_answer({"usage": usage(0)}, status=status))(scope, receive, send)

    await call(memory.guard(app, limits="key=5000tokens/total; key=9requests/total"), LONG, headers=bearer())
    requests = {} if status == 401 else {"requests": (1, 0)}
    assert await figures(memory) == {"tokens": (10, 0), **requests}


async def test_tokens_of_a_free_model_count_in_a_job_that_fails(memory: Bench):
    ledger = memory.guard(ScriptedApp(), limits="key=5000tokens/total").ledger

    async def fail() -> None:
        async with ledger.reservation({"key": KEY.removeprefix("key:")}, estimate_usd="0") as job:
            job.add_usage("gift", input_tokens=7, output_tokens=3)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    await memory.settle()
    assert await figures(memory) == {"tokens": (10, 0)}


async def test_a_job_is_one_request_and_in_flight(memory: Bench):
    ledger = memory.guard(
        ScriptedApp(), limits="key=1inflight; key=3requests/total; key=5000tokens/total; key=1/month"
    ).ledger
    accounts = {"key": KEY.removeprefix("key:")}
    async with ledger.reservation(accounts, estimate_usd="0.10", estimate_tokens=300) as job:
        assert await figures(memory) == {"usd": (0, 100), "tokens": (0, 300), "requests": (0, 1), "inflight": (0, 1)}
        job.add_usage("plain", input_tokens=7, output_tokens=3)
    await memory.settle()
    assert await figures(memory) == {"usd": (3, 0), "tokens": (10, 0), "requests": (1, 0)}
    with pytest.raises(ValueError, match="whole number"):
        async with ledger.reservation(accounts, estimate_usd="0.10", estimate_tokens=-1):
            pass


@pytest.mark.parametrize(
    ("model", "body", "tokens"),
    [("dear-image", {"prompt": "x" * 40, "n": 1}, 10), ("image-by-token", {"prompt": "x" * 40, "quality": "low"}, 418)],
)
async def test_images_count_tokens_where_they_have_some(memory: Bench, tmp_path, model, body, tokens):
    prices = tmp_path / "images.toml"
    prices.write_text(
        "[models.dear-image]\ninput = 0\noutput = 0\nimage = 0.01\n"
        "[models.image-by-token]\ninput = 1\noutput = 1\noutput_image = 10\n"
    )
    request = {"body": {"model": model, **body}, "headers": bearer(), "path": "/v1/images/generations"}
    statuses = []
    for limit in (tokens, tokens - 1):
        settings = {"limits": f"key={limit}tokens/total", "prices": str(prices)}
        guard = memory.guard(ScriptedApp(start(), chunk(b"{}", is_last=True)), store=MemoryStore(), **settings)
        statuses.append((await call(guard, **request)).status)
    assert statuses == [200, 429]


CARRYING = "key=0.10/day!carry=100%; key=1/month"


async def test_what_was_carried_over_is_not_clamped_away(memory: Bench):
    """Of a limit into which something was carried a worker knows only what it may be at most."""
    app = ScriptedApp(*completion(150))
    guard = memory.guard(app, limits=CARRYING, clamp="on")
    assert (await call(guard, ask(150), headers=bearer())).status == 200
    assert (await call(guard, ask(50), headers=bearer())).status == 200
    assert [json.loads(body)["max_tokens"] for body in app.bodies] == [150, 50]


async def test_headers_leave_out_a_limit_into_which_only_the_store_knows_what_was_carried(memory: Bench):
    guard = memory.guard(ScriptedApp(*completion(150)), limits=CARRYING)
    headers = (await call(guard, ask(150), headers=bearer())).headers
    assert headers["x-budget-remaining-usd"] == "0.85"
    assert headers["ratelimit-policy"].startswith('"key-month";q=1000000;')
    refused = await call(guard, ask(150), headers=bearer())
    assert refused.status == 429
    assert refused.headers["ratelimit-policy"] == '"key-day";q=200000;qu="usd-micros";w=86400'


async def test_a_stream_is_not_stopped_within_what_was_carried_over(memory: Bench):
    app = ScriptedApp(STREAM_START, *[event(delta("x"))] * 150, event(usage_event(150)), DONE, LAST)
    settings = {"estimate": "learned", "estimate_spread": "0", "default_output_tokens": "90", "on_limit": "stop"}
    played = await call(memory.guard(app, limits=CARRYING, **settings), ask(170, stream=True), headers=bearer())
    assert b"[DONE]" in played.body


async def test_a_background_response_books_its_tokens_and_is_one_request(bench: Bench):
    queued = {"id": "resp_1", "model": "plain", "status": "queued", "background": True, "output": [], "usage": None}
    done = {**queued, "status": "completed", "usage": {"input_tokens": 9, "output_tokens": 100}}
    asked = {"model": "plain", "input": "x" * 36, "max_output_tokens": 600, "background": True}
    limits = {"limits": ALL}
    await call(bench.guard(ScriptedApp(*json_answer(queued)), **limits), asked, path="/v1/responses", headers=bearer())
    await bench.settle()
    assert await figures(bench) == {"usd": (0, 600), "tokens": (0, 609), "requests": (0, 1)}
    looked = bench.guard(ScriptedApp(*json_answer(done)), **limits)
    await call(looked, path="/v1/responses/resp_1", method="GET", headers=bearer())
    await bench.settle()
    assert await figures(bench) == {"usd": (100, 0), "tokens": (109, 0), "requests": (1, 0)}


def fails(*_: object, **__: object) -> None:
    raise RuntimeError("of a bug")


BUGS = {
    "learning": "budget_middleware.request.settlement.learn_from_answer",
    "metrics": "budget_middleware.request.settlement.Settlement._count",
    "the bill's text": "budget_middleware.request.bills.bill.Bill.packed",
}


@pytest.mark.parametrize("place", BUGS.values(), ids=BUGS)
async def test_what_is_known_is_booked_in_all_units_whatever_fails_behind_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
):
    """Not dollars by the usage and tokens by the estimate, which are 650."""
    monkeypatch.setattr(place, fails)
    guard = bench.guard(ScriptedApp(*used(100, 40)), limits=ALL)
    guard.ledger.telemetry.metrics.is_received = True
    played = await call(guard, LONG, headers=bearer())
    assert await figures(bench) == {"usd": (100, 0), "tokens": (140, 0), "requests": (1, 0)}
    assert played.headers["x-budget-cost-usd"] == "0.10"
    assert "RuntimeError: of a bug" in caplog.text


async def test_what_failed_books_no_tokens_whatever_fails_behind_it(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(BUGS["metrics"], fails)
    guard = bench.guard(ScriptedApp(*json_answer({}, status=503)), limits=ALL)
    guard.ledger.telemetry.metrics.is_received = True
    await call(guard, LONG, headers=bearer())
    assert await figures(bench) == {"requests": (1, 0)}


async def test_what_cannot_be_billed_is_estimated_in_all_units(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """Where the tokens of a usage cannot be counted, its dollars are not believed either; what the app added is."""
    monkeypatch.setattr("budget_middleware.request.bills.bill.Bill.tokens", fails)

    async def app(scope, receive, send):
        scope["state"]["budget"].add_usage("gift", output_tokens=7)
        await ScriptedApp(*used(100, 40))(scope, receive, send)

    await call(bench.guard(app, limits=ALL), LONG, headers=bearer())
    assert await figures(bench) == {"usd": (600, 0), "tokens": (657, 0), "requests": (1, 0)}
