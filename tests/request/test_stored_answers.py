"""Answers that broke off here, which their provider has finished and keeps: a later look books what they came to."""

import asyncio
from functools import partial

import pytest

from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.statuses import Op
from budget_middleware.core.units import Unit
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.sharded.shard_map import ShardMap
from budget_middleware.stores.sharded.store import ShardedStore
from budget_middleware.testing import ScriptedApp, call, client_gone, event, json_answer
from tests.request.bench import Bench
from tests.request.wire import DONE, LAST, STREAM_START, bearer
from tests.stores.shards import opener_of_memory_shards
from tests.stores.verbs import whole_journal

PATH = "/v1/responses"
# Fifty tokens of input at .05, and at most .60 of output.
ASK = {"model": "talk", "input": "x" * 200, "max_output_tokens": 500, "stream": True}
BEGUN = {"id": "resp_1", "model": "talk", "status": "in_progress", "background": False, "store": True, "output": []}
CREATED = event({"type": "response.created", "response": BEGUN})
WORD = event({"type": "response.output_text.delta", "delta": "x" * 4})
"""One token: .0012."""


def done(output_tokens=400, *, status="completed", **fields):
    return {**BEGUN, "status": status, "usage": {"input_tokens": 50, "output_tokens": output_tokens}, **fields}


async def break_off(bench, *events, path=PATH, ask=ASK, **settings):
    """Its client leaves behind these events."""
    app = ScriptedApp(STREAM_START, *events, client_gone)
    guard = bench.guard(app, **settings)
    played = await call(guard, ask, path=path, headers=bearer(), leaves_after=1 + len(events))
    await bench.settle()
    return played


async def look(bench, answer, *, path=f"{PATH}/resp_1", token="sk-one", **settings):
    """Through another worker than the one that saw it break off."""
    app = ScriptedApp(*answer) if isinstance(answer, list) else ScriptedApp(*json_answer(answer))
    played = await call(bench.guard(app, **settings), path=path, method="GET", headers=bearer(token))
    await bench.settle()
    return played


async def test_f70_what_it_came_to_is_booked_once(bench):
    await break_off(bench, CREATED, WORD)
    assert await bench.figures() == ("0.0512", "0.00")
    for _ in range(3):
        await look(bench, done())
        assert await bench.figures() == ("0.53", "0.00")
    finalized, adjusted = [entry for entry in await whole_journal(bench.reader) if entry.op is not Op.RESERVE]
    assert (adjusted.op, adjusted.spent_delta) == (Op.ADJUST, nanos_from_usd("0.4788"))
    assert adjusted.reason == f"usage of a background response, booked by {finalized.reservation_id}"


async def test_two_workers_that_see_it_at_once_book_it_once(bench):
    await break_off(bench, CREATED, WORD)
    guards = [bench.guard(ScriptedApp(*json_answer(done()))) for _ in range(4)]
    await asyncio.gather(*(call(each, path=f"{PATH}/resp_1", method="GET", headers=bearer()) for each in guards))
    assert await bench.figures() == ("0.53", "0.00")


async def test_it_is_booked_once_however_late_it_is_asked_for_again(bench):
    """Later than the store knows the id of an adjustment."""
    await break_off(bench, CREATED, WORD, limits="key=9/total")
    for _ in range(4):
        await look(bench, done(), limits="key=9/total")
        assert await bench.figures() == ("0.53", "0.00")
        bench.clock.advance(s=15 * 3_600)


async def test_whoever_looks_the_one_pays_who_asked(bench):
    await break_off(bench, CREATED, WORD)
    await look(bench, done(), token="sk-stranger")
    assert await bench.figures() == ("0.53", "0.00")


async def test_all_units_are_corrected(bench):
    await break_off(bench, CREATED, WORD, limits="key=9/month; key=9000tokens/month; key=9requests/month")
    await look(bench, done())
    spent = {view.counter.unit: view.balance.spent for view in await bench.reader.counters()}
    assert spent == {Unit.USD: nanos_from_usd("0.53"), Unit.TOKENS: 450, Unit.REQUESTS: 1}


@pytest.mark.parametrize(
    ("on_abort", "first"), [("partial", "0.0512"), ("input", "0.05"), ("full", "0.65"), ("release", "0.00")]
)
async def test_whatever_was_booked_first_the_usage_counts(memory, on_abort, first):
    await break_off(memory, CREATED, WORD, on_abort=on_abort)
    assert await memory.figures() == (first, "0.00")
    await look(memory, done())
    assert await memory.figures() == ("0.53", "0.00")


async def test_what_was_estimated_at_too_much_is_given_back(memory):
    """Of an answer of which no text was seen, all that was expected is booked."""
    await break_off(memory, CREATED)
    assert await memory.figures() == ("0.65", "0.00")
    await look(memory, done(100))
    assert await memory.figures() == ("0.17", "0.00")


async def test_what_the_app_has_added_stays(memory):
    async def app(scope, receive, send):
        scope["state"]["budget"].add_cost("0.10")
        await ScriptedApp(STREAM_START, CREATED, WORD, client_gone)(scope, receive, send)

    await call(memory.guard(app), ASK, path=PATH, headers=bearer(), leaves_after=3)
    assert await memory.figures() == ("0.1512", "0.00")
    await look(memory, done())
    assert await memory.figures() == ("0.63", "0.00")


async def test_a_stream_that_is_fetched_again_shows_it_too(memory):
    await break_off(memory, CREATED, WORD)
    await look(memory, [STREAM_START, CREATED, event({"type": "response.completed", "response": done()}), DONE, LAST])
    assert await memory.figures() == ("0.53", "0.00")


async def test_who_leaves_that_stream_before_its_end_pays_too(memory):
    await break_off(memory, CREATED, WORD)
    whole = event({"type": "response.completed", "response": done()})
    app = ScriptedApp(STREAM_START, CREATED, WORD, whole, DONE, LAST)
    await call(memory.guard(app), path=f"{PATH}/resp_1", method="GET", headers=bearer(), leaves_after=3)
    assert await memory.figures() == ("0.53", "0.00")


@pytest.mark.parametrize(
    "answer",
    [
        done(status="in_progress"),
        {**done(status="cancelled"), "usage": None},
        done(id="resp_2"),
        done(store=False),
        {"error": "no"},
    ],
    ids=["it goes on", "it was cancelled", "another one", "not stored", "none"],
)
async def test_what_books_nothing(memory, answer):
    await break_off(memory, CREATED, WORD)
    await look(memory, answer)
    assert await memory.figures() == ("0.0512", "0.00")


async def test_what_was_whole_is_not_booked_again(memory):
    whole = event({"type": "response.completed", "response": done()})
    await call(memory.guard(ScriptedApp(STREAM_START, CREATED, whole, DONE, LAST)), ASK, path=PATH, headers=bearer())
    await look(memory, done(450))
    assert await memory.figures() == ("0.53", "0.00")


async def test_an_interaction_of_gemini_is_corrected_too(memory):
    path, begun = "/v1beta/interactions", {"id": "i_1", "model": "talk", "status": "in_progress"}
    ask = {"model": "talk", "input": "x" * 200, "generation_config": {"max_output_tokens": 500}, "stream": True}
    await break_off(memory, event({"event_type": "interaction.start", "interaction": begun}), path=path, ask=ask)
    first, _ = await memory.figures()
    whole = {**begun, "status": "completed", "usage": {"total_input_tokens": 50, "total_output_tokens": 400}}
    await look(memory, whole, path=f"{path}/i_1")
    assert (first != "0.53", await memory.figures()) == (True, ("0.53", "0.00"))


async def test_a_store_that_is_away_for_a_moment_books_it_all_the_same(memory, monkeypatch):
    monkeypatch.setattr("budget_middleware.request.jobs.stored_answers.RETRY_S", (0.0,))
    await break_off(memory, CREATED, WORD)
    guard = memory.guard(ScriptedApp(*json_answer(done())), store_timeout_s="0.05")
    failing = [StoreUnavailable("away")]

    async def fail():
        if failing:
            raise failing.pop()

    memory.store_of(guard).before["adjust"] = fail
    await call(guard, path=f"{PATH}/resp_1", method="GET", headers=bearer())
    assert await memory.figures() == ("0.53", "0.00")


async def test_it_is_booked_where_the_booking_before_could_not_be_told(memory, monkeypatch):
    def fails(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("budget_middleware.request.settlement.Settlement._report", fails)
    await break_off(memory, CREATED, WORD)
    assert await memory.figures() == ("0.0512", "0.00")
    await look(memory, done())
    assert await memory.figures() == ("0.53", "0.00")


async def test_what_a_shutdown_leaves_unbooked_is_logged(memory, caplog):
    """No other look would book it: this one has claimed it."""
    await break_off(memory, CREATED, WORD)
    guard, asked = memory.guard(ScriptedApp(*json_answer(done())), store_timeout_s="0.05"), asyncio.Event()

    async def fail():
        asked.set()
        raise StoreUnavailable("away")

    memory.store_of(guard).before["adjust"] = fail
    await call(guard, path=f"{PATH}/resp_1", method="GET", headers=bearer())
    await asked.wait()
    await guard.ledger.drain(timeout_s=0)
    assert "$0.4788 beyond what" in caplog.text


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_claim_that_gets_no_answer_keeps_nobody_from_booking_it(bench, monkeypatch, when):
    """Where it was kept all the same, no other look could claim it any more."""
    monkeypatch.setattr("budget_middleware.request.jobs.stored_answers.RETRY_S", (0.0,))
    await break_off(bench, CREATED, WORD)
    guards = [bench.guard(ScriptedApp(*json_answer(done()))) for _ in range(2)]
    failing = [StoreUnavailable("away")]

    async def fail():
        if failing:
            raise failing.pop()

    getattr(bench.store_of(guards[0]), when)["keep_fact"] = fail
    for guard in guards:
        await call(guard, path=f"{PATH}/resp_1", method="GET", headers=bearer())
        await bench.settle()
    assert await bench.figures() == ("0.53", "0.00")


async def test_a_look_while_the_store_is_away_is_no_word_about_the_next(memory):
    await break_off(memory, CREATED, WORD)
    guard = memory.guard(ScriptedApp(*json_answer(done())))
    failing = [StoreUnavailable("away")] * 2

    async def fail():
        if failing:
            raise failing.pop()

    memory.store_of(guard).before["kept_facts"] = fail
    for _ in range(3):
        await call(guard, path=f"{PATH}/resp_1", method="GET", headers=bearer())
        await guard.ledger.drain()
    assert await memory.figures() == ("0.53", "0.00")


async def test_it_is_booked_once_on_each_shard(prices, clock):
    """Its counters lie on several of them: those of the key, of the model, and of all together."""
    opener = opener_of_memory_shards(clock)
    bench = Bench(lambda: ShardedStore(ShardMap("key", 4), partial(opener, None)), prices, clock)
    limits = {"limits": "key=9/month; model:*=9/month; global=9/month; global=9000tokens/month"}
    await break_off(bench, CREATED, WORD, **limits)
    for _ in range(2):
        await look(bench, done(), **limits)
        spent = {
            (view.counter.account, view.counter.unit): view.balance.spent for view in await bench.reader.counters()
        }
        assert set(spent.values()) == {nanos_from_usd("0.53"), 450}
        assert len(spent) == 4
