"""Calls that go around the gateway: what a sideband watches is metered, the rest counts at the ceiling's rate."""

import asyncio
import json
from typing import NamedTuple

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Op
from budget_middleware.core.units import Unit
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import call
from tests.request.wire import KEY, bearer
from tests.sessions.realtime import created, delta, of_session, session, whole
from tests.sessions.socket import Socket
from tests.stores.verbs import whole_journal

# Two cents a second at most: 20 tokens of sound. A token of text is half a tenth of a cent.
VOICE = """
[models.voice]
input = 0
output = 500
output_audio = 1000
"""
CALLS = "/v1/realtime/calls"
UPDATED = of_session("updated", session(model="voice"))
CREATED = of_session("created", session(model="voice"))


class Provider:
    """The app: its calls have an address each, and end by a hang-up; a sideband says what the test has it say."""

    def __init__(self):
        self.sidebands = []
        self.statuses = {}
        self.says = {}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            self.sidebands.append(send)
            while (await receive())["type"] != "websocket.disconnect":
                pass
        else:
            path = scope["path"]
            headers = [(b"location", f"{path}/rtc_1".encode())] if path.endswith("/calls") else []
            headers += [(b"content-type", b"application/json")]
            body = b'{"session": {"id": "rtc_1"}}' if path.endswith("/client_secrets") else self.says.get(path, b"")
            await send({"type": "http.response.start", "status": self.statuses.get(path, 200), "headers": headers})
            await send({"type": "http.response.body", "body": body})


class Worker(NamedTuple):
    """A gateway of the test, and its client."""

    guard: BudgetMiddleware
    provider: Provider
    sockets: list[Socket]

    async def post(self, path, body=None, **headers):
        asked = {**bearer(), **headers}
        answer = await call(self.guard, body or {"session": {"model": "voice"}}, path=path, headers=asked)
        return answer.status

    async def attach(self, *, query=b"call_id=rtc_1", path="/v1/realtime"):
        socket = Socket(self.guard, path=path, query=query)
        assert (await socket.message())["type"] == "websocket.accept"
        self.sockets.append(socket)
        await self.say(CREATED)
        return socket

    async def say(self, *events, sideband=-1):
        for event in events:
            await self.provider.sidebands[sideband]({"type": "websocket.send", "text": json.dumps(event)})

    async def work(self):
        """Until what goes on in the background is done."""
        await self.guard.ledger._tasks.drain(timeout_s=10)


@pytest.fixture
async def open_worker(bench, tmp_path, monkeypatch):
    prices = tmp_path / "voice.toml"
    prices.write_text(VOICE)
    monkeypatch.setattr("budget_middleware.sessions.call_watch.monotonic", lambda: bench.clock() / 1_000)

    sockets: list[Socket] = []

    def open_one(**settings):
        provider = Provider()
        given = {"limits": "key=90/month", "prices": str(prices), "realtime_direct": "hold", "realtime_direct_s": "100"}
        guard = bench.guard(provider, **{**given, **settings})
        # The store's clock, without what passes of this machine's own between two of its replies.
        monkeypatch.setattr(guard.ledger, "store_time_ms", bench.clock)
        return Worker(guard, provider, sockets)

    yield open_one
    for socket in sockets:
        await socket.leave()


async def settled(bench, *workers):
    for worker in workers:
        await worker.work()
    return await figures(bench)


async def figures(bench):
    views = await bench.reader.counters(KEY)
    return tuple(round(figure / 10**9, 4) for figure in views[0].balance) if views else (0, 0)


async def test_f69_what_was_watched_is_metered_and_the_rest_at_the_ceilings_rate(bench, open_worker):
    worker = open_worker()
    assert await worker.post(CALLS) == 200
    assert await settled(bench, worker) == (0, 2)
    bench.clock.advance(s=2)
    socket = await worker.attach()
    await worker.say(*whole(100))
    bench.clock.advance(s=48)
    await worker.say(*whole(100, "resp_2"))
    await socket.leave()
    assert await settled(bench, worker) == (0.1, 2)
    bench.clock.advance(s=10)
    assert await worker.post(f"{CALLS}/rtc_1/hangup") == 200
    # Two seconds before, with what may have been made in them and be heard in eighteen more, and ten behind.
    assert await settled(bench, worker) == (0.7, 0)


async def watch(worker, bench, *, seconds, tokens=0):
    """Attach, see a response at the end of so many seconds, and leave."""
    socket = await worker.attach()
    bench.clock.advance(s=seconds)
    await worker.say(*(whole(tokens, f"resp_{seconds}") if tokens else [UPDATED]))
    await socket.leave()


async def test_f69_an_accepted_telephone_call_is_corrected_too(bench, open_worker):
    worker = open_worker()
    assert await worker.post(f"{CALLS}/rtc_1/accept", {"type": "realtime", "model": "voice"}) == 200
    await watch(worker, bench, seconds=30, tokens=100)
    bench.clock.advance(s=10)
    assert await worker.post(f"{CALLS}/rtc_1/hangup") == 200
    assert await settled(bench, worker) == (0.25, 0)


async def test_f69_whoever_leaves_and_talks_on_pays_for_it(bench, open_worker):
    worker, other = open_worker(), open_worker()
    await worker.post(CALLS)
    await watch(worker, bench, seconds=30, tokens=100)
    bench.clock.advance(s=1)
    await watch(worker, bench, seconds=10, tokens=100)
    assert await settled(bench, worker) == (0.1, 2)
    bench.clock.advance(s=700)
    # Whoever's call of the store finds that its deadline is over: here another worker's.
    await other.guard.ledger.sweep()
    # Ten seconds behind the first watch: one, and nine in which may be heard what was made meanwhile.
    assert await settled(bench, worker, other) == (1.48, 0)


async def test_one_that_nobody_watched_is_booked_at_its_ceiling(bench, open_worker):
    worker = open_worker()
    await worker.post(CALLS)
    bench.clock.advance(s=700)
    await worker.guard.ledger.sweep()
    assert await settled(bench, worker) == (2, 0)
    assert Op.FINALIZE not in await bench.ops()


async def test_one_that_is_hung_up_costs_no_more_than_its_time(bench, open_worker):
    worker, other = open_worker(), open_worker()
    await worker.post(CALLS)
    bench.clock.advance(s=15)
    assert await other.post(f"{CALLS}/rtc_1/hangup") == 200
    assert await settled(bench, other) == (0.3, 0)
    (entry,) = [entry for entry in await whole_journal(bench.reader) if entry.op is Op.FINALIZE]
    assert entry.reason == "estimated_unwatched, 15 s, job rtc_1"


async def test_its_tokens_are_those_of_its_time(bench, open_worker):
    worker = open_worker(limits="key=20000 tokens/month")
    await worker.post(CALLS)
    bench.clock.advance(s=20)
    await worker.post(f"{CALLS}/rtc_1/hangup")
    await worker.work()
    (view,) = [view for view in await bench.reader.counters(KEY) if view.counter.unit is Unit.TOKENS]
    # A fifth of 1,000 heard, 2,000 spoken, and 13,500 read again.
    assert view.balance == Balance(spent=3_300)


async def test_however_long_it_is_it_costs_no_more_than_its_ceiling(bench, open_worker):
    worker = open_worker()
    await worker.post(CALLS)
    bench.clock.advance(s=650)
    await worker.post(f"{CALLS}/rtc_1/hangup")
    assert await settled(bench, worker) == (2, 0)


async def test_f69_it_is_booked_once_whoever_hangs_up(bench, open_worker):
    workers = [open_worker() for _ in range(4)]
    await workers[0].post(CALLS)
    bench.clock.advance(s=15)
    await asyncio.gather(*(worker.post(f"{CALLS}/rtc_1/hangup") for worker in workers))
    assert await settled(bench, *workers) == (0.3, 0)
    assert (await bench.ops()).count(Op.FINALIZE) == 1


@pytest.mark.parametrize("meant", ["OPTIONS", "head", "GET", "DELETE"])
async def test_a_hangup_that_may_be_meant_otherwise_ends_nothing(bench, open_worker, meant):
    """What is answered 2xx to another method has hung up nobody."""
    worker = open_worker()
    await worker.post(CALLS)
    bench.clock.advance(s=2)
    assert await worker.post(f"{CALLS}/rtc_1/hangup", **{"x-http-method-override": meant}) == 200
    assert await settled(bench, worker) == (0, 2)
    assert await worker.post(f"{CALLS}/rtc_1/hangup", **{"x-http-method-override": ""}) == 200
    spent, held = await settled(bench, worker)
    assert (spent < 1, held) == (True, 0)


async def test_f69_a_hangup_waits_for_what_another_worker_watches(bench, open_worker):
    worker, other = open_worker(), open_worker()
    await worker.post(CALLS)
    socket = await worker.attach()
    await worker.work()
    bench.clock.advance(s=40)
    await worker.say(*whole(100))
    assert await other.post(f"{CALLS}/rtc_1/hangup") == 200
    assert await settled(bench, other) == (0.05, 2)
    await socket.leave()
    assert await settled(bench, worker) == (0.05, 0)


async def test_a_sideband_whose_worker_has_died_keeps_nobody_waiting_beyond_the_deadline(bench, open_worker):
    worker, other = open_worker(), open_worker()
    await worker.post(CALLS)
    await worker.attach()
    await worker.work()
    bench.clock.advance(s=40)
    await other.post(f"{CALLS}/rtc_1/hangup")
    assert await settled(bench, other) == (0, 2)
    bench.clock.advance(s=660)
    await other.guard.ledger.sweep()
    # Nothing but its first event is known to have been watched.
    assert await settled(bench, other) == (0.8, 0)


async def test_what_is_watched_is_kept_while_it_goes_on(bench, open_worker):
    worker, other = open_worker(realtime_direct_s="200"), open_worker()
    await worker.post(CALLS)
    await worker.attach()
    for _ in range(7):
        bench.clock.advance(s=10)
        await worker.say(UPDATED)
    await worker.work()
    bench.clock.advance(s=800)
    await other.guard.ledger.sweep()
    # After a minute it was kept that it was watched until then.
    assert await settled(bench, other) == (2.8, 0)


async def test_f69_two_sidebands_watch_no_more_than_one(bench, open_worker):
    worker = open_worker()
    await worker.post(CALLS)
    sockets = [await worker.attach(), await worker.attach()]
    bench.clock.advance(s=30)
    for sideband in (0, 1):
        await worker.say(UPDATED, sideband=sideband)
    for socket in sockets:
        await socket.leave()
    bench.clock.advance(s=10)
    await worker.post(f"{CALLS}/rtc_1/hangup")
    assert await settled(bench, worker) == (0.2, 0)


async def test_f69_of_two_sidebands_one_books_what_both_see(bench, open_worker):
    worker, other = open_worker(), open_worker()
    await worker.post(CALLS)
    await worker.attach()
    await other.attach()
    for each in (worker, other, worker):
        await each.say(*whole(100), *whole(60, "resp_2"))
    assert await settled(bench, worker, other) == (0.08, 2)


async def test_f69_what_answers_behind_another_path_books_nothing_of_a_call(bench, open_worker):
    worker = open_worker()
    await worker.post(CALLS)
    await worker.attach(path="/echo/v1/realtime")
    await worker.say(*whole(1))
    await worker.attach()
    await worker.say(*whole(100))
    assert await settled(bench, worker) == (0.0505, 2)


async def test_a_sideband_without_a_ticket_books_what_it_sees_once_too(bench, open_worker):
    worker = open_worker()
    await worker.attach(query=b"call_id=rtc_9")
    await worker.attach(query=b"call_id=rtc_9")
    for sideband in (0, 1):
        await worker.say(*whole(100), sideband=sideband)
    assert await settled(bench, worker) == (0.05, 0)


async def test_f69_a_response_that_a_sideband_leaves_goes_on(bench, open_worker):
    worker = open_worker(on_abort="partial", default_output_tokens="500")
    await worker.post(CALLS)
    socket = await worker.attach()
    bench.clock.advance(s=10)
    await worker.say(created(), delta())
    bench.clock.advance(s=20)
    await worker.say(delta())
    await socket.leave()
    await worker.post(f"{CALLS}/rtc_1/hangup")
    # The estimate of the response, 500 tokens of sound or text, and the time since it has begun.
    spent, held = await settled(bench, worker)
    assert (round(spent - 0.4, 4) in (0.25, 0.5), held) == (True, 0)


NO_PROOF = {
    "the provider does not confirm it": (f"{CALLS}/rtc_1/hangup", 404),
    "another call": (f"{CALLS}/rtc_2/hangup", 200),
    "something that answers behind another path": ("/mcp/v1/realtime/calls/rtc_1/hangup", 200),
    "steps back": ("/x/../v1/realtime/calls/rtc_1/hangup", 200),
    "a transfer, of which nothing may come": (f"{CALLS}/rtc_1/refer", 200),
    "a refusal of what rings": (f"{CALLS}/rtc_1/reject", 200),
}


@pytest.mark.parametrize("name", NO_PROOF)
async def test_f69_what_proves_no_end_changes_nothing(bench, open_worker, name):
    path, status = NO_PROOF[name]
    worker = open_worker()
    worker.provider.statuses[path] = status
    await worker.post(CALLS)
    bench.clock.advance(s=15)
    assert await worker.post(path) == status
    assert await settled(bench, worker) == (0, 2)


GONE = json.dumps({"error": {"message": "No such call.", "code": "call_id_not_found"}}).encode()
NOT_FOUND = b'{"detail": "Not Found"}'


@pytest.mark.parametrize(
    ("gone", "says", "booked"),
    [("ended", GONE, (0.3, 0)), ("unproven", GONE, (0, 2)), ("ended", NOT_FOUND, (0, 2)), ("ended", b"", (0, 2))],
    ids=["by the operator's word", "without it", "a gateway without such a route", "nothing"],
)
async def test_f69_a_call_that_is_gone_has_ended_by_the_operators_word(bench, open_worker, gone, says, booked):
    path = f"{CALLS}/rtc_1/hangup"
    worker = open_worker(realtime_gone=gone)
    worker.provider.statuses[path], worker.provider.says[path] = 404, says
    await worker.post(CALLS)
    bench.clock.advance(s=15)
    assert await worker.post(path) == 404
    assert await settled(bench, worker) == booked


NO_SIDEBAND = {
    "a session of its own": (b"model=voice&call_id=rtc_1", "/v1/realtime"),
    "of two calls": (b"call_id=rtc_1&call_id=rtc_2", "/v1/realtime"),
    "of two calls, for some": (b"x=1;call_id=rtc_2&call_id=rtc_1", "/v1/realtime"),
    "of another call": (b"call_id=rtc_2", "/v1/realtime"),
    "something that answers behind another path": (b"call_id=rtc_1", "/echo/v1/realtime"),
}


@pytest.mark.parametrize("name", NO_SIDEBAND)
async def test_f69_what_is_no_sideband_of_the_call_watches_nothing(bench, open_worker, name):
    query, path = NO_SIDEBAND[name]
    worker = open_worker()
    await worker.post(CALLS)
    socket = await worker.attach(query=query, path=path)
    bench.clock.advance(s=40)
    await worker.say(UPDATED)
    await socket.leave()
    await worker.post(f"{CALLS}/rtc_1/hangup")
    assert await settled(bench, worker) == (0.8, 0)


async def test_f69_a_secret_may_open_several_so_nothing_ends_it(bench, open_worker):
    worker = open_worker()
    assert await worker.post("/v1/realtime/client_secrets") == 200
    bench.clock.advance(s=15)
    assert await worker.post(f"{CALLS}/rtc_1/hangup") == 200
    assert await settled(bench, worker) == (0, 2)


async def test_f69_what_the_operator_has_released_stays_so(bench, open_worker):
    worker = open_worker()
    await worker.post(CALLS)
    await watch(worker, bench, seconds=30)
    (ticket,) = await bench.reader.holds()
    await worker.guard.ledger.expire(ticket.id, reason="by hand")
    bench.clock.advance(s=10)
    await worker.post(f"{CALLS}/rtc_1/hangup")
    assert await settled(bench, worker) == (0, 0)


async def test_without_a_price_all_time_is_alike(bench, open_worker):
    worker = open_worker(job_estimate_usd="5")
    await worker.post(CALLS, {"session": {}})
    await watch(worker, bench, seconds=30)
    bench.clock.advance(s=10)
    await worker.post(f"{CALLS}/rtc_1/hangup")
    assert await settled(bench, worker) == (0.5, 0)


@pytest.mark.parametrize(("failures", "booked"), [(2, (0.3, 0)), (10, (0, 2))], ids=["not for long", "for long"])
async def test_while_the_store_is_away_a_hangup_is_kept_in_mind(bench, open_worker, monkeypatch, failures, booked):
    monkeypatch.setattr("budget_middleware.request.jobs.direct_calls.RETRY_S", (0, 0, 0))
    worker = open_worker()
    await worker.post(CALLS)
    left = iter(range(failures))

    async def fail():
        if next(left, None) is not None:
            raise StoreUnavailable("away")

    bench.store_of(worker.guard).before["texts"] = fail
    bench.clock.advance(s=15)
    assert await worker.post(f"{CALLS}/rtc_1/hangup") == 200
    assert await settled(bench, worker) == booked
