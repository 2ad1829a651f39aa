"""Each recording, played through a guard: the client gets every byte, and what is booked stands in the file."""

import json
import re
from collections import Counter
from typing import Any

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.core.costs.bill import unpack
from budget_middleware.core.money import usd_from_nanos
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock, ScriptedApp, call, chunk, start
from tests.recordings.recording_files import KEY, PRICES, RECORDED, Recording, read, recordings
from tests.sessions.socket import Socket
from tests.stores.audit import audit
from tests.stores.verbs import whole_journal

RECORDINGS = recordings()
AUTHORIZED = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize("name", RECORDINGS)
async def test_what_was_recorded_is_booked_as_it_says(name: str):
    recording = RECORDINGS[name]
    store = MemoryStore(clock_ms=MovableClock())
    for exchange in recording.exchanges:
        await _play(exchange, store)
    await audit(store)
    assert await _booked(store) == recording.booked


async def _play(exchange: dict[str, Any], store: MemoryStore) -> None:
    if "session" in exchange:
        await _play_session(exchange["session"], store)
        return
    request, response = exchange["request"], exchange["response"]
    headers = [(name.encode(), value.encode()) for name, value in response["headers"].items()]
    chunks = [read(each) for each in response["body"]]
    app = ScriptedApp({**start(response["status"]), "headers": headers}, *map(chunk, chunks), chunk(is_last=True))
    guard = _guard(app, store)
    played = await call(
        guard,
        read(request["body"]),
        method=request["method"],
        path=request["path"],
        headers={**request["headers"], **AUTHORIZED},
        scope={"query_string": request["query"].encode()},
    )
    assert (played.status, played.body) == (response["status"], b"".join(chunks))
    await guard.ledger.drain()


async def _play_session(session: dict[str, Any], store: MemoryStore) -> None:
    """The client sends its next event once it has all that the server said before it."""
    guard = _guard(_Provider(session["events"]), store)
    socket = Socket(guard, token=KEY, path=session["path"], **session["headers"])
    assert (await socket.message())["type"] == "websocket.accept"
    for who, event in session["events"]:
        if who == "client":
            socket.send(read(event) if isinstance(event, dict) else event)
        else:
            assert await socket.event() == json.loads(read(event))
    await socket.leave()
    await guard.ledger.drain()


class _Provider:
    """Says what the server has said, when the client has said what came before it."""

    def __init__(self, events: list[list[Any]]) -> None:
        self._events = events

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        for who, event in self._events:
            if who == "client":
                await receive()
            elif isinstance(event, dict):
                await send({"type": "websocket.send", "bytes": read(event)})
            else:
                await send({"type": "websocket.send", "text": event})
        await receive()


def _guard(app: Any, store: MemoryStore) -> BudgetMiddleware:
    return BudgetMiddleware(app, store=store, prices=str(PRICES), limits="key=1/day", estimate="expected")


async def _booked(store: MemoryStore) -> dict[str, Any]:
    views = await store.counters(f"key:{key_id(KEY)}")
    assert {view.balance.reserved for view in views} == {0}
    usage: Counter[str] = Counter()
    for entry in await whole_journal(store):
        bill = unpack(entry.bill)
        usage.update(bill.counts if bill is not None else {})
    return {"cost_usd": usd_from_nanos(sum(view.balance.spent for view in views)), "usage": dict(usage)}


def test_each_call_is_recorded_and_each_recording_has_its_call():
    # Read, and not imported: the clients take many seconds to load.
    calls = re.findall(r'Call\(\s*"([\w-]+)",\s*"(\w+)"', (RECORDED.parent / "calls.py").read_text("utf-8"))
    assert sorted(map(".".join, calls)) == sorted(RECORDINGS)


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_no_recording_has_a_credential(path: Any):
    text = path.read_text("utf-8").lower()
    assert not re.search(r"sk-|bearer|authorization|x-goog-api-key|api[-_]key|[?&\"]key=", text)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_file_is_what_the_recorder_writes(name: str):
    recording: Recording = RECORDINGS[name]
    assert recording.exchanges
    assert set(recording.booked) == {"cost_usd", "usage"}
