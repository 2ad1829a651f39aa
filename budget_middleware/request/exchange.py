"""Passes ASGI messages between the app and the server for an admitted request, and begins its one ending.

    app(receive, send_and_meter) ──> ending
                                      ├ terminal event or final message: what completes the answer
                                      │   waits for the ending's reply
                                      ├ exception or cancellation: it goes on afterwards
                                      └ return without a final message: the client has gone

The ending begins once, wherever its reason is seen first, in a task of the ledger's own: no cancellation of this
request can lose it. What the app does after its last message changes nothing.

While the request waits for its client, to take a message or to send more of its body, the hold says since when. An
answer whose hold the ledger has ended meanwhile is cut: the app's next body message raises as if the client had gone.
So it does after a stream was stopped at a limit, whose client gets its API's error as the last event.
"""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.answers.answer_reader import AnswerReader
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.streams.framing import is_event_stream
from budget_middleware.core.answers import Answer
from budget_middleware.core.costs.charges import End, OnAbort
from budget_middleware.headers import Headers
from budget_middleware.ledger import AnswerFuture, Ledger
from budget_middleware.request.admission import Admitted
from budget_middleware.request.bills.bill import reported_cost
from budget_middleware.request.bodies.body import RequestBody
from budget_middleware.request.headers.limit_headers import rate_limit_headers, without_same
from budget_middleware.request.headers.refusals import AUTHENTICATION_STATUSES, budget_headers
from budget_middleware.request.headers.soft_limits import warning_headers
from budget_middleware.request.nesting import (
    GUARDS_HEADERS,
    LEDGER_HEADER,
    InnerAnswer,
    LedgerMark,
    books_for,
    without_guards_headers,
)
from budget_middleware.request.scopes import with_handle
from budget_middleware.request.settlement import Settlement
from budget_middleware.request.stopping import LimitStop, is_caused_by_stop
from budget_middleware.settings import Settings

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_COMPLETE: Final = End.COMPLETE
_BODIES: Final = frozenset({"http.response.body", "http.response.zerocopysend"})


class Exchange:
    """One admitted request. ``hides_usage``: the answer's usage was asked for by us, not by the client."""

    def __init__(
        self,
        api: Api,
        admitted: Admitted,
        *,
        body: RequestBody,
        receive: Receive,
        send: Send,
        hides_usage: bool,
        settings: Settings,
        ledger: Ledger,
        ledger_mark: LedgerMark,
    ) -> None:
        self._api_name = api.name
        self._admitted = admitted
        self._hold = admitted.hold
        self._request_body = body
        self._server_receive = receive
        self._server_send = send
        self._settings = settings
        self._ledger = ledger
        self._ledger_mark = ledger_mark
        self._reader = AnswerReader(api, hide_usage=hides_usage, max_body_bytes=settings.max_body_bytes)
        self._settlement = Settlement(admitted, seen=self._reader.seen, settings=settings, ledger=ledger)
        self._settlement.read_whole = self._reader.read_whole
        self._seen = self._reader.seen
        self._seen.in_background = admitted.quote.ask.is_unseen
        self._growth = self._hold.growth
        # Made for an answer that outgrows its hold.
        self._limit_stop: LimitStop | None = None
        self._inner: InnerAnswer | None = None
        self._held_start: Message | None = None
        self._has_trailers = False
        self._has_unread_body = body.has_more
        self._is_client_gone = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Call the app; whatever becomes of it, the ending has begun when this returns or raises."""
        try:
            await app(with_handle(scope, self._settlement.handle), self._receive, self._send_and_meter)
        except asyncio.CancelledError:
            await self._end(End.CLIENT_GONE)
            raise
        except BaseException as error:
            await self._end(End.CLIENT_GONE if self._is_client_gone else End.BROKEN)
            is_our_stop = self._limit_stop is not None and self._limit_stop.has_stopped and is_caused_by_stop(error)
            if not is_our_stop:
                raise
        if self._settlement.charge is None:
            # A client that leaves shows up as an ordinary return without a last message.
            await self._end(End.CLIENT_GONE)
        if self._held_start is not None and not self._settlement.is_cut:
            await self._send(self._released_start())

    async def _receive(self) -> Message:
        """The app's ``receive``: the body that was read, then whatever the server has to say.

        It notes that the client has gone, of which the app may hear at the end only.
        """
        message = self._request_body.replayed() or await self._receive_from_server()
        if message["type"] == "http.disconnect" and self._settlement.charge is None and not self._ends_with_client():
            await self._settlement.wait_until_begun()
        return message

    async def _receive_from_server(self) -> Message:
        if not self._has_unread_body:
            # What may come now is that the client leaves: nobody waits for that.
            return await self._server_receive()
        self._hold.waits_since_s = monotonic()
        try:
            message = await self._server_receive()
        finally:
            self._hold.waits_since_s = None
        self._has_unread_body = message.get("more_body", False)
        return {"type": "http.disconnect"} if self._settlement.is_cut else message

    async def _send_and_meter(self, message: Message) -> None:
        """The app's ``send``: passes every message on; one that completes the answer waits for the ending, so that the
        next request sees it.
        """
        if self._settlement.is_cut or message["type"] not in _BODIES:
            await self._send_other(message)
            return
        growth, seen, passed = self._growth, self._seen, None
        if self._held_start is None and message.get("more_body"):
            # A chunk in the middle of a stream, as nearly all messages are: straight on, if it is an ordinary one.
            passed = self._reader.pass_ordinary(message.get("body"))
        if passed is not None:
            is_last = False
            is_outgrown = growth is not None and (
                seen.text_bytes > growth.grows_at_bytes or seen.chunks > growth.grows_at_tokens
            )
            if passed is not message["body"]:
                message = {**message, "body": passed}
        else:
            read = self._read(message)
            if read is None:
                return
            message, is_last = read
            is_outgrown = not is_last and growth is not None and growth.shows_more()
        if is_outgrown and await self._outgrow(message.get("body", b"")):
            return
        answer = await self._end(_COMPLETE) if is_last else None
        if self._held_start is not None:
            await self._send(self._released_start(answer), message)
            return
        # As `_send` does it, with one coroutine less for each chunk.
        self._hold.waits_since_s = monotonic()
        try:
            await self._server_send(message)
        except OSError:
            if self._ends_with_client():
                raise
        finally:
            self._hold.waits_since_s = None

    async def _send_other(self, message: Message) -> None:
        """Send a start, when it is due, or what comes in place of a body or after it, which may complete the answer."""
        if self._settlement.is_cut:
            self._refuse_to_send(message)
            return
        match message["type"]:
            case "http.response.start":
                is_stream = self._start(message)
                if self._inner is not None:
                    await self._ask_for_inner(self._inner)
                if is_stream:  # Else it is held for the first body message: the cost of a whole body is in the headers.
                    await self._send(self._released_start())
                return
            case "http.response.pathsend":
                self._settlement.output_began = True
                is_last = not self._has_trailers
            case "http.response.trailers":
                is_last = not message.get("more_trailers", False)
            case _:
                await self._send(message)
                return
        answer = await self._end(_COMPLETE) if is_last else None
        if self._held_start is not None:
            await self._send(self._released_start(answer))
        await self._send(message)

    def _start(self, message: Message) -> bool:
        """Take the answer's start, to be sent when it is released; whether that is at once, as a stream's is."""
        self._settlement.status = message["status"]
        self._has_trailers = message.get("trailers", False)
        headers: Headers = []
        for name, value in message.get("headers", ()):
            headers.append((bytes(name), bytes(value)))
        headers = self._reader.begin(message["status"], headers)
        by_name = self._reader.headers
        if not GUARDS_HEADERS.isdisjoint(by_name):
            inner = InnerAnswer(by_name, mark=self._ledger_mark)
            if inner.is_guarded:
                self._inner, headers = inner, without_guards_headers(headers)
        self._held_start = {**message, "headers": headers}
        if is_event_stream(by_name):
            return True
        # A stream's headers are sent before its cost is known.
        cost = by_name.get(self._settings.cost_header.encode())
        if cost is not None:
            self._settlement.bill.reported_nanos = reported_cost(cost.strip())
        return False

    async def _ask_for_inner(self, inner: InnerAnswer) -> None:
        """Ask the store whether a guard behind us books this very call; else it is ours to book."""
        if not inner.reservation_id:
            return
        outer, found = [await self._ledger.look_up(id_) for id_ in (self._hold.id, inner.reservation_id)]
        if books_for(outer, found):
            self._settlement.inner_id = inner.reservation_id
        else:
            inner.reservation_id, inner.cost = "", b""

    def _read(self, message: Message) -> tuple[Message, bool] | None:
        """What to send of a body message, and whether it completes the answer; None if it is all kept from the client,
        or until its event is complete.
        """
        chunk = bytes(message.get("body", b""))  # A memoryview, for one, cannot be parsed.
        has_more = message.get("more_body", False)
        seen = self._seen
        was_terminal = seen.terminal
        forwarded = self._reader.feed(chunk, last=not has_more)
        if 200 <= self._settlement.status < 300 and (chunk or message["type"] == "http.response.zerocopysend"):
            self._settlement.output_began = True
        if forwarded is not chunk:
            message = {**message, "body": forwarded}
        is_last = (not has_more and not self._has_trailers) or (seen.terminal and not was_terminal)
        return (message, is_last) if forwarded or not chunk or is_last else None

    async def _outgrow(self, chunk: bytes) -> bool:
        """Have more held for the answer; whether it was stopped instead, after the events so far."""
        if self._limit_stop is None:
            self._limit_stop = LimitStop(
                self._hold,
                reader=self._reader,
                settlement=self._settlement,
                settings=self._settings,
                ledger=self._ledger,
            )
        stopped = await self._limit_stop.outgrow(chunk)
        if stopped is None:
            return False
        last, answer = stopped
        if self._held_start is not None:
            await self._send(self._released_start(answer))
        # To a client this is all of it, and to the app as if the client had gone: see `_refuse_to_send`.
        await self._send({"type": "http.response.body", "body": last, "more_body": False})
        if self._has_trailers:
            await self._send({"type": "http.response.trailers", "headers": [], "more_trailers": False})
        return True

    def _released_start(self, answer: Answer | None = None) -> Message:
        start, self._held_start = self._held_start, None
        assert start is not None, "a start is sent once"
        if self._settings.headers and self._settlement.status not in AUTHENTICATION_STATUSES:
            ours = self._budget_headers(answer)
            if self._settlement.counts_more_than_money:
                start["headers"] = without_same(start["headers"], ours)
            start["headers"] += ours
        return start

    def _budget_headers(self, answer: Answer | None) -> Headers:
        hold, settlement, inner = self._hold, self._settlement, self._inner
        inner_cost = inner.cost if inner is not None else b""
        charge = None if inner_cost or settlement.is_kept else settlement.charge
        headers = budget_headers(
            hold.id,
            estimate_nanos=hold.asked.usd,
            cost_nanos=charge.nanos if charge is not None else None,
            is_unprotected=self._admitted.is_unprotected,
        )
        if inner_cost:
            headers.append((b"x-budget-cost-usd", inner_cost))
        elif charge is not None:
            headers += settlement.bill.usage_headers()
        if hold.passed:
            headers += warning_headers(hold.passed)
        if mark := self._ledger_mark():
            headers.append((LEDGER_HEADER, mark))
        balances = answer.balances if answer is not None and answer.balances else self._admitted.balances
        now_ms = self._ledger.store_time_ms()
        return headers + rate_limit_headers(hold.targets, balances, now_ms=now_ms, api=self._api_name)

    async def _send(self, *messages: Message) -> None:
        for message in messages:
            self._hold.waits_since_s = monotonic()
            try:
                await self._server_send(message)
            except OSError:
                if self._ends_with_client():
                    raise
            finally:
                self._hold.waits_since_s = None

    def _refuse_to_send(self, message: Message) -> None:
        """Stop an app whose answer was cut, at its first body message: a cost that this reports can still be logged."""
        if message["type"] == "http.response.start":
            self._start(message)
            return
        if message["type"] == "http.response.body":
            self._read(message)
            self._settlement.report_late_cost()
        if self._limit_stop is not None:
            self._limit_stop.raise_if_stopped()
        raise ConnectionAbortedError(f"the answer of reservation {self._hold.id} was cut, since its hold has ended")

    def _ends_with_client(self) -> bool:
        """Remember that the client has gone; whether the app is to hear of it.

        Not before it has named the job that it creates: that runs on, and nobody else would know it when it is over.
        """
        self._is_client_gone = True
        is_creating = self._seen.in_background and self._seen.job is None
        return self._settings.on_abort is not OnAbort.DRAIN and not is_creating

    # The ending.

    def _end(self, end: End) -> Awaitable[Answer | None]:
        """Begin the ending and wait for its answer, at most the store's time-out; nothing if it has begun before."""
        is_whole = self._seen.terminal or self._seen.job is not None
        if end is _COMPLETE and self._is_client_gone and not is_whole:
            end = End.CLIENT_GONE
        if end is _COMPLETE:
            return self._settlement.end(end)
        # Who was cancelled may be so again at each await: this ending goes on without the request.
        return _answer_to(self._settlement.begin(end))


async def _answer_to(ending: AnswerFuture | None) -> Answer | None:
    return await ending if ending is not None else None
