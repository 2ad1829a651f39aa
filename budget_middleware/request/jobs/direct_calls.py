"""Calls that go around the gateway and are watched through it: the ceiling counts for the time that nobody watched.

Theory of operation. A call of WebRTC or SIP holds its ceiling as a ticket. A *sideband*, a WebSocket on that call that
passes this gateway, gets all events of the call, so what it has cost meanwhile is metered like any session, and the
ceiling is corrected by that time:

    sideband ──> watched from … until …  ─┐
    POST …/calls/ID/hangup ──> 2xx: ended ─┼─> the record of the call, which any worker may change
    nobody watches any more, and it ended ─┘──> booked: the ceiling's rate for the time until then that nobody watched
    the deadline ──> its charge is booked by the store; whichever worker's call of the store has done that corrects it

A sideband that ends proves nothing about its call: whoever attaches, leaves and talks on pays for the rest at the
ceiling's rate, and so does whoever leaves for the seconds in which an answer is made that is heard afterwards. Only a
hang-up that the provider has confirmed proves the end. A ticket is booked once, as ever, so all of this may be asked
for at any worker and as often as it happens.

What proves something is known by its address: hang-ups and sidebands count beside the very path that has created the
call, for behind another one something else may answer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.bodies.reading import mapping_of, parse_body
from budget_middleware.apis.jobs.realtime_direct import REALTIME_DIRECT, CallAddress, RealtimeGone, says_gone
from budget_middleware.core.costs.bill import Amount, AmountKind
from budget_middleware.core.costs.bill_packing import pack
from budget_middleware.core.statuses import State
from budget_middleware.ledger import Job, Ledger, OpenTicket
from budget_middleware.ledger.jobs.tickets import KEPT_LONGER_MS
from budget_middleware.request.jobs.call_records import CallRecord, unpack_record
from budget_middleware.request.jobs.plain_answers import KeptAnswer
from budget_middleware.request.jobs.retries import RETRY_S
from budget_middleware.request.quotes.sessions import (
    PLANNED,
    longest_answer_ms,
    place_of,
    planned_session,
    unwatched_amounts,
)
from budget_middleware.stores.errors import NO_ANSWER

"""How long to wait before each new try at a store that has given no answer."""
_CONFIRMED: Final = range(200, 300)
_UNKNOWN: Final = 404
# Sessions are planned for a day at most.
_KEPT_MS: Final = 2 * 86_400_000
# An error has some hundred bytes.
_MOST_BYTES: Final = 10_000

_log = logging.getLogger("budget_middleware")


def correct_at_deadlines(ledger: Ledger) -> None:
    """From now on correct what is booked for a call at its deadline by what was watched of it."""
    ledger.tickets.at_deadline[REALTIME_DIRECT.name] = partial(_settle_expired, ledger)


async def find_call(ledger: Ledger, address: CallAddress) -> OpenTicket | None:
    """The ticket of a call that was created beside this address, if it is not booked."""
    with suppress(*NO_ANSWER):
        return await _look_up(ledger, address)
    return None


async def _look_up(ledger: Ledger, address: CallAddress) -> OpenTicket | None:
    found = await ledger.tickets.look_up(_job_of(address.id))
    planned = mapping_of(found.ticket.details.get(PLANNED)) if found is not None else {}
    return found if planned.get("at") == place_of(address.path) else None


async def change_record(ledger: Ledger, call_id: str, change: Callable[[CallRecord], CallRecord]) -> None:
    """Change what is known of a call, and book it if that is all; again later where the store gives no answer."""
    await _until_answered(lambda: _change(ledger, call_id, change))


async def _change(ledger: Ledger, call_id: str, change: Callable[[CallRecord], CallRecord]) -> None:
    job = _job_of(call_id)
    text = await ledger.job_texts.change(
        job, lambda text: change(unpack_record(text)).packed(), keep_ms=_KEPT_MS + KEPT_LONGER_MS
    )
    record, found = unpack_record(text), await ledger.tickets.look_up(job)
    if found is not None and (record.is_settled or found.reservation.state is State.EXPIRED):
        await _book(ledger, found, record)


async def _until_answered(ask: Callable[[], Awaitable[None]]) -> None:
    for delay_s in (0.0, *RETRY_S):
        await asyncio.sleep(delay_s)
        with suppress(*NO_ANSWER):
            await ask()
            return
    _log.warning("the store gives no answer: what is known of a call around the gateway is not kept")


async def pass_hangup(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    address: CallAddress,
    ledger: Ledger,
    gone: RealtimeGone,
) -> None:
    """Let the app hang up a call; if the provider confirms that, the call has ended.

    So it has if the provider does not know it any more, and the operator says that this means it (``gone``).
    """
    reading: KeptAnswer | None = None

    async def send_and_note(message: Message) -> None:
        nonlocal reading
        if message["type"] == "http.response.start":
            if message["status"] in _CONFIRMED:
                # Before the client hears of it, who may go on at once, at another worker.
                await _note_end(ledger, address)
            elif message["status"] == _UNKNOWN and gone is RealtimeGone.ENDED:
                reading = KeptAnswer(_MOST_BYTES)
        elif message["type"] == "http.response.body" and reading is not None:
            reading.feed(bytes(message.get("body", b"")))
            if not message.get("more_body", False) and says_gone(parse_body(reading.body)):
                await _note_end(ledger, address)
        await send(message)

    await app(scope, receive, send_and_note)


async def _note_end(ledger: Ledger, address: CallAddress) -> None:
    now_ms = ledger.store_time_ms()

    async def note() -> None:
        if await _look_up(ledger, address) is not None:
            await _change(ledger, address.id, lambda record: record.with_end(now_ms))

    try:
        await note()
    except NO_ANSWER:
        # The client is not to wait any longer.
        ledger.run_in_background(_until_answered(note))


def _job_of(call_id: str) -> Job:
    return Job(REALTIME_DIRECT.name, call_id)


async def _settle_expired(ledger: Ledger, found: OpenTicket) -> None:
    with suppress(*NO_ANSWER):
        record = unpack_record(await ledger.job_texts.text(_job_of(found.ticket.job)))
        if record.watched or record.ended_ms:
            await _book(ledger, found, record)


async def _book(ledger: Ledger, found: OpenTicket, record: CallRecord) -> None:
    """Book the ceiling's rate for the time that nobody watched; what was watched is booked already."""
    known = found.reservation
    session, seconds = planned_session(mapping_of(found.ticket.details.get(PLANNED)))
    is_expired = known.state is State.EXPIRED
    # What the operator wants to be booked at a deadline is the most of it, and nothing of what he has released.
    ceiling = known.booked if is_expired else known.asked_or_held
    created_ms = known.created_ms
    gaps = record.unwatched(
        from_ms=created_ms, until_ms=created_ms + seconds * 1_000, answer_ms=longest_answer_ms(session)
    )
    amounts = unwatched_amounts(
        session,
        ledger.prices,
        ceiling=ceiling,
        seconds=seconds,
        gaps_ms=[(start - created_ms, end - created_ms) for start, end in gaps],
    )
    if is_expired and (amounts.usd, amounts.tokens) == (ceiling.usd, ceiling.tokens):
        return
    unwatched_s = sum(end - start for start, end in gaps) / 1_000
    bill = pack(nanos=amounts.usd, amounts=(Amount(AmountKind.ESTIMATE, amounts.usd),))
    await ledger.tickets.book(found, amounts, reason=f"estimated_unwatched, {unwatched_s:.0f} s", bill=bill)
