"""Answers whose hold the ledger ends: at a shutdown, after too long a life, and for clients that stop reading.

Input .05, a hundred chunks seen .12, estimate .65, and an answer that runs to its usage costs .29. Beats are played by
the tests, with a clock that is ahead by as much as they say.
"""

import asyncio
import time
from typing import Any

import pytest

from budget_middleware.core.statuses import Op
from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call, client_gone, event, json_answer
from tests.request.wire import DONE, LAST, STREAM_START, TALK, bearer, usage, usage_event, words

POLICIES = {"partial": "0.17", "input": "0.05", "full": "0.65", "release": "0.00", "drain": "0.17"}
BEGUN = (STREAM_START, *words(100))
REST = (event(usage_event(200, 50)), DONE, LAST)
MAX_S, IDLE_S = 21_600, 600


async def beat(guard, *, after_s: float) -> None:
    """The next heartbeat, as if so much time had passed."""
    keeper = guard.ledger._leases
    keeper._clock_s = lambda: time.monotonic() + after_s
    await keeper._beat(keeper._live.current())


class SlowReader(PlayedRequest):
    """A client that takes one more message after so many, and no other before the test opens its gate."""

    def __init__(self, body: Any, *, takes: int, **more: Any) -> None:
        super().__init__(body, **more)
        self.gate = Gate()
        self._takes = takes

    async def _send(self, message):
        if len(self.messages) >= self._takes:
            await self.gate.wait()
        await super()._send(message)


async def ended(bench, spent: str) -> None:
    assert await bench.figures() == (spent, "0.00")
    assert await bench.ops() == [Op.RESERVE, Op.RELEASE if spent == "0.00" else Op.FINALIZE]


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_shutdown_ends_what_does_not_end_itself(bench, policy):
    gate = Gate()
    guard = bench.guard(ScriptedApp(*BEGUN, gate, *REST), on_abort=policy)
    played = PlayedRequest(TALK, headers=bearer())
    task = asyncio.create_task(played.run(guard))
    await gate.reached()
    await guard.ledger.drain(timeout_s=0)
    await ended(bench, POLICIES[policy])
    gate.open()
    await task
    # What came now would be served and never booked.
    assert isinstance(played.raised, ConnectionAbortedError)
    assert len(played.messages) == len(BEGUN)
    await ended(bench, POLICIES[policy])


async def test_a_shutdown_waits_for_an_answer_that_ends_in_time(bench):
    gate = Gate()
    guard = bench.guard(ScriptedApp(*BEGUN, gate, *REST))
    played = PlayedRequest(TALK, headers=bearer())
    task = asyncio.create_task(played.run(guard))
    await gate.reached()
    draining = asyncio.create_task(guard.ledger.drain(timeout_s=60))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(task, draining)
    assert played.is_complete
    await ended(bench, "0.29")


@pytest.mark.parametrize("policy", POLICIES)
async def test_f66_a_reader_that_stops_reading_is_ended(bench, policy, caplog):
    guard = bench.guard(ScriptedApp(*BEGUN, *REST), on_abort=policy)
    played = SlowReader(TALK, headers=bearer(), takes=len(BEGUN) - 1)
    task = asyncio.create_task(played.run(guard))
    await played.gate.reached()
    await beat(guard, after_s=IDLE_S - 1)
    assert await bench.reader.holds()
    await beat(guard, after_s=IDLE_S + 1)
    await beat(guard, after_s=IDLE_S + 1)
    await guard.ledger._tasks.drain(timeout_s=30)
    assert not await bench.reader.holds()
    assert [record.getMessage() for record in caplog.records if "ended by its abort rule" in record.message] == [
        f"{await the_id(bench)} of $0.65 is ended by its abort rule: its client took and sent nothing for 600 s"
    ]
    # Once it reads again it gets no more than what it left.
    played.gate.open()
    await task
    assert isinstance(played.raised, ConnectionAbortedError)
    assert len(played.messages) == len(BEGUN)
    await ended(bench, POLICIES[policy])


async def the_id(bench) -> str:
    return (await bench.reader.latest(count=1))[0].reservation_id


@pytest.mark.parametrize("sent", [(), (STREAM_START,), BEGUN])
async def test_an_app_that_thinks_is_not_idle(bench, sent):
    """However long: whoever waits for it has taken all that there was, and its cost is still to come."""
    gate = Gate()
    guard = bench.guard(ScriptedApp(*sent, gate, *([] if sent else [STREAM_START]), *REST))
    task = asyncio.create_task(call(guard, TALK, headers=bearer()))
    await gate.reached()
    await beat(guard, after_s=MAX_S - 1)
    gate.open()
    assert (await task).is_complete
    await ended(bench, "0.29")


async def test_a_reader_that_takes_something_now_and_then_is_not_idle(bench):
    guard = bench.guard(ScriptedApp(*BEGUN, *REST))
    played = SlowReader(TALK, headers=bearer(), takes=2)
    task = asyncio.create_task(played.run(guard))
    await played.gate.reached()
    await beat(guard, after_s=IDLE_S - 1)
    played.gate.open()
    await task
    await ended(bench, "0.29")


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_body_that_stalls_is_ended(bench, policy):
    """Longer than we read; the app waits for the rest of it."""
    app = ScriptedApp(*BEGUN, *REST)
    guard = bench.guard(app, on_abort=policy, max_body_bytes="10", limits="key=1000/month", unknown_model="0/1")
    stalls, resumes = Gate(), Gate()

    class Stalling(PlayedRequest):
        async def _receive(self):
            if self._n_received == 1:
                stalls.open()
                await resumes.wait()
            return await super()._receive()

    played = Stalling([b"x" * 20, b"y"], headers=bearer())
    task = asyncio.create_task(played.run(guard))
    await stalls.wait()
    await resumes.reached()
    assert await bench.reader.holds()
    await beat(guard, after_s=IDLE_S + 1)
    await guard.ledger._tasks.drain(timeout_s=30)
    assert not await bench.reader.holds()
    resumes.open()
    await task
    assert app.bodies == [b"x" * 20], "the app hears that the client has gone"
    assert isinstance(played.raised, ConnectionAbortedError)


@pytest.mark.parametrize(("policy", "spent"), [("partial", "0.00"), ("input", "0.05"), ("full", "0.65")])
async def test_after_its_longest_life_a_hold_is_ended(bench, policy, spent, caplog):
    gate = Gate()
    late = json_answer({"choices": [], "usage": usage(600, 50)})
    guard = bench.guard(ScriptedApp(gate, *late), on_abort=policy)
    played = PlayedRequest({**TALK, "stream": False}, headers=bearer())
    task = asyncio.create_task(played.run(guard))
    await gate.reached()
    await beat(guard, after_s=MAX_S - 1)
    assert await bench.reader.holds()
    await beat(guard, after_s=MAX_S + 1)
    await guard.ledger._tasks.drain(timeout_s=30)
    await ended(bench, spent)
    assert "of $0.65 is ended by its abort rule: older than BUDGET_MAX_HOLD_S=21600" in caplog.text
    gate.open()
    await task
    assert isinstance(played.raised, ConnectionAbortedError)
    assert not played.messages
    await ended(bench, spent)
    true_cost = f"was ended at ${spent} before its answer reported the true cost of $0.77; the difference is not booked"
    assert caplog.text.count(true_cost) == 1


async def test_an_app_that_drains_hears_of_the_end(bench):
    """With `drain` it is not told that its client has gone, and might wait for ever for something to end."""
    gone = Gate()

    async def listen(receive, send):
        gone.open()
        await client_gone(receive, send)

    guard = bench.guard(ScriptedApp(*BEGUN, listen), on_abort="drain")
    task = asyncio.create_task(call(guard, TALK, headers=bearer(), leaves_after=len(BEGUN)))
    await gone.wait()
    await beat(guard, after_s=MAX_S + 1)
    await task
    await ended(bench, "0.17")


async def test_endings_by_the_ledger_are_counted_by_their_reason(memory, monkeypatch):
    counted = []
    for after_s, takes in ((IDLE_S + 1, 3), (MAX_S + 1, 1_000)):
        gate = Gate()
        guard = memory.guard(ScriptedApp(*BEGUN, gate, *REST))
        metrics = guard.ledger.telemetry.metrics
        monkeypatch.setattr(metrics, "is_received", True)
        monkeypatch.setattr(metrics, "count_request", lambda **told: counted.append(told))
        played = SlowReader(TALK, headers=bearer(), takes=takes)
        task = asyncio.create_task(played.run(guard))
        await (played.gate if takes == 3 else gate).reached()
        await beat(guard, after_s=after_s)
        played.gate.open()
        gate.open()
        await task
    assert [told["status"] for told in counted] == ["idle", "too_long"]
