"""One WebSocket: admits the calls that its client asks for, follows their answers, and ends each of them once.

Theory of operation. The session stands between the server and the app, as ASGI's ``receive`` and ``send``:

    client ──> _receive ── asks for a call? ── admit ──> app         refused: an error event to the client, and
                                                                     the app does not see what was asked for
    client <── _send <── event of the server <────────── app
                  │ begins     the call that its lane waits for; if it waits for none, the server began one by itself:
                  │            that is admitted now, or the session ends
                  │ goes on    text, usage; grows the hold
                  └ ends       booked before the client sees the end, so that its next call sees what this one has cost

Events decide, not their number: an error in a lane whose call has begun ends nothing, since it may be about any event
of the client; and what a call that was given up too early answers all the same is a call that the server began. So no
answer goes without a hold, whatever a client sends to confuse its session.

However the session ends, each call that has not ended does: by the abort rule if the client has left, else as broken.
"""

import asyncio
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.base import Reason, Refusal
from budget_middleware.apis.session_events import ServerEvent, SessionDialect, Step
from budget_middleware.core.charges import End, OnAbort
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.request.admission import Admission, Admitted, Refused
from budget_middleware.request.stopping import (
    WHY_STOPPED,
    StreamStoppedError,
    is_caused_by_stop,
    stop_refusal,
    stops_at_limits,
)
from budget_middleware.sessions.call import SessionCall, waiting
from budget_middleware.sessions.event_body import EventBody, data_of, read_event_body
from budget_middleware.sessions.lanes import Lanes
from budget_middleware.settings import Settings

_POLICY_VIOLATION = 1008


class Session:
    """The ASGI messages of one WebSocket."""

    def __init__(
        self,
        dialect: SessionDialect,
        scope: Scope,
        *,
        path: str,
        payers_fields: tuple[str, ...],
        receive: Receive,
        send: Send,
        admission: Admission,
        settings: Settings,
        ledger: Ledger,
    ) -> None:
        self._dialect = dialect
        self._scope = scope
        self._path = path
        self._payers_fields = payers_fields
        self._headers = HeaderTable(scope["headers"])
        self._server_receive = receive
        self._server_send = send
        self._admission = admission
        self._settings = settings
        self._ledger = ledger
        self._stops = stops_at_limits(settings)
        self._lanes: Lanes[SessionCall] = Lanes()
        # The app sends from one task, and a refusal from the task that receives.
        self._sending = asyncio.Lock()
        self._is_client_gone = False
        self._is_broken_off = False
        self._is_over = False

    async def run(self, app: ASGIApp) -> None:
        """Call the app; whatever becomes of it, each call's ending has begun when this returns or raises."""
        try:
            await app(self._scope, self._receive, self._send)
        except BaseException as error:
            if not (self._is_broken_off and is_caused_by_stop(error)):
                raise
        finally:
            self._end_all()

    def _end_all(self) -> None:
        self._is_over = True
        end = End.CLIENT_GONE if self._is_client_gone or self._is_broken_off else End.BROKEN
        for call in self._lanes:
            call.break_off(end)
        self._lanes.clear()

    # From the client.

    async def _receive(self) -> Message:
        while not self._is_over:
            message = await self._server_receive()
            if message["type"] == "websocket.disconnect":
                await self._notice_client_left()
                return message
            if message["type"] != "websocket.receive" or await self._admits(data_of(message)):
                return message
        return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION, "reason": ""}

    async def _notice_client_left(self) -> None:
        self._is_client_gone = True
        if self._settings.on_abort is OnAbort.DRAIN:
            for call in self._lanes:
                await call.settlement.wait_until_begun()

    async def _admits(self, data: bytes) -> bool:
        """Whether the app may see an event; if it asks for a call, that was admitted."""
        lane = self._dialect.lane_of_call(data)
        if lane is None or self._is_over:
            return not self._is_over
        body = await read_event_body(
            data,
            headers=self._headers,
            max_bytes=self._settings.max_body_bytes,
            fields=self._payers_fields,
        )
        call = await self._admit(body)
        if isinstance(call, Refused):
            await self._send_error(call.refusal, lane=lane)
        elif self._is_over:
            self._ledger.release(call.hold, reason="the session ended before it was asked for")
        else:
            self._lanes.add(lane, call)
            return True
        return False

    async def _admit(self, body: EventBody) -> SessionCall | Refused:
        api = self._dialect.api
        decided = await self._admission.admit(api, self._scope, body, path=self._path)
        if isinstance(decided, Admitted):
            return SessionCall(api, decided, settings=self._settings, ledger=self._ledger)
        self._admission.count_refused(decided)
        return decided

    # To the client.

    async def _send(self, message: Message) -> None:
        if self._is_broken_off:
            raise StreamStoppedError("this session was closed by its budget")
        if message["type"] == "websocket.close":
            self._end_all()
        drains = self._drains()
        if message["type"] == "websocket.send" and not (self._is_over or await self._follow(data_of(message))):
            return
        if not drains:
            await self._pass(message)

    def _drains(self) -> bool:
        """Whether answers are read to their end though their client has left, which nobody tells the app."""
        return self._is_client_gone and self._settings.on_abort is OnAbort.DRAIN and any(True for _ in self._lanes)

    async def _follow(self, data: bytes) -> bool:
        """Take an event of the server; whether the client may see it."""
        event = self._dialect.read_server_event(data)
        if event is None:
            return True
        if event.step is Step.REFUSED:
            await self._refuse_next(event)
            return True
        call = self._answered(event)
        if call is None:
            if event.step is Step.GOES_ON and self._lanes.next(event.lane) is None:
                return True
            call = await self._begin(event, n_bytes=len(data))
        if call is None:
            return False
        call.read(data)
        if call.settlement.is_cut:
            await self._break_off(_CUT, lane=event.lane)
            call.settlement.report_late_cost()
            return False
        if event.step is Step.ENDS:
            await call.complete()
            self._lanes.end(call)
        elif call.is_outgrown:
            return await self._outgrow(call, lane=event.lane)
        return True

    def _answered(self, event: ServerEvent) -> SessionCall | None:
        """The call that is answered in the lane, if the event is about that one still."""
        call = self._lanes.answered(event.lane)
        if call is None or event.step is not Step.BEGINS or call.answers_to(event.call_id):
            return call
        # A lane has one call at a time, so its end was lost.
        call.break_off(End.BROKEN)
        self._lanes.end(call)
        return None

    async def _begin(self, event: ServerEvent, *, n_bytes: int) -> SessionCall | None:
        """The call that the server begins to answer; None if nobody asked for it, and it is refused."""
        call = self._lanes.next(event.lane)
        if call is None:
            unasked = await self._admit(EventBody(event.body, headers=self._headers, n_bytes=n_bytes))
            if isinstance(unasked, Refused):
                await self._break_off(unasked.refusal, lane=event.lane)
                return None
            call = unasked
        call.server_id = event.call_id
        self._lanes.begin(event.lane, call)
        return call

    async def _refuse_next(self, event: ServerEvent) -> None:
        """Give up the call that its lane waits for: if this error was about something else, the answer still comes."""
        call = self._lanes.next(event.lane)
        if call is not None and self._lanes.answered(event.lane) is None:
            self._lanes.end(call)
            await call.fail(event.status)

    async def _outgrow(self, call: SessionCall, *, lane: str) -> bool:
        """Have more held for a call; False if that passes a limit at which answers are stopped."""
        if not self._stops:
            self._ledger.grow(call.hold)
            return True
        passed = await self._ledger.grow_and_look(call.hold)
        if passed is None or call.settlement.charge is not None:
            return True
        await call.settlement.stop(why=WHY_STOPPED)
        await self._break_off(stop_refusal(passed, status=self._settings.exhausted_status), lane=lane)
        return False

    async def _break_off(self, refusal: Refusal, *, lane: str) -> None:
        """Tell the client why, and close: nothing but that stops what the server has begun."""
        await self._send_error(refusal, lane=lane)
        self._is_broken_off = True
        self._end_all()
        await self._pass({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": str(refusal.reason)})

    async def _send_error(self, refusal: Refusal, *, lane: str) -> None:
        await self._pass({"type": "websocket.send", "text": json.dumps(self._dialect.error_event(refusal, lane=lane))})

    async def _pass(self, message: Message) -> None:
        try:
            async with waiting(self._lanes), self._sending:
                await self._server_send(message)
        except OSError:
            self._is_client_gone = True
            if not self._drains():
                raise


_CUT = Refusal(status=503, reason=Reason.BUSY, message="This gateway has ended the call; ask for it again.")
