"""Design: aborts. Whatever breaks an answer off, wherever: the documented charge, no hold, exactly one ending.

Input .05, a hundred chunks seen .12, estimate .65, and an answer that runs to its usage costs .29.
"""

import asyncio

import pytest
from starlette.middleware.base import BaseHTTPMiddleware

from budget_middleware.core.statuses import Op
from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call, client_gone, event
from tests.request.wire import DONE, LAST, STREAM_START, TALK, bearer, delta, usage_event, words

POLICIES = ("partial", "input", "full", "release", "drain")
PLACES = {"before output": (), "after start": (STREAM_START,), "after chunks": (STREAM_START, *words(100))}
CUT_OFF = {
    # What an answer books that never reaches its usage, by policy: without any output, and after it.
    "partial": ("0.00", "0.17"),
    "input": ("0.05", "0.05"),
    "full": ("0.65", "0.65"),
    "release": ("0.00", "0.00"),
    "drain": ("0.00", "0.17"),
}
BROKEN = CUT_OFF | {"input": ("0.05", "0.17"), "full": ("0.65", "0.17")}
ACTUAL = "0.29"
USAGE = event(usage_event(200, 50))


def rest_of(sent):
    """What completes an answer of which so much was sent."""
    return [USAGE, DONE, LAST] if sent else [STREAM_START, USAGE, DONE, LAST]


async def disconnect_then_return(guard, app, sent):
    """The app listens for the client, as Starlette's streams do, and returns without a last message."""
    app.script = [*sent, client_gone]
    return await call(guard, TALK, headers=bearer(), leaves_after=len(sent))


async def disconnect_then_final(guard, app, sent):
    """As BaseHTTPMiddleware inside of us ends it: with a last message, as if the stream had been whole."""
    app.script = [*sent, client_gone, *([] if sent else [STREAM_START]), LAST]
    return await call(guard, TALK, headers=bearer(), leaves_after=len(sent))


async def return_without_final(guard, app, sent):
    app.script = sent
    return await call(guard, TALK, headers=bearer())


async def cancelled_inside(guard, app, sent):
    app.script = [*sent, asyncio.CancelledError()]
    return await call(guard, TALK, headers=bearer())


async def cancelled(guard, app, sent):
    """A server that cancels the request's task."""
    gate = Gate()
    app.script = [*sent, gate]
    played = PlayedRequest(TALK, headers=bearer())
    task = asyncio.create_task(played.run(guard))
    await gate.reached()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    return played


async def cancelled_twice(guard, app, sent):
    """The second one comes while the first one's ending waits for the store."""
    gate, at_store = Gate(), Gate()
    store = guard.ledger.store
    store.before |= {"finalize": at_store.wait, "release": at_store.wait}
    app.script = [*sent, gate]
    played = PlayedRequest(TALK, headers=bearer())
    task = asyncio.create_task(played.run(guard))
    await gate.reached()
    task.cancel()
    await at_store.reached()
    task.cancel()
    await asyncio.wait([task])
    at_store.open()
    return played


async def scope_cancelled(guard, app, sent):
    """A BaseHTTPMiddleware outside of us that fails cancels us in its anyio scope, at every await."""
    gate = Gate()

    async def fail_or_forward(request, call_next):
        if sent:
            return await call_next(request)
        answer = asyncio.create_task(call_next(request))
        await gate.reached()
        answer.cancel()
        raise OSError("the client has gone")

    app.script = [*sent, gate]
    outside = BaseHTTPMiddleware(guard, fail_or_forward)
    return await call(outside, TALK, headers=bearer(), breaks_after=max(len(sent) - 1, 0))


CLIENT_GONE = (
    disconnect_then_return,
    disconnect_then_final,
    return_without_final,
    cancelled_inside,
    cancelled,
    cancelled_twice,
    scope_cancelled,
)


async def assert_ended_once(bench, spent):
    assert await bench.figures() == (spent, "0.00")
    assert await bench.ops() == [Op.RESERVE, Op.RELEASE if spent == "0.00" else Op.FINALIZE]


# With drain the app is not told that the client has gone: see test_drain.
CUTS = [
    pytest.param(policy, how, id=f"{policy}-{how.__name__}")
    for policy in POLICIES
    for how in CLIENT_GONE
    if policy != "drain" or how not in (disconnect_then_return, disconnect_then_final)
]


@pytest.mark.parametrize(("policy", "how"), CUTS)
@pytest.mark.parametrize("where", PLACES)
async def test_cut_off(bench, policy, where, how):
    app = ScriptedApp()
    guard = bench.guard(app, on_abort=policy)
    await how(guard, app, PLACES[where])
    await assert_ended_once(bench, CUT_OFF[policy][where == "after chunks"])


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("policy", POLICIES)
async def test_upstream_breaks_by_itself(bench, policy, where):
    error = ConnectionResetError("upstream")
    guard = bench.guard(ScriptedApp(*PLACES[where], error), on_abort=policy)
    played = await call(guard, TALK, headers=bearer())
    assert played.raised is error
    await assert_ended_once(bench, BROKEN[policy][where == "after chunks"])


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("policy", POLICIES)
async def test_send_raises(bench, policy, where):
    """Some servers tell an app that the client has gone by an OSError from send."""
    sent = PLACES[where]
    guard = bench.guard(ScriptedApp(*sent, *rest_of(sent)), on_abort=policy)
    played = await call(guard, TALK, headers=bearer(), breaks_after=len(sent))
    assert isinstance(played.raised, OSError) is (policy != "drain")
    # The message with the usage was read, though the client did not get it.
    has_told_usage = policy == "drain" or where != "before output"
    await assert_ended_once(bench, ACTUAL if has_told_usage else CUT_OFF[policy][0])


@pytest.mark.parametrize("where", PLACES)
async def test_send_raises_before_the_usage(bench, where):
    sent = PLACES[where]
    guard = bench.guard(ScriptedApp(*sent, *([] if sent else [STREAM_START]), event(delta("")), USAGE))
    played = await call(guard, TALK, headers=bearer(), breaks_after=len(sent))
    assert isinstance(played.raised, OSError)
    # An event without text is output all the same: the app was working.
    await assert_ended_once(bench, {"before output": "0.00", "after start": "0.05"}.get(where, "0.17"))


@pytest.mark.parametrize("where", PLACES)
async def test_drain(bench, where):
    """The app listens all the time and would stop at once, if it were told."""
    gone, work = Gate(), Gate()

    async def listen_and_work(receive, send):
        listening = asyncio.create_task(client_gone(receive, send))
        await work.wait()
        for message in rest_of(PLACES[where]):
            assert not listening.done()
            await send(message)
        # Once the answer is complete the app may know.
        await listening

    app = ScriptedApp(*PLACES[where], gone, listen_and_work)
    guard = bench.guard(app, on_abort="drain")
    task = asyncio.create_task(call(guard, TALK, headers=bearer(), leaves_after=len(PLACES[where])))
    await gone.reached()
    gone.open()
    await work.reached()
    work.open()
    await task
    await assert_ended_once(bench, ACTUAL)
