"""An answer that is one document, and is there as a whole when somebody breaks it off: it books what it reports.

Without its last message nobody has said that it is whole, but whoever has it has all of it.
"""

import asyncio
import json

import pytest

from budget_middleware.testing import Gate, PlayedRequest, ScriptedApp, call, chunk, client_gone, start
from tests.request.wire import TALK, bearer, usage

ASKED = {**TALK, "stream": False}
TEXT = json.dumps({"choices": [{"message": {"content": "x" * 400}}], "usage": usage(200, 50)}).encode()
WHOLE = (start(), chunk(TEXT[:300]), chunk(TEXT[300:]))
# The text alone, of a gateway that reports no usage.
UNREPORTED = (start(), chunk(json.dumps({"choices": [{"message": {"content": "x" * 400}}]}).encode()))


async def leaves(guard, app, sent):
    app.script = [*sent, client_gone]
    return await call(guard, ASKED, headers=bearer(), leaves_after=len(sent))


async def returns(guard, app, sent):
    app.script = sent
    return await call(guard, ASKED, headers=bearer())


async def breaks(guard, app, sent):
    app.script = [*sent, ConnectionResetError("upstream")]
    return await call(guard, ASKED, headers=bearer())


async def stays_away(guard, app, sent):
    """It reads nothing more, until a shutdown."""
    gate = Gate()
    app.script = [*sent, gate]
    task = asyncio.create_task(PlayedRequest(ASKED, headers=bearer()).run(guard))
    await gate.reached()
    await guard.ledger.drain(timeout_s=0)
    gate.open()
    return await task


@pytest.mark.parametrize("how", [leaves, returns, breaks, stays_away])
@pytest.mark.parametrize("policy", ["partial", "input", "release"])
async def test_a_whole_document_books_its_usage(memory, policy, how):
    app = ScriptedApp()
    await how(memory.guard(app, on_abort=policy), app, WHOLE)
    assert await memory.figures() == ("0.29", "0.00")


async def test_so_it_does_on_every_store(bench):
    app = ScriptedApp()
    await leaves(bench.guard(app, on_abort="release"), app, WHOLE)
    assert await bench.figures() == ("0.29", "0.00")


@pytest.mark.parametrize("policy", ["partial", "release"])
async def test_without_a_usage_it_books_its_text(memory, policy):
    app = ScriptedApp()
    await leaves(memory.guard(app, on_abort=policy), app, UNREPORTED)
    assert await memory.figures() == ("0.17", "0.00")


@pytest.mark.parametrize("n_bytes", [1, 300, len(TEXT) - 1])
async def test_a_part_of_a_document_books_by_the_policy(memory, n_bytes):
    """The last of them ends in a brace, and is none."""
    app = ScriptedApp()
    await leaves(memory.guard(app, on_abort="release"), app, (start(), chunk(TEXT[:n_bytes])))
    assert await memory.figures() == ("0.00", "0.00")


@pytest.mark.parametrize("status", ["200", None])
async def test_what_cannot_be_billed_is_booked_as_it_was_estimated(memory, status, caplog):
    """Or it would be held for as long as the worker lives."""
    app = ScriptedApp({**start(), "status": status}, chunk(TEXT, is_last=True))
    played = await call(memory.guard(app), ASKED, headers=bearer())
    assert isinstance(played.raised, TypeError)
    assert await memory.figures() == ("0.65", "0.00")
    assert "cannot be billed" in caplog.text
