"""Whatever a client makes of its JSON: what its server can read is held, and booked, though the server repeats it."""

import json

import pytest

from budget_middleware.core.model import Balance
from tests.sessions.responses import completed, create, created, delta, error
from tests.sessions.socket import ScriptedProvider, guard_of, opened
from tests.sessions.test_calls_of_a_session import tokens_of

ODD_FIELDS = {
    "a number for a lane": '"stream_id": 5',
    "an object for a lane": '"stream_id": {"a": [1]}',
    "NaN": '"metadata": NaN',
    "a number beyond floats": '"metadata": 1e999',
    "half a character": r'"metadata": "\ud800"',
}


def with_field(field: str) -> str:
    return json.dumps(create()).replace("{", f"{{{field}, ", 1)


def repeating(event):
    """A response of 20 tokens by a server that repeats in each event what its client has named it by."""
    repeated = {name: event[name] for name in ("stream_id", "metadata") if name in event}
    return [{**each, **repeated} for each in (created(), delta(), completed(20))]


@pytest.mark.parametrize("field", ODD_FIELDS.values(), ids=ODD_FIELDS)
async def test_odd_fields_are_booked(store, prices, field):
    socket = await opened(guard_of(ScriptedProvider(repeating), prices, store))
    socket.send(with_field(field))
    await socket.until("response.completed")
    assert await tokens_of(store) == Balance(spent=20)
    await socket.leave()


@pytest.mark.parametrize("field", ODD_FIELDS.values(), ids=ODD_FIELDS)
async def test_odd_fields_pass_no_limit(store, prices, field):
    provider = ScriptedProvider(repeating)
    socket = await opened(guard_of(provider, prices, store, limits="key=0.1/day"))
    socket.send(with_field(field))
    assert (await socket.event())["status"] == 429
    assert provider.received == []
    await socket.leave()


@pytest.mark.parametrize("field", ['"type": "response.steer"', '"model": "gift"', '"Model": "gift"'])
async def test_of_a_field_that_comes_twice_nobody_knows_which_one_counts(store, prices, field):
    provider = ScriptedProvider(repeating)
    socket = await opened(guard_of(provider, prices, store))
    socket.send(with_field(field))
    event = await socket.event()
    assert (event["status"], event["error"]["code"]) == (400, "budget_unknown_model")
    assert "twice" in event["error"]["message"]
    assert provider.received == []
    await socket.leave()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
async def test_odd_encodings_pass_no_limit(store, prices, encoding):
    provider = ScriptedProvider(repeating)
    socket = await opened(guard_of(provider, prices, store, limits="key=0.1/day"))
    socket.send(json.dumps(create()).encode(encoding))
    assert (await socket.event())["status"] == 429
    assert provider.received == []
    await socket.leave()


@pytest.mark.parametrize("extra", ["", ', "x": NaN'], ids=["plain", "NaN too"])
async def test_what_is_too_deep_for_us_may_not_be_for_the_server(store, prices, extra):
    provider = ScriptedProvider(repeating)
    socket = await opened(guard_of(provider, prices, store))
    socket.send(with_field(f'"metadata": {"[" * 400_000}{"]" * 400_000}{extra}'))
    event = await socket.event()
    assert (event["status"], event["error"]["code"]) == (400, "budget_unknown_model")
    assert provider.received == []
    await socket.leave()


async def test_what_is_too_long_to_be_read_with_care_counts_as_a_call(store, prices):
    provider = ScriptedProvider(repeating)
    socket = await opened(guard_of(provider, prices, store, limits="key=0.1/day"))
    socket.send(with_field(f'"metadata": NaN, "instructions": "{"word " * 20_000}"'))
    assert (await socket.event())["status"] == 429
    assert provider.received == []
    await socket.leave()


async def test_an_error_within_an_answer_gives_nothing_back(store, prices):
    answers = iter([[created()], [error(400)]])
    provider = ScriptedProvider(lambda event: next(answers))
    socket = await opened(guard_of(provider, prices, store, on_abort="release"))
    socket.send(create(tokens=600))
    socket.send({"type": "nonsense"})
    await socket.until("error")
    assert await tokens_of(store) == Balance(reserved=600)
    await socket.leave()
