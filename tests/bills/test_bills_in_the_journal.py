"""The bill of a request lies in the journal beside what was booked, whatever that was decided by."""

import pytest

from budget_middleware.core.costs.bill import unpack
from budget_middleware.core.statuses import Op
from budget_middleware.testing import ScriptedApp, call, chunk, event, json_answer, start
from tests.request.test_background import QUEUED, create, done, look
from tests.request.test_handle import Adding
from tests.request.wire import DONE, LAST, STREAM_START, TALK, ask, bearer, completion, usage, usage_event, words
from tests.stores.verbs import whole_journal

CANARY = "canary-of-a-prompt"
OWN = "BUDGET_PRICES"


async def bills(bench):
    """The bills of the journal, once each; every one comes to what its entry booked, to the femto-dollar."""
    await bench.settle()
    told = []
    for entry in await whole_journal(bench.reader):
        if entry.bill:
            bill = unpack(entry.bill)
            assert bill is not None
            if entry.op is Op.FINALIZE:
                assert bill.nanos == entry.spent_delta
            assert abs(bill.rest_femtos) < 1_000_000, "only rounding is left over"
            assert CANARY not in entry.bill
            told.append((entry.reason, bill))
    return told


def lines_of(bill):
    return [(line.unit, line.count, line.nanos_per_million, line.source) for line in bill.lines]


async def test_a_usage_is_itemized_by_class(bench):
    told = usage(100, 1_000, prompt_tokens_details={"cached_tokens": 900}, completion_tokens_details={})
    app = ScriptedApp(*json_answer({"model": "cache", "choices": [{"message": {"content": CANARY}}], "usage": told}))
    await call(bench.guard(app), {**ask(model="cache"), "messages": [{"content": CANARY}]}, headers=bearer())
    ((reason, bill),) = await bills(bench)
    assert (reason, bill.calls[0].model, bill.amounts) == ("usage", "cache", ())
    assert lines_of(bill) == [
        ("input", 100, 1_000_000_000, OWN),
        ("cached_input", 900, 100_000_000, OWN),
        ("output", 100, 0, OWN),
    ]


SEEN = [("input", 50, 1_000_000_000_000, OWN), ("output", 100, 1_200_000_000_000, OWN)]
TRUE = event(usage_event(100, 50))
SOUND = event({"choices": [{"index": 0, "delta": {"audio": {"id": "a", "data": "AAAA"}}}]})

# TALK is estimated at .65: .05 of input and .60 of output.
STREAMS = {
    "usage": ([*words(), TRUE, DONE, LAST], {}, "usage", SEEN, []),
    "no usage": ([*words(), DONE, LAST], {}, "estimated_complete", SEEN, []),
    "cut off": ([*words(), chunk(is_last=False)], {}, "estimated_partial", SEEN, []),
    "cut off, to be booked in full": (
        [*words()],
        {"on_abort": "full"},
        "estimated_full",
        [],
        [("estimate", 650_000_000)],
    ),
    "cut off, to be booked by its input": (
        [*words()],
        {"on_abort": "input"},
        "estimated_input",
        [],
        [("expected_input", 50_000_000)],
    ),
    "what cannot be read": ([chunk(b"\xff\xfe\n\n"), LAST], {}, "estimated_complete", [], [("estimate", 650_000_000)]),
    "output besides the text": (
        [*words(), SOUND, DONE, LAST],
        {},
        "estimated_complete",
        SEEN,
        [("hidden_output", 480_000_000)],
    ),
    "a cost of the provider": (
        [*words(), event(usage_event(100, 50) | {"usage": usage(100, 50, cost=0.25)}), DONE, LAST],
        {},
        "usage",
        [(unit, count, None, "") for unit, count, _, _ in SEEN],
        [("provider_cost", 250_000_000)],
    ),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_bill_says_what_it_is_based_on(memory, name):
    messages, settings, reason, lines, amounts = STREAMS[name]
    await call(memory.guard(ScriptedApp(STREAM_START, *messages), **settings), TALK, headers=bearer())
    ((booked_as, bill),) = await bills(memory)
    assert booked_as == reason
    assert (lines_of(bill), [*map(tuple, bill.amounts)]) == (lines, amounts)


async def test_a_cost_in_a_header_is_the_gateways(memory):
    begin, body = completion(100)
    begin = {**begin, "headers": [*begin["headers"], (b"x-litellm-response-cost", b"0.25")]}
    played = await call(memory.guard(ScriptedApp(begin, body)), ask(), headers=bearer())
    assert played.headers["x-budget-price-source"] == "gateway_cost"
    ((_, bill),) = await bills(memory)
    assert [*map(tuple, bill.amounts)] == [("gateway_cost", 250_000_000)]
    assert (bill.counts, bill.sources) == ({"output": 100}, ("gateway_cost",))


async def test_what_the_app_told_is_an_amount_of_its_own(memory):
    played = await call(memory.guard(Adding(*completion(100))), ask(100), headers=bearer())
    assert played.headers["x-budget-usage"] == "input=14, output=100"
    assert played.headers["x-budget-price-source"] == "BUDGET_PRICES, app_told"
    ((reason, bill),) = await bills(memory)
    assert (reason, lines_of(bill)[-1]) == ("usage+added", ("output", 100, 1_000_000_000_000, OWN))
    assert [*map(tuple, bill.amounts)] == [("app_told", 50_000_000)]


async def test_of_a_failed_call_only_what_the_app_told_is_on_the_bill(memory):
    await call(memory.guard(Adding(*json_answer({"error": {}}, status=503))), ask(100), headers=bearer())
    ((reason, bill),) = await bills(memory)
    assert (reason, bill.calls) == ("error_answer+added", ())
    assert [*map(tuple, bill.amounts)] == [("app_told", 50_000_000)]


async def test_a_usage_that_contradicts_itself_says_why_and_names_no_field(memory):
    told = usage(20, 10, prompt_tokens_details={"cached_tokens": 15}, total_tokens=1)
    app = ScriptedApp(*json_answer({"choices": [{"message": {"content": "hello"}}], "usage": told}))
    await call(memory.guard(app), ask(model="talk"), headers=bearer())
    ((reason, bill),) = await bills(memory)
    assert reason == "usage_unreconciled"
    assert bill.contradiction == "total_below_parts"


async def test_what_has_no_price_is_counted(memory):
    """Told by the answer, and in no price list: the bill shows it without a rate."""
    told = {**usage(100, 10), "num_search_queries": 2}
    app = ScriptedApp(*json_answer({"choices": [{"message": {"content": "hello"}}], "usage": told}))
    await call(memory.guard(app), ask(model="talk"), headers=bearer())
    ((_, bill),) = await bills(memory)
    assert lines_of(bill)[-1] == ("web_search", 2, None, "")


async def test_what_books_nothing_has_no_bill(memory):
    await call(memory.guard(ScriptedApp(*json_answer({"error": {}}, status=503))), ask(), headers=bearer())
    assert await bills(memory) == []


async def test_a_background_response_has_the_bill_of_its_usage(bench):
    await create(bench)
    assert await bills(bench) == []
    await look(bench, done(100))
    ((reason, bill),) = await bills(bench)
    assert reason == f"usage, job {QUEUED['id']}"
    assert (lines_of(bill)[-1], bill.nanos) == (("output", 100, 1_000_000_000_000, OWN), 100_000_000)


async def test_a_block_of_code_has_the_bill_of_what_it_added(memory):
    guard = memory.guard(ScriptedApp(start()))
    async with guard.ledger.reservation({"team": "search"}, estimate_usd="0.10") as budget:
        budget.add_cost("0.03")
    ((reason, bill),) = await bills(memory)
    assert (reason, [*map(tuple, bill.amounts)]) == ("added", [("app_told", 30_000_000)])
