"""A guard behind a guard, each in a process of its own as far as it knows: what is booked, and what is told."""

import pytest

from budget_middleware.core.statuses import Op, Status
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import STREAM_START, TALK, ask, bearer, completion, stream, words
from tests.stores.verbs import whole_journal


class Gateway:
    """Calls an inner guard as over HTTP, and passes on its answer; `times` of them, as one that tries again."""

    def __init__(self, inner, *, times=1, key=None, passes_headers=True):
        self._inner = inner
        self._times = times
        self._key = key
        self._passes_headers = passes_headers

    async def __call__(self, scope, receive, send):
        message = await receive()
        headers = [*scope["headers"]]
        if self._key is not None:
            headers = [(b"authorization", f"Bearer {self._key}".encode())]
        for turn in range(self._times):
            played = await call(self._inner, message["body"], headers=headers)
            if turn == self._times - 1:
                start, *rest = played.messages
                if not self._passes_headers:
                    start = {**start, "headers": [(b"content-type", b"application/json")]}
                for part in (start, *rest):
                    await send(part)


def nested(bench, *script, outer=None, inner=None, **gateway):
    guard = bench.guard(ScriptedApp(*script), **(inner or {}))
    return bench.guard(Gateway(guard, **gateway), **(outer or {}))


@pytest.mark.parametrize("answer", [completion(2), stream(2)], ids=["json", "stream"])
async def test_f61_a_guard_behind_a_guard_books_once(bench, answer):
    """50 calls of .002 are .10, to the limit. (Each is estimated at .001, for both guards hold.)"""
    limits = {"limits": "key=0.10/month"}
    guard = nested(bench, *answer, outer=limits, inner=limits)
    body = ask(1, stream=answer[0] == STREAM_START)
    statuses = [(await call(guard, body, headers=bearer())).status for _ in range(51)]
    assert statuses == [200] * 50 + [429]
    assert await bench.figures() == ("0.10", "0.00")


async def test_f61_the_journal_tells_which_reservation_books(bench):
    await call(nested(bench, *completion(2)), ask(1), headers=bearer())
    await bench.settle()
    _, inner_reserve, inner_end, outer_end = await whole_journal(bench.reader)
    assert (inner_end.op, inner_end.reservation_id) == (Op.FINALIZE, inner_reserve.reservation_id)
    assert (outer_end.status, outer_end.reason) == (Status.RELEASED, f"booked_by:{inner_reserve.reservation_id}")


async def test_f61_calls_that_are_tried_again_are_booked_by_the_inner_one(bench):
    await call(nested(bench, *completion(2), times=3), ask(1), headers=bearer())
    assert await bench.figures() == ("0.006", "0.00")


async def test_the_client_gets_one_set_of_headers(memory):
    played = await call(nested(memory, *completion(2)), ask(1), headers=bearer())
    names = [name for name, _ in played.messages[0]["headers"]]
    assert len(names) == len(set(names))
    assert played.headers["x-budget-cost-usd"] == "0.002"
    assert played.headers["x-budget-remaining-usd"] == "0.998"


async def test_an_edge_that_sends_no_headers_passes_none_on(memory):
    played = await call(nested(memory, *completion(2), outer={"headers": "off"}), ask(1), headers=bearer())
    assert played.headers == {"content-type": "application/json"}
    assert await memory.figures() == ("0.002", "0.00")


async def test_what_the_app_adds_is_booked_by_the_outer_one(bench):
    gateway = Gateway(bench.guard(ScriptedApp(*completion(2))))

    async def adding(scope, receive, send):
        scope["state"]["budget"].add_cost("0.05")
        await gateway(scope, receive, send)

    await call(bench.guard(adding), ask(1), headers=bearer())
    assert await bench.figures() == ("0.052", "0.00")


async def test_a_client_that_leaves_pays_the_inner_one(bench):
    both = {"limits": "key=2/month"}
    await call(nested(bench, STREAM_START, *words(100), outer=both, inner=both), TALK, headers=bearer())
    assert await bench.figures() == ("0.17", "0.00")


async def test_meanwhile_both_hold(bench):
    """Each has to know that the call is paid for, so that a call needs twice its estimate to be let in."""
    limits = {"limits": "key=0.60/month"}
    guard = nested(bench, *completion(300), outer=limits, inner=limits)
    assert (await call(guard, ask(300), headers=bearer())).status == 200
    refused = await call(guard, ask(300), headers=bearer())
    assert (refused.status, refused.headers["x-should-retry"]) == (429, "true")
    assert await bench.figures() == ("0.30", "0.00")


async def test_without_the_inner_ones_headers_both_book(bench):
    await call(nested(bench, *completion(2), passes_headers=False), ask(1), headers=bearer())
    assert await bench.figures() == ("0.004", "0.00")


async def test_an_inner_guard_with_headers_off_is_not_known(bench):
    await call(nested(bench, *completion(2), inner={"headers": "off"}), ask(1), headers=bearer())
    assert await bench.figures() == ("0.004", "0.00")


async def test_a_gateway_that_calls_on_with_a_key_of_its_own_leaves_the_clients_to_the_outer_one(bench):
    await call(nested(bench, *completion(2), key="sk-two"), ask(1), headers=bearer())
    assert await bench.figures() == ("0.002", "0.00")


async def test_f61_an_echo_of_an_earlier_answers_headers_makes_nothing_free(bench):
    """A client sends them, and an upstream like httpbin sends back what it got."""
    cheap = await call(bench.guard(ScriptedApp(*completion(1))), ask(1), headers=bearer())
    echoed = [(name.encode(), value.encode()) for name, value in cheap.headers.items()]
    assert any(name == b"x-budget-ledger" for name, _ in echoed)
    bench.clock.advance(ms=1)
    start, body = json_answer({"usage": {"prompt_tokens": 0, "completion_tokens": 500}})
    guard = bench.guard(ScriptedApp({**start, "headers": echoed}, body))
    await call(guard, ask(500), headers=bearer())
    assert await bench.figures() == ("0.501", "0.00")
