"""One metered request: reserve, call the app, watch its answer, end exactly once.

    read body ──> admit ──> app(receive, send_and_meter) ──> ending
                   │ 400, 429, 503                            ├ terminal event or final message: what completes
                   v                                          │   the answer waits for the ending's reply
                refusal                                       ├ exception or cancellation: it goes on afterwards
                                                              └ return without a final message: the client has gone

The ending begins once, wherever its reason is seen first, in a task of the ledger's own: no cancellation of this
request can lose it. What the app does after its last message changes nothing.
"""

import asyncio
import time
from decimal import Decimal, InvalidOperation
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware import telemetry as names
from budget_middleware.admission import Admission, Admitted, Refused
from budget_middleware.apis.answer import AnswerReader, Headers
from budget_middleware.apis.base import UNREADABLE, Api
from budget_middleware.core.charges import Charge, End, Evidence, OnAbort, charge_of
from budget_middleware.core.model import Answer
from budget_middleware.core.money import MAX_NANOS, nanos_from_usd
from budget_middleware.core.pricing import Rates, cost_nanos
from budget_middleware.ledger import Ledger
from budget_middleware.prices import PriceBook
from budget_middleware.refusals import budget_headers, rate_limit_headers, retry_headers, send_refusal
from budget_middleware.request_body import RequestBody, with_body_length, with_readable_answer
from budget_middleware.settings import Settings

_EVENT_STREAM: Final = b"text/event-stream"
_SMOOTHING: Final = 0.1


class CallTimes:
    """How long calls took lately, in seconds: a running mean that forgets."""

    def __init__(self) -> None:
        self.mean_s = 1.0

    def note(self, call_s: float) -> None:
        self.mean_s += _SMOOTHING * (call_s - self.mean_s)


class BudgetResponder:
    """Lives for one request."""

    def __init__(
        self,
        app: ASGIApp,
        api: Api,
        *,
        settings: Settings,
        ledger: Ledger,
        prices: PriceBook,
        admission: Admission,
        call_times: CallTimes,
    ) -> None:
        self._app = app
        self._api = api
        self._settings = settings
        self._ledger = ledger
        self._prices = prices
        self._admission = admission
        self._call_times = call_times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = RequestBody(receive, max_bytes=self._settings.max_body_bytes)
        await body.read()
        if body.is_client_gone:
            return
        admitted = await self._admission.admit(self._api, scope, body)
        if isinstance(admitted, Refused):
            await self._refuse(admitted, send)
            return
        started = time.monotonic()
        try:
            await self._forward(admitted, scope, body, send)
        finally:
            self._call_times.note(time.monotonic() - started)

    async def _refuse(self, refused: Refused, send: Send) -> None:
        self._ledger.telemetry.count_request(status=refused.refusal.reason, model="other")
        headers = retry_headers(refused.refusal.reason, call_s=self._call_times.mean_s)
        if self._settings.headers and refused.hold is not None and refused.rejection is not None:
            headers += budget_headers(refused.hold.id, estimate_nanos=refused.hold.amount_nanos)
            headers += rate_limit_headers(
                [refused.rejection.target], [refused.rejection.balance], now_ms=self._ledger.store_time_ms()
            )
        await send_refusal(self._api, refused.refusal, send, headers=headers)

    async def _forward(self, admitted: Admitted, scope: Scope, body: RequestBody, send: Send) -> None:
        rewritten = None
        if admitted.body is not UNREADABLE:
            rewritten = self._api.ask_for_usage(body.raw, admitted.body)
        if rewritten is not None:
            body.raw = rewritten
            scope = with_body_length(scope, len(rewritten))
        exchange = Exchange(
            self._api,
            admitted,
            receive=body.receive,
            send=send,
            hides_usage=rewritten is not None,
            settings=self._settings,
            ledger=self._ledger,
            prices=self._prices,
        )
        await exchange.run(self._app, with_readable_answer(scope))


class Exchange:
    """What passes between the app and the server after a request was admitted, until its ending is answered."""

    def __init__(
        self,
        api: Api,
        admitted: Admitted,
        *,
        receive: Receive,
        send: Send,
        hides_usage: bool,
        settings: Settings,
        ledger: Ledger,
        prices: PriceBook,
    ) -> None:
        self._admitted = admitted
        self._server_receive = receive
        self._server_send = send
        self._settings = settings
        self._ledger = ledger
        self._prices = prices
        self._reader = AnswerReader(api, hide_usage=hides_usage, max_body_bytes=settings.max_body_bytes)
        self._ending: asyncio.Task[Answer | None] | None = None
        self._has_ended = asyncio.Event()
        self._charge: Charge | None = None
        self._held_start: Message | None = None
        self._status = 0
        self._reported_nanos: int | None = None
        self._has_trailers = False
        self._output_began = False
        self._is_client_gone = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send_and_meter)
        except asyncio.CancelledError:
            self._begin_ending(End.CLIENT_GONE)
            raise
        except BaseException:
            self._begin_ending(End.CLIENT_GONE if self._is_client_gone else End.BROKEN)
            raise
        else:
            # A client that leaves shows up as an ordinary return without a last message.
            self._begin_ending(End.CLIENT_GONE)
            if self._held_start is not None:
                await self._send_held_start()
        finally:
            if self._ending is not None:
                await self._ledger.settled(self._ending)

    async def _receive(self) -> Message:
        """The app's ``receive``: notes that the client has gone; with ``drain`` the app hears of it at the end."""
        message = await self._server_receive()
        if message["type"] == "http.disconnect" and self._ending is None:
            self._is_client_gone = True
            if self._settings.on_abort is OnAbort.DRAIN:
                await self._has_ended.wait()
        return message

    async def _send_and_meter(self, message: Message) -> None:
        """The app's ``send``: passes every message on, and begins the ending with the one that completes the answer."""
        match message["type"]:
            case "http.response.start":
                await self._start(message)
            case "http.response.body" | "http.response.zerocopysend":
                await self._body(message)
            case "http.response.pathsend":
                self._output_began = True
                await self._complete(message, is_last=not self._has_trailers)
            case "http.response.trailers":
                await self._complete(message, is_last=not message.get("more_trailers", False))
            case _:
                await self._send(message)

    async def _start(self, message: Message) -> None:
        self._status = message["status"]
        self._has_trailers = message.get("trailers", False)
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        is_stream = _value(headers, b"content-type").startswith(_EVENT_STREAM)
        if not is_stream and self._settings.cost_header:
            # A stream's headers are sent before its cost is known.
            self._reported_nanos = _reported_cost(_value(headers, self._settings.cost_header.encode()))
        message = {**message, "headers": self._reader.begin(self._status, headers)}
        if is_stream:
            await self._send_start(message, settled=None)
        else:
            # Only for the first body message: if that is the whole body, the cost goes into the headers.
            self._held_start = message

    async def _body(self, message: Message) -> None:
        chunk = message.get("body", b"")
        has_more = message.get("more_body", False)
        was_terminal = self._reader.seen.terminal
        forwarded = self._reader.feed(chunk, last=not has_more)
        if 200 <= self._status < 300 and (chunk or message["type"] == "http.response.zerocopysend"):
            self._output_began = True
        if forwarded is not chunk:
            message = {**message, "body": forwarded}
        is_last = not has_more and not self._has_trailers
        is_terminal = self._reader.seen.terminal and not was_terminal
        if has_more and not forwarded and chunk:
            # All of it is kept from the client, or until its event is complete.
            if is_terminal:
                self._begin_ending(End.COMPLETE)
            return
        await self._complete(message, is_last=is_last or is_terminal)

    async def _complete(self, message: Message, *, is_last: bool) -> None:
        """Send a message; one that completes the answer waits for the ending, so that the next request sees it."""
        settled = None
        if is_last:
            self._begin_ending(End.COMPLETE)
        if is_last and self._ending is not None:
            settled = await self._ledger.settled(self._ending)
        if self._held_start is not None:
            await self._send_held_start(settled)
        await self._send(message)

    async def _send_held_start(self, settled: Answer | None = None) -> None:
        start, self._held_start = self._held_start, None
        if start is not None:
            await self._send_start(start, settled=settled)

    async def _send_start(self, message: Message, *, settled: Answer | None) -> None:
        if self._settings.headers:
            message = {**message, "headers": [*message["headers"], *self._budget_headers(settled)]}
        await self._send(message)

    def _budget_headers(self, settled: Answer | None) -> Headers:
        hold = self._admitted.hold
        headers = budget_headers(
            hold.id,
            estimate_nanos=hold.amount_nanos,
            cost_nanos=self._charge.nanos if self._charge is not None else None,
            is_unprotected=self._admitted.is_unprotected,
        )
        balances = settled.balances if settled is not None and settled.balances else self._admitted.balances
        return headers + rate_limit_headers(hold.targets, balances, now_ms=self._ledger.store_time_ms())

    async def _send(self, message: Message) -> None:
        try:
            await self._server_send(message)
        except OSError:
            # Some servers tell the app so that nobody is there any more.
            self._is_client_gone = True
            if self._settings.on_abort is not OnAbort.DRAIN:
                raise

    # The ending.

    def _begin_ending(self, end: End) -> None:
        """Charge the request, once."""
        if self._ending is not None:
            return
        if end is End.COMPLETE and self._is_client_gone and not self._reader.seen.terminal:
            end = End.CLIENT_GONE
        self._has_ended.set()
        charge = self._charge = charge_of(self._evidence(end), on_abort=self._settings.on_abort)
        hold = self._admitted.hold
        if charge.is_release:
            self._ending = self._ledger.release(hold, reason=charge.reason)
        else:
            self._ending = self._ledger.finalize(
                hold, actual_nanos=charge.nanos, reason=charge.reason, attributes=self._usage_attributes()
            )
        self._count(charge, end)

    def _evidence(self, end: End) -> Evidence:
        seen, quote = self._reader.seen, self._admitted.quote
        return Evidence(
            end=end,
            is_error=self._status >= 300,
            output_began=self._output_began,
            actual_nanos=self._actual_nanos(),
            input_nanos=quote.input_nanos,
            seen_nanos=quote.seen_nanos(seen.output_tokens) if seen.readable else None,
            estimate_nanos=quote.estimate_nanos,
        )

    def _actual_nanos(self) -> int | None:
        """The gateway's own cost, else the usage at the rates of the model that answered; None: neither came."""
        seen, rates = self._reader.seen, self._billed_rates()
        for reported in (self._reported_nanos, seen.cost_nanos):
            # A gateway that knows no price reports 0: that is no cost where we know one.
            if reported is not None and (reported > 0 or rates is None):
                return reported
        if seen.usage is None:
            return None
        return cost_nanos(rates, seen.usage) if rates is not None else 0

    def _billed_rates(self) -> Rates | None:
        """A gateway may have fallen back to another model: the one that answered is billed, if it has a price."""
        answered = self._prices.resolve(self._reader.seen.model or "")
        return answered if answered is not None and answered.model else self._admitted.quote.rates

    def _usage_attributes(self) -> names.Attributes:
        seen = self._reader.seen
        attributes: dict[str, str | int | float | bool] = {}
        if seen.model is not None:
            attributes[names.RESPONSE_MODEL] = seen.model
        if seen.usage is not None:
            attributes[names.INPUT_TOKENS] = seen.usage.input_tokens
            attributes[names.OUTPUT_TOKENS] = seen.usage.output_tokens
        return attributes

    def _count(self, charge: Charge, end: End) -> None:
        quote = self._admitted.quote
        telemetry = self._ledger.telemetry
        status = names.UNPROTECTED if self._admitted.is_unprotected else str(end)
        telemetry.count_request(status="unpriced" if quote.rates is None else status, model=quote.metric_model)
        telemetry.count_cost(actual_nanos=charge.nanos, estimate_nanos=quote.estimate_nanos, model=quote.metric_model)


def _value(headers: Headers, name: bytes) -> bytes:
    return next((value for key, value in headers if key.lower() == name), b"").strip()


def _reported_cost(text: bytes) -> int | None:
    """The gateway's cost header in nano-dollars; None for anything that is not an amount."""
    try:
        nanos = nanos_from_usd(Decimal(text.decode("ascii")))
    except (ValueError, InvalidOperation):
        return None
    return nanos if 0 <= nanos <= MAX_NANOS else None
