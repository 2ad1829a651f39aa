"""Follows what the server says of a session's calls: holds, grows and books them, and ends what a limit does not allow.

A call that nobody asked for, and that is refused when it begins, costs money until it ends. Where the API has an event
that cancels a call, the server gets that as if the client had sent it; the client does not see the call, and what the
server then says it has cost is booked. Where it has none, the session is closed.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Final

from budget_middleware.apis.protocol.base import Reason, Refusal
from budget_middleware.apis.protocol.session_events import Asked, Conversation, ServerEvent, Step
from budget_middleware.core.costs.charges import End
from budget_middleware.ledger import Ledger
from budget_middleware.request.admission import Refused
from budget_middleware.request.stopping import WHY_STOPPED, stop_refusal, stops_at_limits
from budget_middleware.sessions.asking import Asking
from budget_middleware.sessions.call import SessionCall
from budget_middleware.sessions.inbox import Inbox
from budget_middleware.sessions.lanes import Lanes
from budget_middleware.sessions.nesting import EventNames, SessionNesting
from budget_middleware.settings import Settings

Tell = Callable[[Refusal, Asked], Awaitable[None]]


class ServerSide:
    """Takes the server's events. ``refuse`` tells the client of a refusal, ``break_off`` closes the session as well."""

    def __init__(
        self,
        inbox: Inbox,
        conversation: Conversation,
        asking: Asking,
        lanes: Lanes[SessionCall],
        *,
        settings: Settings,
        ledger: Ledger,
        nesting: SessionNesting,
        refuse: Tell,
        break_off: Tell,
    ) -> None:
        self._inbox = inbox
        self._conversation = conversation
        self._asking = asking
        self._lanes = lanes
        self._ledger = ledger
        self._nesting = nesting
        self._stops = stops_at_limits(settings)
        self._exhausted_status = settings.exhausted_status
        self._refuse = refuse
        self._break_off = break_off

    async def follow(self, data: bytes, names: EventNames) -> bool:
        """Take an event of the server, and what it has ``names`` of; whether the client may see it."""
        event = self._conversation.read_server_event(data)
        if event is None:
            return True
        if event.step is Step.REFUSED:
            await self._give_up(event)
            return True
        call = self._answered(event)
        if call is None:
            if event.step is Step.GOES_ON and self._next(event) is None:
                return True
            call = await self._begin(event, names, n_bytes=len(data))
        if call is None:
            return False
        if event.model:
            call.seen.take_model(event.model)
        call.read(data, spoken_tokens=event.spoken_tokens)
        if call.settlement.is_cut:
            await self._break_off(_CUT, Asked(event.lane))
            call.settlement.report_late_cost()
            return False
        if event.step is Step.ENDS:
            await self._nesting.end(call)
            await call.complete()
            self._lanes.end(call)
            return call.is_shown
        if call.is_outgrown:
            await self._outgrow(call, lane=event.lane)
        return call.is_shown and not call.is_cancelled

    def _answered(self, event: ServerEvent) -> SessionCall | None:
        """The call that is answered in the lane, if the event is about that one still."""
        call = self._lanes.answered(event.lane)
        if call is None or event.step is not Step.BEGINS or call.answers_to(event.call_id):
            return call
        # A lane has one call at a time, so its end was lost.
        call.break_off(End.BROKEN)
        self._lanes.end(call)
        return None

    async def _begin(self, event: ServerEvent, names: EventNames, *, n_bytes: int) -> SessionCall | None:
        """The call that the server begins to answer; None if nobody asked for it, and the session ends with it."""
        call = self._next(event)
        if call is None:
            unasked = await self._asking.admit_unasked(event.body, n_bytes=n_bytes)
            call = await self._cancel_refused(event, unasked, n_bytes) if isinstance(unasked, Refused) else unasked
        if call is not None:
            call.begin(event.call_id)
            self._lanes.begin(event.lane, call)
            await self._nesting.begin(call, names)
        return call

    def _next(self, event: ServerEvent) -> SessionCall | None:
        """The call that the server is to answer next where this event belongs, if the ledger has not ended it."""
        for lane in event.asked_in or (event.lane,):
            call = self._lanes.next(lane)
            if call is not None and call.is_maybe and not call.is_open:
                self._lanes.end(call)
            elif call is not None:
                return call
        return None

    async def _cancel_refused(self, event: ServerEvent, refused: Refused, n_bytes: int) -> SessionCall | None:
        """Have a call that is refused cancelled, and hold what it comes to until then; None if nothing can do that."""
        asked, is_over = Asked(event.lane), event.step is Step.ENDS
        cancel = None if is_over else self._conversation.cancel_event(event.call_id)
        call: SessionCall | Refused = refused
        if is_over or cancel is not None:
            call = await self._asking.admit_unasked(event.body, n_bytes=n_bytes, is_refused=True)
        if isinstance(call, Refused):
            await self._break_off(refused.refusal, asked)
            return None
        await self._refuse(refused.refusal, asked)
        if cancel is not None:
            self._inject(cancel)
            # What is over has been paid for, and may as well be seen.
            call.is_shown, call.is_cancelled = False, True
        return call

    def _inject(self, event: dict[str, object]) -> None:
        self._inbox.inject({"type": "websocket.receive", "text": json.dumps(event)})

    async def _give_up(self, event: ServerEvent) -> None:
        """Give up the call that an error is about, or else that its lane waits for: if it was about something else,
        the answer still comes.
        """
        if event.event_id:
            call = next((each for each in self._lanes.waiting() if each.event_id == event.event_id), None)
        else:
            call = self._lanes.next(event.lane)
        if call is not None and not call.is_maybe and self._lanes.answered(event.lane) is None:
            self._lanes.end(call)
            await call.fail(event.status)

    async def _outgrow(self, call: SessionCall, *, lane: str) -> None:
        """Have more held for a call; if that passes a limit at which answers are stopped, stop it."""
        if not self._stops or call.is_cancelled:
            self._ledger.grow(call.hold)
            return
        passed = await self._ledger.grow_and_look(call.hold)
        if passed is None or call.settlement.charge is not None:
            return
        refusal = stop_refusal(passed, status=self._exhausted_status)
        cancel = self._conversation.cancel_event(call.server_id)
        call.is_cancelled = True
        if cancel is not None:
            self._inject(cancel)
            await self._refuse(refusal, Asked(lane))
        else:
            await call.settlement.stop(why=WHY_STOPPED)
            await self._break_off(refusal, Asked(lane))


_CUT: Final = Refusal(status=503, reason=Reason.BUSY, message="This gateway has ended the call; ask for it again.")
