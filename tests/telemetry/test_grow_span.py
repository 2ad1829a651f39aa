"""A stream that outgrows its hold has its grow span, with each counter's change, before it ends."""

import asyncio

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.base import Store
from budget_middleware.testing import Gate, ScriptedApp, call, event
from tests.request.wire import DONE, LAST, STREAM_START, ask, bearer, usage_event, words
from tests.telemetry.conftest import Spans
from tests.telemetry.proof import attribute, id_of, links_of, named, only, parent_of, prove


async def test_it_is_exported_while_the_stream_goes_on(base: Store, spans: Spans):
    goes_on = Gate()
    guard = BudgetMiddleware(
        ScriptedApp(STREAM_START, *words(40), goes_on, event(usage_event(40)), DONE, LAST),
        store=base,
        limits="key=1/month; global=5/month",
        unknown_model="0/1000",
        estimate="learned",
        estimate_spread="0",
        default_output_tokens="30",
    )
    playing = asyncio.create_task(call(guard, ask(600, stream=True), headers=bearer()))
    await goes_on.reached()
    await asyncio.gather(*guard.ledger._tasks._tasks.current())
    grow = only(spans(), "budget.grow")
    assert attribute(grow, "budget.status") == "grown"
    assert attribute(grow, "budget.reason") == "outgrown: 31 tokens shown, holds 60"
    assert links_of(grow) == {id_of(only(spans(), "budget.reserve"))}
    changed = [span for span in named(spans(), "budget.counter") if attribute(span, "budget.op") == "grow"]
    assert len(changed) == 2
    assert {parent_of(span, {id_of(each): each for each in spans()}) for span in changed} == {grow}
    goes_on.open()
    assert (await playing).is_complete
    await guard.ledger.drain()
    await prove(base, spans())
