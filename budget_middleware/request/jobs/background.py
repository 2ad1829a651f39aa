"""Work that goes on after its answer: its hold becomes a ticket, and is booked once an answer shows its usage.

    POST /responses {"background": true} ──> queued, no usage ──> held at the estimate, until the job's deadline
    GET  /responses/ID, POST /responses/ID/cancel ──> done, with its usage ──> booked, once

So it is with xAI's deferred completions: {"deferred": true} ──> {"request_id"}, GET /chat/deferred-completion/ID; and
with Gemini's interactions: GET /interactions/ID, POST /interactions/ID/cancel.

Whichever worker sees the usage finds the ticket by the response's id (`ledger/jobs/tickets.py`), and books on the
counters of whoever created it. What is never seen books what its reserve named for the deadline (`deadline_charge`).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.answers.answer_reader import AnswerReader
from budget_middleware.apis.google.interactions import GeminiInteractions
from budget_middleware.apis.openai.chat import DEFERRED, OpenAIChat
from budget_middleware.apis.openai.responses import OpenAIResponses
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.streams.framing import is_event_stream
from budget_middleware.core.answers import Answer
from budget_middleware.core.costs.charges import USAGE, Charge
from budget_middleware.core.costs.outcome import Outcome
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Finalize
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import AnswerFuture, Hold, Job, Ledger, OpenTicket
from budget_middleware.request.bodies.field_masks import in_one_piece, without_field_mask
from budget_middleware.request.jobs.plain_answers import LeavingClient
from budget_middleware.request.jobs.stored_answers import bill_of_look, correct_broken_off
from budget_middleware.telemetry import LazyAttributes

_RESPONSES: Final = OpenAIResponses()
_CHAT: Final = OpenAIChat()
_INTERACTIONS: Final = GeminiInteractions()
_DEFERRED: Final = ends_in("/chat/deferred-completion/([^/]+)")
_INTERACTION: Final = ends_in("/interactions/[^/:]+(?:[/:]cancel)?")


def is_response_lookup(path: str) -> bool:
    """Whether a GET of this path, or a POST to it, answers with the state of one response."""
    before, _, response = path.lower().rstrip("/").removesuffix("/cancel").rpartition("/")
    return before.endswith("/responses") and response != ""


def looked_up_at(path: str) -> Api | None:
    """The API whose work in the background a GET of this path, or a POST to it, answers with, if of any."""
    if is_response_lookup(path):
        return _RESPONSES
    return _INTERACTIONS if _INTERACTION.search(path) else None


def deferred_at(path: str) -> Job | None:
    """The deferred completion that a GET of this path asks for, if it asks for one."""
    found = _DEFERRED.search(path)
    return Job(DEFERRED, found[1]) if found is not None else None


def keep_for_job(
    ledger: Ledger,
    hold: Hold,
    otherwise: Finalize,
    job: Job,
    deadline_s: float,
    *,
    attributes: LazyAttributes,
    details: Mapping[str, object] | None = None,
) -> AnswerFuture:
    """Make a hold the ticket of a job, in a task that no cancellation reaches.

    ``otherwise`` ends it where it cannot be one: what cannot be told apart, as of an upstream whose ids are not its
    own, is booked like any other request, each time; so it is if the store is away.
    """
    waiter: AnswerFuture = asyncio.get_running_loop().create_future()

    async def keep() -> None:
        answer: Answer | None = None
        try:
            if not await ledger.tickets.keep(hold, job, deadline_s=deadline_s, details=details):
                answer = await ledger.begin_ending(hold, otherwise, attributes=attributes)
        except asyncio.CancelledError:
            ledger.begin_ending(hold, otherwise, attributes=attributes)
            raise
        finally:
            if not waiter.done():
                waiter.set_result(answer)

    ledger.run_in_background(keep())
    return waiter


async def pass_and_book(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    ledger: Ledger,
    max_body_bytes: int,
    api: Api = _CHAT,
    deferred: Job | None = None,
    is_sure: bool = True,
) -> None:
    """Let the app answer what it has of a response, or of what is like one; if that reports its usage, book what is
    held for it.

    A ``deferred`` completion does not name its job. Not ``is_sure``: the answer may be about another one.
    """
    reader = AnswerReader(api, hide_usage=False, max_body_bytes=max_body_bytes)
    reader.seen.in_background = True
    status, is_over = 0, False
    has_come = asyncio.Event()
    client = LeavingClient(receive, send, has_come, reads_on=False)

    async def send_and_read(message: Message) -> None:
        nonlocal status, is_over
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            reader.begin(status, headers)
            # A whole answer that was cut at its end is as good as whole. Who leaves a stream saves nothing.
            client.reads_on = not is_event_stream(HeaderTable(headers))
        elif message["type"] == "http.response.body" and not is_over:
            is_last = not message.get("more_body", False)
            reader.feed(bytes(message.get("body", b"")), last=is_last)
            is_over = is_last or reader.seen.terminal
            # What is no job has no ticket that is booked at its deadline.
            client.reads_on |= reader.seen.stored is not None
            if is_over and status == 200:
                _begin_booking(ledger, reader.seen, deferred, is_sure=is_sure)
            if is_over:
                has_come.set()
        await client.send(message)

    try:
        await app(in_one_piece(without_field_mask(scope)), client.receive, send_and_read)
    finally:
        has_come.set()


def _begin_booking(ledger: Ledger, seen: Seen, deferred: Job | None, *, is_sure: bool) -> None:
    job = deferred or (Job(*seen.job) if seen.job is not None else None)
    if job is not None:
        ledger.run_in_background(_book(ledger, job, seen, is_sure=is_sure))
    elif seen.stored is not None:
        ledger.run_in_background(correct_broken_off(ledger, Job(*seen.stored), seen))


async def _book(ledger: Ledger, job: Job, seen: Seen, *, is_sure: bool) -> None:
    if seen.continues_unread:
        return
    is_closed = ledger.tickets.closed.has(job.fact_name)
    found = await ledger.tickets.find(job, is_over=True)
    if found is None:
        if seen.stored is not None and not is_closed:
            await correct_broken_off(ledger, job, seen)
        return
    estimate_nanos = found.reservation.asked_or_held.usd
    asked = str(found.ticket.details.get("model") or "")
    bill, evidence = bill_of_look(ledger, seen, asked=asked, estimate_nanos=estimate_nanos)
    if evidence.actual_nanos is not None:
        charge = Charge(evidence.actual_nanos, USAGE)
        used = Amounts(charge.nanos, bill.tokens(charge, seen, ledger.tokens_counted), requests=1)
        actual = used if is_sure else at_least_asked(found, used)
        await book_job(ledger, found, actual, bill=bill.packed(charge) if actual.usd == used.usd else "")
    elif is_sure and evidence.outcome is Outcome.FAILED_BEFORE_OUTPUT:
        await book_job(ledger, found, Amounts(requests=1))


def at_least_asked(found: OpenTicket, actual: Amounts) -> Amounts:
    """What a job has used, and as much as was held for it: what is not understood is never free, in no unit."""
    asked = found.reservation.asked_or_held
    return actual._replace(usd=max(actual.usd, asked.usd), tokens=max(actual.tokens, asked.tokens))


async def book_job(ledger: Ledger, found: OpenTicket, actual: Amounts, *, bill: str = "") -> None:
    """Book what a job has cost; of one that has failed and cost nothing, only that it was a request."""
    if not actual.usd and not actual.tokens and not any(target.place for target in found.reservation.targets):
        await ledger.tickets.release(found, reason="error_answer")
        return
    await ledger.tickets.book(found, actual, reason=USAGE, bill=bill)
