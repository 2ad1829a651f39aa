"""One WebSocket: admits the calls that its client asks for, follows their answers, and ends each of them once.

Theory of operation. The session stands between the server and the app, as ASGI's ``receive`` and ``send``:

    client ──> _receive ── asks for a call? ── admit ──> app         refused: an error event to the client, and
                                                                     the app does not see what was asked for
    client <── _send <── event of the server <────────── app
                  │ begins     the call that its lane waits for; if it waits for none, the server began one by itself:
                  │            that is admitted now, or cancelled, or the session ends
                  │ goes on    text, usage; grows the hold
                  └ ends       booked before the client sees the end, so that its next call sees what this one has cost

Events decide, not their number: an error in a lane whose call has begun ends nothing, since it may be about any event
of the client; and what a call that was given up too early answers all the same is a call that the server began. So no
answer goes without a hold, whatever a client sends to confuse its session.

However the session ends, each call that has not ended does: by the abort rule if the client has left, else as broken.
"""

import asyncio
import json
from time import monotonic
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.protocol.base import Refusal
from budget_middleware.apis.protocol.session_events import Asked, SessionDialect
from budget_middleware.core.costs.charges import End, OnAbort
from budget_middleware.request.scopes import of_session
from budget_middleware.request.stopping import StreamStoppedError, is_caused_by_stop
from budget_middleware.sessions.asking import Asking, SessionContext
from budget_middleware.sessions.call import SessionCall
from budget_middleware.sessions.client_side import POLICY_VIOLATION, ClientSide
from budget_middleware.sessions.event_body import data_of
from budget_middleware.sessions.handles import SessionHandles
from budget_middleware.sessions.inbox import Inbox
from budget_middleware.sessions.lanes import Lanes
from budget_middleware.sessions.nesting import SessionNesting
from budget_middleware.sessions.server_side import ServerSide
from budget_middleware.sessions.shared_conversations import share

_MOST_REASON_BYTES: Final = 123


class Session:
    """The ASGI messages of one WebSocket."""

    def __init__(
        self, context: SessionContext, dialect: SessionDialect, scope: Scope, *, path: str, receive: Receive, send: Send
    ) -> None:
        self._conversation = dialect.open(scope, path=path)
        share(self._conversation, context.ledger)
        self._server_send = send
        self._settings = context.settings
        self._lanes: Lanes[SessionCall] = Lanes()
        self._nesting = SessionNesting(context.ledger, context.settings, scope)
        self._scope = of_session(self._nesting.asks_inner(scope), SessionHandles(self._lanes))
        inbox = Inbox(receive, may_interrupt=self._conversation.may_interrupt)
        self._asking = Asking(context, dialect.api, scope, path=path, inbox=inbox)
        self._client = ClientSide(
            inbox, self._conversation, self._asking, self._lanes, refuse=self._refuse, break_off=self._break_off
        )
        self._server = ServerSide(
            inbox,
            self._conversation,
            self._asking,
            self._lanes,
            settings=context.settings,
            ledger=context.ledger,
            nesting=self._nesting,
            refuse=self._refuse,
            break_off=self._break_off,
        )
        # The app sends from one task, and a refusal from the task that receives.
        self._sending = asyncio.Lock()
        self._is_client_gone = False
        self._is_broken_off = False
        self.is_over = False

    @property
    def is_quiet(self) -> bool:
        """Whether nothing that was asked for, or that the server has begun, waits for its end."""
        return all(call.is_maybe or call.time is not None for call in self._lanes)

    async def run(self, app: ASGIApp) -> None:
        """Call the app; whatever becomes of it, each call's ending has begun when this returns or raises."""
        try:
            await app(self._scope, self._receive, self._send)
        except BaseException as error:
            if not (self._is_broken_off and is_caused_by_stop(error)):
                raise
        finally:
            self._client.close()
            self._end_all()

    def _end_all(self) -> None:
        self.is_over = self._client.is_over = True
        end = End.CLIENT_GONE if self._is_client_gone or self._is_broken_off else End.BROKEN
        for call in self._lanes:
            call.break_off(end)
        self._lanes.clear()

    # From the client.

    async def _receive(self) -> Message:
        message = await self._client.next()
        if message["type"] == "websocket.disconnect" and not self.is_over:
            await self._notice_client_left()
        return message

    async def _notice_client_left(self) -> None:
        self._is_client_gone = True
        if self._settings.on_abort is OnAbort.DRAIN:
            for call in self._lanes:
                if call.ends_with_client:
                    call.break_off(End.CLIENT_GONE)
                else:
                    await call.settlement.wait_until_begun()

    # To the client.

    async def _send(self, message: Message) -> None:
        if self._is_broken_off:
            raise StreamStoppedError("this session was closed by its budget")
        if message["type"] == "websocket.close":
            self._end_all()
        drains = self._drains()
        if message["type"] == "websocket.send":
            message, names = self._nesting.read(message)
            if not (self.is_over or await self._server.follow(data_of(message), names)):
                return
            message = self._nesting.write(message, names)
        if not drains:
            await self._pass(message)

    def _drains(self) -> bool:
        """Whether answers are read to their end though their client has left, which nobody tells the app."""
        return self._is_client_gone and self._settings.on_abort is OnAbort.DRAIN and len(self._lanes) > 0

    async def _break_off(self, refusal: Refusal, asked: Asked) -> None:
        """Tell the client why, and close: nothing but that stops what the server has begun."""
        if await self._send_error(refusal, asked):
            await self._close(str(refusal.reason))
        else:
            await self._close(refusal.message)

    async def _refuse(self, refusal: Refusal, asked: Asked) -> None:
        """Tell the client that a call is refused; where the API has no way to say so, close the session."""
        if not await self._send_error(refusal, asked):
            await self._close(refusal.message)

    async def _close(self, reason: str) -> None:
        self._is_broken_off = True
        self._end_all()
        # A frame that closes has room for 123 bytes of it.
        short = reason.encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
        await self._pass({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": short})

    async def _send_error(self, refusal: Refusal, asked: Asked) -> bool:
        event = self._conversation.error_event(refusal, asked)
        if event is not None:
            await self._pass({"type": "websocket.send", "text": json.dumps(event)})
        return event is not None

    async def _pass(self, message: Message) -> None:
        async with self._sending:
            self._asking.client_wait.since_s = monotonic()
            try:
                await self._server_send(message)
            except OSError:
                self._is_client_gone = True
                if not self._drains():
                    raise
            finally:
                self._asking.client_wait.since_s = None
