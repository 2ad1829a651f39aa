"""A session behind a guard in another process, both on one ledger: each of its calls is booked once."""

import json
import re

import pytest

from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import Op
from tests.request.wire import KEY
from tests.sessions import live, realtime
from tests.sessions.responses import completed, create, created, delta, whole
from tests.sessions.socket import ScriptedProvider, guard_of, opened
from tests.stores.verbs import whole_journal

TOKEN = 1_000_000
FIELD = "x_budget_reservation"


class Gateway:
    """Passes a session on to a guard, as over a network; `rewrites` its messages, as one that parses events."""

    def __init__(self, inner, *, key="sk-one", drops=(), rewrite=lambda text: text):
        self._inner = inner
        self._key = key
        self._drops = drops
        self._rewrite = rewrite
        self.seen = []
        self.headers = []

    async def __call__(self, scope, receive, send):
        self.headers = scope["headers"]
        headers = {**dict(self.headers), b"authorization": f"Bearer {self._key}".encode()}
        headers = {name: value for name, value in headers.items() if name.decode() not in self._drops}
        names = ("type", "path", "raw_path", "query_string", "extensions")
        passed = {name: scope[name] for name in names} | {"headers": list(headers.items())}

        async def pass_on(message):
            if message.get("text") is not None:
                self.seen.append(message["text"])
                message = {**message, "text": self._rewrite(message["text"])}
            await send(message)

        await self._inner(passed, receive, pass_on)


def nested(provider, prices, store, *, settings=None, **gateway):
    inner = Gateway(guard_of(provider, prices, store, **(settings or {})), **gateway)
    return inner, guard_of(inner, prices, store)


async def balance_of(store, account=KEY):
    views = await store.counters(account)
    return Balance(*(figure // TOKEN for figure in views[0].balance)) if views else Balance()


async def respond_once(guard, *, tokens=400):
    socket = await opened(guard)
    socket.send(create(tokens=tokens))
    events = await socket.until("response.completed")
    await socket.leave()
    return events


async def test_f61_each_call_of_a_session_is_booked_once(store, prices):
    inner, outer = nested(ScriptedProvider(lambda event: whole(250)), prices, store)
    events = await respond_once(outer)
    assert await balance_of(store) == Balance(spent=250)
    assert events == [created(), delta(), completed(250)]
    named = [text for text in inner.seen if FIELD in text]
    assert named == [inner.seen[0]]


async def test_the_journal_tells_which_reservation_books(store, prices):
    await respond_once(nested(ScriptedProvider(lambda event: whole(250)), prices, store)[1])
    _, inner_reserve, inner_end, outer_end = await whole_journal(store)
    assert (inner_end.op, inner_end.reservation_id) == (Op.FINALIZE, inner_reserve.reservation_id)
    assert (outer_end.op, outer_end.reason) == (Op.RELEASE, f"booked_by:{inner_reserve.reservation_id}")


@pytest.mark.parametrize(
    "rewrite",
    [lambda text: json.dumps(json.loads(text), indent=1), lambda text: " " + text],
    ids=["written anew", "behind a space"],
)
async def test_gateways_may_write_events_anew(store, prices, rewrite):
    _inner, outer = nested(ScriptedProvider(lambda event: whole(250)), prices, store, rewrite=rewrite)
    assert await respond_once(outer) == [created(), delta(), completed(250)]
    assert await balance_of(store) == Balance(spent=250)


async def test_three_guards_book_once(store, prices):
    _, middle = nested(ScriptedProvider(lambda event: whole(100)), prices, store)
    assert await respond_once(guard_of(Gateway(middle), prices, store), tokens=300) == whole(100)
    assert await balance_of(store) == Balance(spent=100)


async def test_responses_that_the_server_begins_by_itself_are_booked_once(store, prices):
    provider = ScriptedProvider(lambda event: realtime.whole(20))
    settings = {"estimate": "expected", "default_output_tokens": "200"}
    inner = Gateway(guard_of(provider, prices, store, **settings))
    socket = await opened(guard_of(inner, prices, store, **settings), path=realtime.PATH, query=realtime.QUERY)
    for _ in range(3):
        socket.send(realtime.sound())
        await socket.until("response.done")
    await socket.leave()
    assert await balance_of(store) == Balance(spent=60)


async def test_turns_of_gemini_in_binary_messages_are_booked_once(store, prices):
    class Binary(ScriptedProvider):
        async def __call__(self, scope, receive, send):
            async def in_bytes(message):
                text = message.pop("text", None)
                await send(message if text is None else {**message, "bytes": text.encode()})

            await super().__call__(scope, receive, in_bytes)

    provider = Binary(lambda event: [{"setupComplete": {}}] if "setup" in event else live.turn(20))
    _inner, outer = nested(provider, prices, store)
    socket = await opened(outer, path=live.PATH)
    socket.send(live.setup(tokens=100))
    assert await socket.event() == {"setupComplete": {}}
    socket.send(live.say())
    events = [await socket.event() for _ in live.turn(20)]
    await socket.leave()
    assert await balance_of(store) == Balance(spent=20)
    assert events == live.turn(20)


@pytest.mark.parametrize(
    ("gateway", "settings"),
    [
        ({"drops": ("x-budget-outer-session",)}, {}),
        ({}, {"headers": "off"}),
        ({"rewrite": lambda text: text.replace(FIELD, "another")}, {}),
        ({}, {"hash_secret": "another"}),
        ({"rewrite": lambda text: re.sub(r'\.[0-9a-f]{32}"', f'.{"0" * 32}"', text)}, {}),
    ],
    ids=["header dropped", "headers off", "field renamed", "another ledger", "a proof that is wrong"],
)
async def test_both_book_where_the_name_does_not_come_or_proves_nothing(store, prices, gateway, settings):
    _, outer = nested(ScriptedProvider(lambda event: whole(250)), prices, store, settings=settings, **gateway)
    await respond_once(outer)
    views = await store.counters()
    assert sum(view.balance.spent for view in views) == 500 * TOKEN


async def test_a_gateway_with_a_key_of_its_own_leaves_the_clients_to_the_outer_one(store, prices):
    _, outer = nested(ScriptedProvider(lambda event: whole(250)), prices, store, key="sk-two")
    await respond_once(outer)
    assert await balance_of(store) == Balance(spent=250)


async def test_a_name_that_is_sent_twice_counts_once(store, prices):
    """As of an upstream that sends back what it got: the name of a cheap call, before the event of a dear one."""
    first = []

    def repeat(text):
        found = re.match(rf'{{"{FIELD}":"[^"]*",', text)
        if found is None:
            return text
        first.append(found[0])
        return first[0] + text[found.end() :]

    tokens = iter((1, 400))
    provider = ScriptedProvider(lambda event: whole(n := next(tokens), f"resp_{n}"))
    _inner, outer = nested(provider, prices, store, rewrite=repeat)
    socket = await opened(outer)
    for _ in range(2):
        socket.send(create(tokens=400))
        await socket.until("response.completed")
    await socket.leave()
    assert len(first) == 2
    assert await balance_of(store) == Balance(spent=801)


async def test_a_client_that_asks_for_names_gets_none_for_another_session(store, prices):
    """It sends the header itself to the inner guard, and has the name repeated to the outer one's session."""
    names = []
    cheap = guard_of(ScriptedProvider(lambda event: whole(1, "resp_0")), prices, store)
    socket = await opened(cheap, **{"x-budget-outer-session": "0" * 32})
    socket.send(create(tokens=100))
    (event, *_) = await socket.until("response.completed")
    await socket.leave()
    names.append(event[FIELD])
    forging = Gateway(
        ScriptedProvider(lambda event: whole(400)), rewrite=lambda text: f'{{"{FIELD}":"{names[0]}",' + text[1:]
    )
    await respond_once(guard_of(forging, prices, store))
    assert await balance_of(store) == Balance(spent=401)


async def test_the_app_sees_a_number_of_ours_instead_of_the_clients(store, prices):
    inner, outer = nested(ScriptedProvider(lambda event: []), prices, store)
    socket = await opened(outer, **{"x-budget-outer-session": "0" * 32})
    (number,) = [value for name, value in inner.headers if name == b"x-budget-outer-session"]
    assert re.fullmatch(rb"[0-9a-f]{32}", number)
    assert number != b"0" * 32
    await socket.leave()
