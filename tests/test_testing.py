"""The scripted app and the call that plays a server: what tests of gateways lean on."""

import asyncio

import pytest

from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call, chunk, client_gone, json_answer, start

END = chunk(is_last=True)


async def test_a_script_is_played_for_every_request():
    app = ScriptedApp(*json_answer({"a": 1}, status=201, x_app="yes"))
    for body in ({"n": 1}, b"raw", [b"in ", b"parts"]):
        played = await call(app, body)
        assert (played.status, played.headers["x-app"], played.json()) == (201, "yes", {"a": 1})
        assert played.is_complete
    assert app.bodies == [b'{"n": 1}', b"raw", b"in parts"]
    lengths = [dict(scope["headers"]).get(b"content-length") for scope in app.scopes]
    assert lengths == [b"8", b"3", None]


async def test_the_script_waits_calls_and_raises():
    gate, error = Gate(), OSError("upstream")

    async def answer(receive, send):
        await send(start())

    played = PlayedRequest()
    task = asyncio.create_task(played.run(ScriptedApp(gate, answer, error)))
    await gate.reached()
    assert (played.status, played.headers, played.is_complete) == (0, {}, False)
    gate.open()
    await task
    assert (played.status, played.raised) == (200, error)


async def test_a_client_that_leaves_is_told_through_receive():
    played = await call(ScriptedApp(start(), chunk(b"a"), client_gone, chunk(b"b")), leaves_after=2)
    assert (played.body, played.raised, played.is_complete) == (b"ab", None, False)


async def test_a_client_that_breaks_is_told_through_send():
    played = await call(ScriptedApp(start(), chunk(b"a"), chunk(b"b")), breaks_after=2)
    assert played.body == b"a"
    assert isinstance(played.raised, OSError)


async def test_after_the_answer_the_client_is_gone():
    assert (await call(ScriptedApp(start(), END, client_gone))).raised is None


async def test_a_cancelled_call_is_cancelled():
    gate = Gate()
    task = asyncio.create_task(call(ScriptedApp(gate)))
    await gate.reached()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("script", [[END], [start(), start()], [start(), END, END], [start(), END, start()]])
async def test_what_asgi_forbids(script):
    assert isinstance((await call(ScriptedApp(*script))).raised, RuntimeError)
