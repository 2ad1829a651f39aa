"""Responses that are worked on in the background: booked at their ceiling, and corrected once their usage is known.

    POST /responses {"background": true} ──> queued, no usage ──> booked at the estimate, which is the ceiling
    GET  /responses/ID, POST /responses/ID/cancel ──> done, with its usage ──> the difference is adjusted, once

The booking has an id that follows from the response's, so whichever worker sees the usage finds it in the store, with
its counters and its amount; the reservation of the POST is given back and names it (`booked_by:`). The adjustment has
such an id too: of any number of GETs through any number of workers, one corrects. The store remembers both for
`BUDGET_REMEMBER_S` after their ending; a usage that is reported later corrects nothing, and the ceiling stays.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.answer import AnswerReader
from budget_middleware.apis.base import Ask
from budget_middleware.apis.openai_responses import OpenAIResponses
from budget_middleware.apis.seen import Seen
from budget_middleware.core.answers import Answer
from budget_middleware.core.charges import BOOKED_BY, CORRECTS, USAGE, Charge, End
from budget_middleware.core.statuses import State, Status
from budget_middleware.core.units import NOTHING, Amounts, Unit
from budget_middleware.core.verbs import Finalize
from budget_middleware.ledger import AnswerFuture, Hold, Ledger
from budget_middleware.request.bill import Bill
from budget_middleware.request.quote import Quote
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.telemetry import LazyAttributes

_RESPONSES: Final = OpenAIResponses()
_log = logging.getLogger("budget_middleware")


def is_response_lookup(path: str) -> bool:
    """Whether a GET of this path, or a POST to it, answers with the state of one response."""
    *_, kind, response = path.rstrip("/").removesuffix("/cancel").rsplit("/", 2) if path.count("/") > 1 else ("", "")
    return kind == "responses" and response != ""


def book_response(
    ledger: Ledger, hold: Hold, verb: Finalize, *, response_id: str, attributes: LazyAttributes
) -> AnswerFuture:
    """Book the ceiling of a response so that its usage can correct it, in a task that no cancellation reaches."""
    waiter: AnswerFuture = asyncio.get_running_loop().create_future()
    id_ = _id_of("booking", response_id)
    finalize = partial(ledger.finalize, actual=verb.actual, reason=verb.reason, attributes=attributes, bill=verb.bill)
    ledger.run_in_background(_book(ledger, hold, id_=id_, finalize=finalize, waiter=waiter))
    return waiter


async def _book(
    ledger: Ledger, hold: Hold, *, id_: str, finalize: Callable[[Hold], AnswerFuture], waiter: AnswerFuture
) -> None:
    booking = Hold(
        hold.payers,
        NOTHING,
        model=hold.model,
        other_models=hold.other_models,
        context=hold.context,
        attributes=hold.attributes,
        id=id_,
    )
    answer: Answer | None = None
    try:
        # Known already: an upstream whose ids are not its own, or a client that was answered twice. What cannot be told
        # apart is booked like any other request, each time, and stays as it is; so it is if the store is away.
        is_correctable = (await ledger.reserve(booking)).status is Status.RESERVED
    except (StoreUnavailable, StoreRefused, asyncio.CancelledError):
        ledger.abandon(booking, reason="not needed")
        is_correctable = False
    try:
        answer = await finalize(booking if is_correctable else hold)
        if is_correctable:
            await ledger.release(hold, reason=f"{BOOKED_BY}{id_}")
    finally:
        if not waiter.done():
            waiter.set_result(answer)


async def pass_and_correct(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, ledger: Ledger, max_body_bytes: int
) -> None:
    """Let the app answer what it has of a response; if that reports its usage, correct what was booked for it."""
    reader = AnswerReader(_RESPONSES, hide_usage=False, max_body_bytes=max_body_bytes)
    is_over = False

    async def send_and_read(message: Message) -> None:
        nonlocal is_over
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            reader.begin(message["status"], headers)
        elif message["type"] == "http.response.body" and not is_over:
            is_last = not message.get("more_body", False)
            reader.feed(bytes(message.get("body", b"")), last=is_last)
            is_over = is_last or reader.seen.terminal
            if is_over and reader.seen.background_id and reader.seen.usage is not None:
                ledger.run_in_background(_correct(ledger, reader.seen))
        await send(message)

    await app(scope, receive, send_and_read)


async def _correct(ledger: Ledger, seen: Seen) -> None:
    booked = await ledger.look_up(_id_of("booking", seen.background_id))
    if booked is None or booked.state is not State.FINALIZED:
        return
    quote = Quote(Ask(model=seen.model), ledger.prices.resolve(seen.model or ""), booked.actual.usd)
    bill = Bill(quote, ledger.prices)
    evidence = bill.evidence(seen, end=End.COMPLETE, is_error=False, output_began=True)
    if evidence.actual_nanos is None:
        return
    charge = Charge(evidence.actual_nanos, USAGE)
    missing = Amounts(usd=charge.nanos - booked.actual.usd)
    if any(target.unit is Unit.TOKENS for target in booked.targets):
        missing = missing._replace(tokens=bill.tokens(charge, seen, ledger.tokens_counted) - booked.actual.tokens)
    if missing == NOTHING:
        return
    try:
        await ledger.adjust(
            (),
            amount=missing,
            reason=f"{CORRECTS}{booked.id}",
            targets=booked.targets,
            id_=_id_of("correction", seen.background_id),
            bill=bill.packed(charge),
        )
    except (StoreUnavailable, StoreRefused) as error:
        _log.warning("the booking %s of a background response was not corrected: %s", booked.id, error)


def _id_of(what: str, response_id: str) -> str:
    return hashlib.sha256(f"{what} of response\n{response_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
