"""What all uploads have in common: a form that is read while it passes, and what its file plans, kept as a fact."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.bodies.form import FormReader, UnclearFormError, boundary_of
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.request.jobs.pieces import feed_in_pieces
from budget_middleware.request.jobs.plain_answers import KeptAnswer, pass_and_read
from budget_middleware.stores.errors import NO_ANSWER

TRAINING: Final = "fine-tune"
"""The purpose of a file that a model is trained on."""

# What describes a file has a few hundred bytes.
_MOST_ANSWER_BYTES: Final = 65_536

_log = logging.getLogger("budget_middleware")


def readable_boundary(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The boundary of a form that can be read while it passes; None for a compressed one, and for anything else."""
    table = HeaderTable(headers)
    if table.all(b"content-encoding"):
        return None
    try:
        return boundary_of(table.all(b"content-type"))
    except UnclearFormError:
        return None


async def pass_form(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    reader: FormReader,
    wants_more: Callable[[], bool],
    at_end: Callable[[object], Awaitable[None]],
) -> None:
    """Let the app take a form, and read it while it passes, as long as its reader ``wants_more``.

    ``at_end`` gets what the app has answered. Nothing is known of an unclear form: the app may read it all the same.
    """
    answer, is_clear = KeptAnswer(_MOST_ANSWER_BYTES), True

    async def receive_and_read() -> Message:
        nonlocal is_clear
        message = await receive()
        if is_clear and wants_more() and message["type"] == "http.request":
            try:
                await feed_in_pieces(reader.feed, bytes(message.get("body", b"")))
            except UnclearFormError:
                is_clear = False
        return message

    async def end() -> None:
        if is_clear:
            await at_end(answer.document)

    await pass_and_read(app, scope, receive_and_read, send, feed=answer.feed, at_end=end)


async def keep_plan(ledger: Ledger, fact: str, text: str, *, keep_ms: int) -> None:
    """Keep what a file plans; a store that is away is told in the log, and such a file is an unknown one."""
    try:
        await ledger.tickets.keep_fact(fact, text, keep_ms=keep_ms)
    except NO_ANSWER as error:
        _log.warning("what an uploaded file plans is not known to the store: %s", error)
