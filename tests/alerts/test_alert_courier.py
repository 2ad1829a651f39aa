"""What is sent, how often and in which order, to receivers that fail, hang, move, are gone, or take a thing twice."""

import asyncio
import base64
import hashlib
import hmac
import logging

from budget_middleware.alerts import courier, queue
from budget_middleware.alerts.board import LEASE_MS
from budget_middleware.alerts.courier import FIRST_PAUSE_MS, GIVE_UP_MS, LONGEST_PAUSE_MS, pause_ms, send
from budget_middleware.alerts.queue import read_queue
from budget_middleware.core.alerts.alerts import trial_alert
from budget_middleware.core.alerts.plan import Receiver, Shape
from budget_middleware.core.windows import Period
from budget_middleware.stores.memory.store import MemoryStore
from tests.alerts.conftest import follow
from tests.alerts.receiver import CUT, HANG, receiving
from tests.stores.verbs import adjust, finalize, target

SECRET = b"secret"
ALERT = trial_alert("budget", time_ms=1_795_012_200_000)


def account_of(taken) -> str:
    return taken.json["account"]


async def crossed_by(store, *subjects: str, usd: str = "5.00") -> None:
    for subject in subjects:
        await store.finalize(finalize(f"{subject}-{usd}", usd, target(f"key:{subject}", period=Period.DAY)))


async def states(store) -> list[tuple[str, int, str]]:
    """What has become of each alert at its one receiver: its state, tries and why."""
    return [
        (str(each.state), each.tries, each.why)
        for queued in await read_queue(store)
        for each in queued.deliveries.values()
    ]


async def test_a_webhook_is_signed_as_its_standard_says(receiver):
    answered = await send(ALERT, Receiver(Shape.WEBHOOK, receiver.url, SECRET), ledger="budget")
    assert (answered.is_taken, answered.why) == (True, "")
    (taken,) = receiver.taken
    headers = taken.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + taken.body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (headers["webhook-id"], taken.path) == (ALERT.id, "/hook?a=b")
    assert (taken.json["type"], taken.json["ledger"]) == ("budget.test", "budget")


async def test_slack_and_pagerduty_are_told_in_their_shapes(receiver):
    hostile = ALERT._replace(account="user:<@U1>", summary="user:<!here>\u202e&\n has spent")
    await send(hostile, Receiver(Shape.SLACK, receiver.url), ledger="budget")
    await send(hostile, Receiver(Shape.PAGERDUTY, receiver.url, b"R0UT1NGKEY"), ledger="budget")
    slack, pagerduty = (taken.json for taken in receiver.taken)
    assert slack["text"] == ":information_source: user:&lt;!here&gt;\\u202e&amp;\\u000a has spent"
    assert (pagerduty["routing_key"], pagerduty["event_action"]) == ("R0UT1NGKEY", "trigger")
    assert pagerduty["dedup_key"] == ALERT.topic
    assert pagerduty["payload"]["severity"] == "info"
    assert pagerduty["payload"]["custom_details"]["alert_id"] == ALERT.id


async def test_what_is_not_taken_is_sent_again_by_the_same_id(clock, make_follower, receiver):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    receiver.script = ["500 Oops", CUT, "429 Slow down"]
    await crossed_by(store, "ab")
    for tries in range(1, 5):
        await follow(follower)
        assert len(receiver.taken) == tries
        # Not before its time.
        await follow(follower)
        assert len(receiver.taken) == tries
        clock.advance(ms=FIRST_PAUSE_MS * 2**tries)
    assert await states(store) == [("sent", 4, "")]
    assert len({taken.headers["webhook-id"] for taken in receiver.taken}) == 1
    assert len({taken.body for taken in receiver.taken}) == 1


async def test_a_receiver_that_hangs_keeps_no_other_waiting(clock, make_follower, receiver):
    store = MemoryStore(clock_ms=clock)
    async with receiving() as other:
        follower = make_follower(store, f"{receiver.url}; {other.url}; audit=off", send_timeout_s=0.2)
        await follow(follower)
        receiver.answer = HANG
        await crossed_by(store, "ab", "cd")
        assert await follower.look() > 0
        await asyncio.gather(*follower.courier._tasks.values())
        assert [account_of(taken) for taken in other.taken] == ["key:ab", "key:cd"]
    whys = {why for _, _, why in await states(store)}
    assert whys == {"", "no answer within 0.2 s"}


async def test_alerts_of_one_account_come_in_order_and_one_that_fails_holds_up_no_other_account(
    clock, make_follower, receiver
):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    receiver.script = ["500 Oops"]
    await crossed_by(store, "ab", usd="10.00")
    await crossed_by(store, "cd")
    await follow(follower)
    assert [(account_of(taken), taken.json["facts"]["percent"]) for taken in receiver.taken] == [
        ("key:ab", "50"),
        ("key:cd", "50"),
    ]
    # What is new of others does not bring it back before its time.
    await crossed_by(store, "ef")
    await follow(follower)
    assert [account_of(taken) for taken in receiver.taken[2:]] == ["key:ef"]
    clock.advance(s=2)
    await follow(follower)
    assert [(account_of(taken), taken.json["facts"]["percent"]) for taken in receiver.taken[3:]] == [
        ("key:ab", "50"),
        ("key:ab", "100"),
    ]


async def test_a_receiver_that_is_down_for_an_hour_gets_all_of_it_afterwards(clock, make_follower, receiver):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    receiver.answer = "503 Down"
    names = [f"{number:02}" for number in range(20)]
    await crossed_by(store, *names)
    for _ in range(60):
        await follow(follower)
        clock.advance(s=60)
    # Three in a row mean that it is down: it is not asked for all of twenty each time.
    assert len(receiver.taken) < 60
    receiver.answer, n_before = "200 OK", len(receiver.taken)
    for _ in range(8):
        await follow(follower)
        clock.advance(s=60)
    assert {account_of(taken) for taken in receiver.taken[n_before:]} == {f"key:{name}" for name in names}
    assert {state for state, _, _ in await states(store)} == {"sent"}


async def test_an_answer_that_would_come_again_ends_the_matter(clock, make_follower, receiver, caplog):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    receiver.script = [f"307 Elsewhere\r\nlocation: {receiver.url}", "400 Bad"]
    await crossed_by(store, "ab", "cd", "ef")
    await follow(follower)
    assert await states(store) == [
        ("failed", 1, "it answers 307: redirects are not followed"),
        ("failed", 1, "it answers 400"),
        ("sent", 1, ""),
    ]
    assert len(receiver.taken) == 3
    assert "was not taken by webhook:127.0.0.1#" in caplog.text


async def test_a_receiver_that_is_gone_is_asked_no_more(clock, make_follower, receiver):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    receiver.script = ["410 Gone"]
    await crossed_by(store, "ab", "cd")
    await follow(follower)
    assert [why for _, _, why in await states(store)] == [
        "it answers 410: it is gone, remove it from BUDGET_ALERTS",
        "the receiver has answered 410",
    ]
    assert len(receiver.taken) == 1


async def test_what_nobody_takes_is_given_up_after_a_day(clock, make_follower, receiver):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    receiver.answer = "503 Down"
    await crossed_by(store, "ab")
    await follow(follower)
    clock.advance(ms=GIVE_UP_MS)
    await follow(follower)
    assert await states(store) == [("failed", 2, "given up after a day: it answers 503")]


async def test_a_receiver_says_when_to_come_again(clock, make_follower, receiver):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    receiver.script = ["429 Slow down\r\nretry-after: 600"]
    await crossed_by(store, "ab")
    await follow(follower)
    clock.advance(s=599)
    await follow(follower)
    assert len(receiver.taken) == 1
    clock.advance(s=2)
    await follow(follower)
    assert len(receiver.taken) == 2


async def test_a_queue_that_is_full_says_so_and_still_logs_each_alert(
    clock, make_follower, receiver, caplog, monkeypatch
):
    monkeypatch.setattr(queue, "WAITING_MAX", 3)
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    await follow(follower)
    receiver.answer = "503 Down"
    with caplog.at_level(logging.WARNING):
        await crossed_by(store, "ab", "cd", "ef", "12", "34")
        await follow(follower)
    assert len(await read_queue(store)) == 3
    assert caplog.text.count("no room to send it") == 2
    assert caplog.text.count("has spent $5.00") == 5
    assert follower._board.get("left_out")["alerts"] == 2
    # What has found no room is not told again.
    await follow(follower)
    assert caplog.text.count("no room to send it") == 2


async def test_what_was_sent_is_kept_for_operators_and_bounded(clock, make_follower, receiver, monkeypatch):
    monkeypatch.setattr(queue, "DONE_KEPT", 2)
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store)
    for subject in ("ab", "cd", "ef", "12", "34"):
        await follow(follower)
        await crossed_by(store, subject)
        clock.advance(s=1)
    await follow(follower)
    assert [queued.alert.account for queued in await read_queue(store)] == ["key:ef", "key:12", "key:34"]
    assert len(receiver.taken) == 5


async def test_a_worker_that_dies_before_it_notes_the_answer_sends_twice_by_one_id(clock, make_follower, receiver):
    """The receiver takes an alert twice, as the docs say, and knows it by its id."""
    store = MemoryStore(clock_ms=clock)
    first = make_follower(store, owner="one")
    await follow(first)
    await crossed_by(store, "ab")

    async def die(*_args):
        raise asyncio.CancelledError

    first._queue.put = die
    await follow(first)
    first.has_lease = False
    clock.advance(ms=LEASE_MS)
    await follow(make_follower(store, owner="two"))
    assert len(receiver.taken) == 2
    assert len({taken.headers["webhook-id"] for taken in receiver.taken}) == 1
    assert await states(store) == [("sent", 1, "")]


def test_pauses_grow_and_are_spread():
    assert [pause_ms(tries, chance=1.0) for tries in (1, 2, 3)] == [1_000, 2_000, 4_000]
    assert pause_ms(1, chance=0.0) == 500
    assert pause_ms(40, chance=1.0) == LONGEST_PAUSE_MS


async def test_no_secret_of_a_url_is_in_a_log_or_in_the_store(clock, make_follower, receiver, caplog):
    store = MemoryStore(clock_ms=clock)
    url = receiver.url.replace("/hook?a=b", "/T0KENPATH")
    follower = make_follower(store, f"slack+{url}; pagerduty+{url}#R0UTINGSECRET; {url}#whsec_S1GNING; audit=off")
    await follow(follower)
    receiver.answer = "400 Bad"
    with caplog.at_level(logging.DEBUG):
        await crossed_by(store, "ab")
        await follow(follower)
    assert len(receiver.taken) == 3
    everything = caplog.text + repr(await read_queue(store)) + repr(follower.courier._receivers)
    for secret in ("T0KENPATH", "R0UTINGSECRET", "S1GNING"):
        assert secret not in everything


async def test_a_receiver_that_speaks_no_http_or_floods_is_not_taken(clock):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0\r\n\r\n" if answers.pop() else b"x" * 300_000)
        await writer.drain()
        writer.close()

    answers = [True, False]
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    for why in ("LimitOverrunError", "does not speak HTTP/1.1"):
        answered = await send(ALERT, Receiver(Shape.WEBHOOK, url), ledger="budget")
        assert not answered.is_taken
        assert why in answered.why
    server.close()
    assert "ConnectionRefusedError" in (await send(ALERT, Receiver(Shape.WEBHOOK, url), ledger="budget")).why


async def test_an_alert_of_a_receiver_that_was_removed_waits_for_nobody(clock, make_follower, receiver):
    store = MemoryStore(clock_ms=clock)
    follower = make_follower(store, owner="one")
    await follow(follower)
    receiver.answer = "503 Down"
    await store.adjust(adjust("a1", "5.00", target("key:ab", period=Period.DAY)))
    await follow(follower)
    await follower.stop(timeout_s=5)
    other = make_follower(store, "log; audit=off", owner="two")
    clock.advance(ms=courier.GIVE_UP_MS)
    await follow(other)
    assert await states(store) == [("failed", 1, "no longer in BUDGET_ALERTS")]
