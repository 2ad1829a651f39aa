"""Answers about videos, training and evaluations: once a job is over, what it has used is booked on its ticket.

GET /videos/ID ──> over, with what it shows ──> booked at its price; what it does not show, as it was planned
                   failed, and nothing is charged for that ──> released
GET /videos/ID/content ──> the video itself: it is done
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.jobs.created import JobApi, JobLook, JobState, Stage
from budget_middleware.core.costs.bill import Amount, AmountKind
from budget_middleware.core.costs.bill_packing import PricedCall, pack
from budget_middleware.core.costs.job_kinds import JobKind
from budget_middleware.core.costs.pricing import Rates, Usage, UsageClass, breakdown, sum_nanos
from budget_middleware.core.costs.usage import tokens_of
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Job, Ledger, OpenTicket
from budget_middleware.prices import PriceBook
from budget_middleware.prices.units import JOB_UNITS
from budget_middleware.request.bodies.field_masks import without_field_mask
from budget_middleware.request.jobs.background import at_least_asked, book_job
from budget_middleware.request.jobs.plain_answers import KeptAnswer, pass_and_read
from budget_middleware.request.quotes.jobs import is_priced, planned_modes, planned_usage

# Objects of jobs have a few kilobytes. One that has its videos in it is longer, and is booked at its deadline.
_MOST_BYTES: Final = 1_000_000
_RESULT: Final = (200, 206)
# What these have used is the calls that they show, however many were planned.
_OF_CALLS: Final = (JobKind.EVALS, JobKind.BATCHES)

_log = logging.getLogger("budget_middleware")


async def pass_and_book_job(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, look: JobLook, ledger: Ledger, max_body_bytes: int
) -> None:
    """Let the app answer what it has of a job; if that is over, book what it has used.

    Before that nobody asks the store: most who poll ask for what still runs.
    """
    answer = KeptAnswer(min(max_body_bytes, _MOST_BYTES))
    book = partial(_book, ledger, look, answer)
    if look.shows_result:
        await app(scope, receive, partial(_book_and_send, book, send))
    else:
        await pass_and_read(app, without_field_mask(scope), receive, send, feed=answer.feed, at_end=book)


async def _book_and_send(book: Callable[[], Awaitable[None]], send: Send, message: Message) -> None:
    """Pass on what was made, or a part of it: that it begins says that it is done, whatever of it the client takes."""
    if message["type"] == "http.response.start" and message["status"] in _RESULT:
        await book()
    await send(message)


async def _book(ledger: Ledger, look: JobLook, answer: KeptAnswer) -> None:
    state = JobState(look.id, Stage.DONE) if look.shows_result else look.api.state(answer.document)
    await book_shown(ledger, look.api, state, id_=look.id)


async def book_shown(ledger: Ledger, api: JobApi, state: JobState | None, *, id_: str) -> None:
    """Book the job of this id ("": of the one that the state names), if it is over."""
    if state is None or state.stage is Stage.RUNNING or (id_ and state.id and state.id != id_):
        return
    found = await ledger.tickets.find(Job(api.name, id_ or state.id), is_over=True)
    if found is not None:
        await book_state(ledger, api, found, state)


async def book_state(ledger: Ledger, api: JobApi, found: OpenTicket, state: JobState) -> None:
    """Book a job that is over; see `JobState`."""
    if state.cost_nanos is not None and (state.cost_nanos or state.stage is Stage.FREE):
        bill = pack(nanos=state.cost_nanos, amounts=(Amount(AmountKind.PROVIDER_COST, state.cost_nanos),))
        await book_job(ledger, found, Amounts(state.cost_nanos, requests=1), bill=bill)
        return
    used = _used(api, state, found.ticket.details)
    if not used and state.stage is Stage.FREE:
        await book_job(ledger, found, Amounts(requests=1))
        return
    calls = [_priced(ledger.prices, api, found, state, each) for each in used]
    nanos = sum_nanos([line for call in calls for line in call.lines])
    tokens = sum(tokens_of(usage, ledger.tokens_counted) for _, usage in used)
    actual = Amounts(nanos, tokens, requests=1)
    if calls and all(call.rates is not None for call in calls):
        await book_job(ledger, found, actual, bill=pack(nanos=nanos, calls=calls))
        return
    actual = at_least_asked(found, actual)
    _log.warning("%s shows no usage that has a price: booked at its estimate", found.ticket.job)
    bill = pack(nanos=actual.usd, amounts=(Amount(AmountKind.ESTIMATE, actual.usd),))
    await book_job(ledger, found, actual, bill=bill)


def _used(api: JobApi, state: JobState, details: Mapping[str, object]) -> Sequence[tuple[str, Usage]]:
    """What it shows that was used, by the model; where it is done and does not show it, what was planned."""
    shown = [(model, usage) for model, usage in state.used if usage != Usage()]
    if state.stage is not Stage.DONE or api.kind in _OF_CALLS:
        return shown
    if shown and not details.get("exact"):
        return [(model, replace(usage, calls=1)) for model, usage in shown]
    planned, pieces = planned_usage(details), details.get("pieces", 1)
    if state.pieces is not None and type(pieces) is int and pieces > state.pieces:
        planned = replace(planned, video_ms=planned.video_ms * state.pieces // pieces)
    return [(state.used[0][0] if state.used else "", planned)]


def _priced(prices: PriceBook, api: JobApi, found: OpenTicket, state: JobState, used: tuple[str, Usage]) -> PricedCall:
    """What was used at its price; without rates, if there is none."""
    model, usage = used
    details = found.ticket.details
    rates = prices.resolve(model) if api.kind is JobKind.EVALS else _rates_of(prices, api, details, model)
    if rates is None or not is_priced(rates, usage):
        return PricedCall(None, ())
    rates = rates.in_modes(state.modes or planned_modes(details))
    is_sold_whole = UsageClass.CALL in rates.by_unit
    return PricedCall(
        rates, [line for line in breakdown(rates, usage) if is_sold_whole or line.unit != UsageClass.CALL]
    )


def _rates_of(prices: PriceBook, api: JobApi, details: Mapping[str, object], answered: str) -> Rates | None:
    """The price of the model that was asked for, or of the one that worked where that is another, or none was named."""
    asked = str(details.get("model") or "")
    if not details.get("named") and answered:
        return prices.price_of_job(api.kind, answered, provider=api.provider)
    if answered and answered != asked:
        others = prices.resolve_answer(
            answered, asked=asked, provider=api.provider, moment=prices.moment, is_only_name=True
        )
        for rates in others:
            if not rates.by_unit.keys().isdisjoint(JOB_UNITS):
                return rates
    return prices.price_of_job(api.kind, asked, provider=api.provider)
