"""An answer that outgrows its hold holds more before it ends; what is booked is the same."""

import asyncio

import pytest

from budget_middleware.core.statuses import Op
from budget_middleware.ledger import Hold
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import Gate, ScriptedApp, Step, call, event
from tests.ledger.holds.test_leases import beaten
from tests.request.bench import Bench
from tests.request.wire import DONE, KEY, LAST, STREAM_START, ask, bearer, completion, delta, usage_event
from tests.stores.verbs import whole_journal

TOKEN_NANOS = 1_000_000
"""What a token of the model `plain` costs, so that a hundred are ten cents."""
STREAM_ASK = ask(1_000, stream=True, stream_options={"include_usage": True})
LIMITS = "key=1/month; global=5/month"
A_HUNDRED = {"estimate": "learned", "estimate_spread": "0", "default_output_tokens": "100"}
"""Before answers are known a hundred tokens are held, without a margin, and no more are written than fifty a second."""


def words(count: int, *, letters: int = 1, **unusual: object) -> list[Step]:
    """So many chunks of text, each of a token at least."""
    return [event(delta("x" * letters, **unusual)) for _ in range(count)]


def live_hold(guard) -> Hold:
    (hold,) = guard.ledger._leases._live.current().holds.values()
    return hold


async def until_grown(guard) -> None:
    """Until what the stream has asked for so far is held."""
    await asyncio.gather(*guard.ledger._tasks._tasks.current())


async def reserved(bench: Bench) -> list[int]:
    """What each counter holds now, in tokens' worth."""
    return [view.balance.reserved // TOKEN_NANOS for view in await bench.reader.counters()]


class TestAStream:
    @pytest.mark.parametrize(
        "chunks",
        [
            words(101),
            words(1, letters=401),
            words(1) + words(1, letters=400),
            words(60) + words(60, letters=1, finish_reason=None, odd={"field": 1}),
        ],
        ids=[
            "by its chunks",
            "by the bytes of its first",
            "by the bytes of a later one",
            "in events that nobody skims",
        ],
    )
    async def test_holds_more_while_it_goes_on(self, bench: Bench, chunks):
        goes_on = Gate()
        app = ScriptedApp(STREAM_START, *chunks, goes_on, event(usage_event(150)), DONE, LAST)
        guard = bench.guard(app, limits=LIMITS, **A_HUNDRED)
        has_grown = asyncio.Event()

        async def note() -> None:
            has_grown.set()

        bench.store_of(guard).after["grow"] = note
        playing = asyncio.create_task(call(guard, STREAM_ASK, headers=bearer()))
        await goes_on.reached()
        await has_grown.wait()
        assert await reserved(bench) == [200, 200]
        goes_on.open()
        assert (await playing).is_complete
        assert await bench.figures() == ("0.15", "0.00")
        entries = [(entry.op, entry.counter.account) for entry in await whole_journal(bench.reader)]
        accounts = ["global", KEY]
        assert entries == [(op, account) for op in (Op.RESERVE, Op.GROW, Op.FINALIZE) for account in accounts]

    async def test_doubles_up_to_what_was_asked_for(self, bench: Bench):
        async def has_grown(*_: object) -> None:
            await until_grown(guard)

        chunks: list[Step] = [*words(100), has_grown] * 11
        app = ScriptedApp(STREAM_START, *chunks, event(usage_event(1_000)), DONE, LAST)
        guard = bench.guard(app, **A_HUNDRED)
        assert (await call(guard, STREAM_ASK, headers=bearer())).is_complete
        assert await bench.figures() == ("1.00", "0.00")
        held = [entry.reserved // TOKEN_NANOS for entry in await whole_journal(bench.reader) if entry.op is Op.GROW]
        assert held == [200, 400, 800, 1_000]

    async def test_that_is_over_grows_no_more(self, memory: Bench):
        """All of it came in one turn of the event loop: what it costs is known before anything was asked for."""
        guard = memory.guard(ScriptedApp(STREAM_START, *words(450), event(usage_event(450)), DONE, LAST), **A_HUNDRED)
        assert (await call(guard, STREAM_ASK, headers=bearer())).is_complete
        assert await memory.figures() == ("0.45", "0.00")
        assert "grow" not in memory.store_of(guard).calls

    async def test_passes_a_limit_that_it_was_admitted_within(self, bench: Bench):
        goes_on = Gate()
        app = ScriptedApp(STREAM_START, *words(150), goes_on, event(usage_event(150)), DONE, LAST)
        guard = bench.guard(app, limits="key=0.12/month", **A_HUNDRED)
        playing = asyncio.create_task(call(guard, STREAM_ASK, headers=bearer()))
        await goes_on.reached()
        await until_grown(guard)
        assert await reserved(bench) == [200]
        # Nobody new is admitted meanwhile.
        assert (await call(guard, STREAM_ASK, headers=bearer())).status == 429
        goes_on.open()
        await playing
        assert await bench.figures() == ("0.15", "0.00")

    async def test_books_the_same_whether_it_could_grow_or_not(self, bench: Bench):
        async def has_asked(*_: object) -> None:
            await until_grown(guard)

        guard = bench.guard(
            ScriptedApp(STREAM_START, *words(450), has_asked, event(usage_event(450)), DONE, LAST), **A_HUNDRED
        )

        async def away() -> None:
            raise StoreUnavailable("away")

        bench.store_of(guard).before["grow"] = away
        assert (await call(guard, STREAM_ASK, headers=bearer())).is_complete
        assert await bench.figures() == ("0.45", "0.00")
        assert await bench.ops() == [Op.RESERVE, Op.FINALIZE]
        assert "grow" in bench.store_of(guard).calls

    async def test_that_fits_asks_for_nothing(self, bench: Bench):
        guard = bench.guard(
            ScriptedApp(STREAM_START, *words(100), event(usage_event(100)), DONE, LAST), limits=LIMITS, **A_HUNDRED
        )
        await call(guard, STREAM_ASK, headers=bearer())
        assert "grow" not in bench.store_of(guard).calls

    async def test_that_is_unprotected_does_not_grow(self, memory: Bench):
        app = ScriptedApp(STREAM_START, *words(450), event(usage_event(450)), DONE, LAST)
        guard = memory.guard(app, on_store_error="open", store_timeout_s="0.2", **A_HUNDRED)

        async def away() -> None:
            raise StoreUnavailable("away")

        memory.store_of(guard).before |= {"reserve": away}
        assert (await call(guard, STREAM_ASK, headers=bearer())).status == 200
        await memory.settle()
        assert "grow" not in memory.store_of(guard).calls


class TestAnAnswerThatShowsNothing:
    async def test_grows_by_its_age_at_the_beat(self, bench: Bench):
        answers = Gate()
        start, body = completion(300)
        guard = bench.guard(ScriptedApp(answers, start, body), limits=LIMITS, **A_HUNDRED)
        playing = asyncio.create_task(call(guard, ask(400), headers=bearer()))
        await answers.reached()
        growth = live_hold(guard).growth
        assert growth is not None
        growth._since_s += 60
        await beaten(guard.ledger)
        assert await reserved(bench) == [100, 100]
        growth._since_s -= 120
        await beaten(guard.ledger)
        assert await reserved(bench) == [400, 400]
        answers.open()
        assert (await playing).is_complete
        assert await bench.figures() == ("0.30", "0.00")

    async def test_grows_by_what_the_app_adds(self, memory: Bench):
        adds, goes_on = Gate(), Gate()

        async def app(scope, receive, send):
            scope["state"]["budget"].add_cost("0.15")
            adds.open()
            await goes_on.wait()
            for message in completion(10):
                await send(message)

        guard = memory.guard(app, **A_HUNDRED)
        playing = asyncio.create_task(call(guard, ask(1_000), headers=bearer()))
        await goes_on.reached()
        await beaten(guard.ledger)
        assert await reserved(memory) == [200]
        goes_on.open()
        await playing
        assert await memory.figures() == ("0.16", "0.00")


async def test_a_fixed_rule_grows_nothing(memory: Bench):
    """As before: only what is learnt may be outgrown, and asks for more."""
    app = ScriptedApp(STREAM_START, *words(1_500), event(usage_event(1_500)), DONE, LAST)
    body = {"model": "plain", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    guard = memory.guard(app, estimate="expected", limits="key=9/month")
    assert (await call(guard, body, headers=bearer())).is_complete
    assert await memory.figures() == ("1.50", "0.00")
    assert await memory.ops() == [Op.RESERVE, Op.FINALIZE]
