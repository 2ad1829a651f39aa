"""Bodies that are being read are bounded in sum and in time, and the sum is exact whatever becomes of a request."""

import asyncio
import gzip
import json

import pytest

from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call
from tests.request.wire import ask, bearer, completion

BODY = json.dumps(ask(1, x="y" * 4_000)).encode()


class Slow(PlayedRequest):
    """A client that waits at a gate after so many parts of its body."""

    def __init__(self, parts, *, waits_after, gate, **options):
        super().__init__(parts, headers=bearer(), **options)
        self._waits_after = waits_after
        self._gate = gate
        self._n_sent = 0

    async def _receive(self):
        if self._n_sent == self._waits_after:
            await self._gate.wait()
        self._n_sent += 1
        return await super()._receive()


def in_hand(guard):
    return guard._responder.in_hand.current().n_bytes


async def test_f59_the_sum_is_bounded(memory):
    """Of six bodies of 4 kB two fit; when these are through there is room again."""
    app = ScriptedApp(*completion(0))
    guard = memory.guard(app, max_bodies_bytes="9000")
    gate = Gate()
    first = [Slow([BODY[:-1], BODY[-1:]], waits_after=1, gate=gate) for _ in range(2)]
    running = [asyncio.create_task(each.run(guard)) for each in first]
    await gate.reached(2)
    assert in_hand(guard) == 2 * (len(BODY) - 1)
    for parts in (BODY, [BODY[:2_000], BODY[2_000:]]):
        played = await call(guard, parts, headers=bearer())
        assert (played.status, app.scopes) == (503, [])
        assert played.headers["retry-after"] == "1"
        assert played.headers["x-should-retry"] == "true"
        assert played.json()["error"]["code"] == "budget_busy"
        assert "BUDGET_MAX_BODIES_BYTES" in played.json()["error"]["message"]
    assert in_hand(guard) == 2 * (len(BODY) - 1)
    gate.open()
    await asyncio.gather(*running)
    assert [each.status for each in first] == [200, 200]
    assert in_hand(guard) == 0
    assert (await call(guard, BODY, headers=bearer())).status == 200


async def test_f59_what_does_not_fit_is_refused_unread(memory):
    guard = memory.guard(ScriptedApp(), max_bodies_bytes="3000")
    asked = 0

    async def receive():
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": BODY}

    played = PlayedRequest(BODY, headers=bearer())
    await guard(played.scope, receive, played._send)
    assert (played.status, asked) == (503, 0)


@pytest.mark.parametrize("parts", [[BODY[:-1], BODY[-1:]], [b"", BODY]], ids=["nearly all", "nothing"])
async def test_f59_a_body_that_stalls(memory, parts):
    app = ScriptedApp(*completion(0))
    guard = memory.guard(app, body_timeout_s="0.1")
    played = Slow(parts, waits_after=1, gate=Gate())
    await played.run(guard)
    assert (played.status, app.scopes) == (408, [])
    assert played.json()["error"]["code"] == "budget_body_too_slow"
    assert in_hand(guard) == 0
    assert await memory.accounts() == set()


async def test_f59_a_byte_now_and_then_is_a_stall_too(memory):
    """It never waits for long, and it never ends."""
    app = ScriptedApp(*completion(0))
    guard = memory.guard(app, body_timeout_s="0.3")
    sent = 0

    async def receive():
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    played = PlayedRequest(b"", headers=bearer())
    async with asyncio.timeout(60):
        await guard(played.scope, receive, played._send)
    assert (played.status, app.scopes) == (408, [])
    assert 1 < sent <= 31
    assert in_hand(guard) == 0


async def test_f59_the_app_may_take_its_time(memory):
    """What is bounded is how long a body comes, not how long the answer takes."""
    gate = Gate()
    guard = memory.guard(ScriptedApp(gate, *completion(0)), body_timeout_s="0.1")
    running = asyncio.create_task(call(guard, BODY, headers=bearer()))
    await gate.reached()
    assert in_hand(guard) == 0
    await asyncio.sleep(0.2)
    gate.open()
    assert (await running).status == 200


@pytest.mark.parametrize("packed", [False, True])
async def test_f59_a_cancelled_request_gives_back_what_it_had(memory, packed):
    body = gzip.compress(BODY) if packed else BODY
    gate = Gate()
    guard = memory.guard(ScriptedApp(*completion(0)))
    slow = Slow([body[:10], body[10:]], waits_after=1, gate=gate)
    running = asyncio.create_task(slow.run(guard))
    await gate.reached()
    assert in_hand(guard) == 10
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert in_hand(guard) == 0


async def test_f59_also_while_the_reserve_is_under_way(memory):
    gate = Gate()
    guard = memory.guard(ScriptedApp(*completion(0)))
    memory.store_of(guard).before["reserve"] = gate.wait
    packed = gzip.compress(BODY)
    headers = {**bearer(), "content-encoding": "gzip"}
    running = asyncio.create_task(call(guard, packed, headers=headers))
    await gate.reached()
    assert in_hand(guard) == len(BODY) + len(packed)
    running.cancel()
    gate.open()
    await asyncio.gather(running, return_exceptions=True)
    assert in_hand(guard) == 0


async def test_f59_an_app_that_reads_nothing_keeps_nothing(memory):
    async def app(scope, receive, send):
        for message in completion(0):
            await send(message)

    guard = memory.guard(app)
    assert (await call(guard, BODY, headers=bearer())).status == 200
    assert in_hand(guard) == 0


async def test_f59_a_client_that_leaves(memory):
    guard = memory.guard(ScriptedApp())
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    await guard(PlayedRequest(b"", headers=bearer()).scope, receive, None)
    assert in_hand(guard) == 0


@pytest.mark.parametrize("setting", [{"max_bodies_bytes": "3000"}, {"body_timeout_s": "0.1"}], ids=str)
async def test_f59_in_shadow_mode_nothing_is_refused(memory, setting):
    app = ScriptedApp(*completion(0))
    gate = Gate()
    guard = memory.guard(app, mode="shadow", **setting)
    slow = Slow([BODY[:-1], BODY[-1:]], waits_after=1, gate=gate)
    running = asyncio.create_task(slow.run(guard))
    await gate.reached(1 if "max_bodies_bytes" in setting else 2)
    gate.open()
    await running
    assert (slow.status, app.bodies) == (200, [BODY])
    assert in_hand(guard) == 0
