"""A session's messages from its client to the app: of those that ask for calls, only what is admitted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from starlette.types import Message

from budget_middleware.apis.protocol.base import Reason, Refusal
from budget_middleware.apis.protocol.session_events import Asked, Conversation
from budget_middleware.request.admission import Refused
from budget_middleware.sessions.ahead import RefusedAhead
from budget_middleware.sessions.asking import Asking
from budget_middleware.sessions.call import SessionCall
from budget_middleware.sessions.event_body import data_of
from budget_middleware.sessions.inbox import Inbox
from budget_middleware.sessions.lanes import Lanes

POLICY_VIOLATION: Final = 1008
"""The code of a WebSocket that is closed because of its budget."""

MOST_CALLS: Final = 256
"""So many calls of a session may have been asked for and not ended: each of them holds budget."""


class ClientSide:
    """Gives the app the client's messages.

    ``refuse`` tells the client of a call that is refused, ``break_off`` closes the session as well.
    ``is_over``: the session has ended, and nothing more is admitted.
    """

    def __init__(
        self,
        inbox: Inbox,
        conversation: Conversation,
        asking: Asking,
        lanes: Lanes[SessionCall],
        *,
        refuse: Callable[[Refusal, Asked], Awaitable[None]],
        break_off: Callable[[Refusal, Asked], Awaitable[None]],
    ) -> None:
        self.is_over = False
        self._inbox = inbox
        self._conversation = conversation
        self._asking = asking
        self._lanes = lanes
        self._refuse = refuse
        self._break_off = break_off
        # Tells when the time is over that is held for; the message that it makes is no client's.
        self._timer: asyncio.TimerHandle | None = None
        self._refused_ahead = RefusedAhead(monotonic)
        # Outlives a receive that the app gives up: such a receive would lose the event, and its hold.
        self._admitting: asyncio.Task[Message | None] | None = None

    async def next(self) -> Message:
        """The next message for the app."""
        while not self.is_over:
            if self._admitting is not None:
                admitted = await self._admitted(self._admitting)
                if admitted is not None and admitted["type"] != _TIME_IS_OVER:
                    return admitted
                continue
            message = await self._inbox.next()
            asked = self._asked_by(message)
            if not asked and message["type"] != _TIME_IS_OVER:
                return message
            if asked and not self._refused_ahead.withholds(asked):
                self._admitting = asyncio.create_task(self._admit(message, asked))
        return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": ""}

    def _asked_by(self, message: Message) -> list[Asked]:
        if message["type"] == _TIME_IS_OVER:
            over: Asked = message["asked"]
            time = over.time.following() if over.time is not None else None
            return [over._replace(time=time)] if time is not None else []
        if message["type"] != "websocket.receive":
            return []
        asked = self._conversation.read_client(data_of(message))
        return [each for each in asked if not self._is_held(each) and self._asking.costs_something(each)]

    async def _admitted(self, admitting: "asyncio.Task[Message | None]") -> Message | None:
        await asyncio.wait((admitting,))
        if self._admitting is not admitting:
            return None
        self._admitting = None
        return None if admitting.cancelled() else admitting.result()

    def close(self) -> None:
        """Read and admit nothing more."""
        self._inbox.close()
        if self._admitting is not None:
            self._admitting.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _is_held(self, asked: Asked) -> bool:
        """Whether a call that is open in its lane is held for what may be answered."""
        if not asked.is_maybe or asked.time is not None:
            return False
        ahead = self._lanes.ahead(asked.lane)
        return (ahead is not None and ahead.is_open) or self._lanes.is_busy(asked.lane)

    async def _admit(self, message: Message, asked: Sequence[Asked]) -> Message | None:
        """An event that asks for calls, if all of them are admitted."""
        calls: list[tuple[Asked, SessionCall]] = []
        try:
            for each in asked:
                call = await self._admit_one(each, data_of(message))
                if call is not None:
                    calls.append((each, call))
            if len(calls) == len(asked) and not self.is_over:
                while calls:
                    each, call = calls.pop(0)
                    self._add(each, call)
                return message
        finally:
            for _, call in calls:
                call.give_back("the app did not see what asked for it")
        return None

    def _add(self, asked: Asked, call: SessionCall) -> None:
        if asked.time is None:
            add = self._lanes.keep_ahead if asked.is_maybe else self._lanes.add
            add(asked.lane, call)
            return
        call.begin_time(asked.time, model=asked.model)
        self._lanes.begin(asked.lane, call)
        if asked.time.by_clock:
            message = {"type": _TIME_IS_OVER, "asked": asked}
            self._timer = asyncio.get_running_loop().call_later(asked.time.left_s, self._inbox.inject, message)

    async def _admit_one(self, asked: Asked, data: bytes) -> SessionCall | None:
        if asked.time is not None and (before := self._lanes.answered(asked.lane)) is not None:
            # Its time is over.
            self._lanes.end(before)
            await before.complete()
        if len(self._lanes) < MOST_CALLS:
            call = await self._asking.admit_asked(asked, data)
        else:
            call = _TOO_MANY_CALLS
            self._asking.count_refused(call)
        if not isinstance(call, Refused):
            self._refused_ahead.admit(asked)
            if call is not None:
                call.event_id = asked.event_id
        elif asked.time is not None and asked.time.by_clock:
            # It goes on passing, and costs, until the session is closed.
            await self._break_off(call.refusal, asked)
        elif self._refused_ahead.refuse(asked):
            await self._refuse(call.refusal, asked)
        return None if isinstance(call, Refused) else call


_TIME_IS_OVER: Final = "budget.time_is_over"
_TOO_MANY = f"{MOST_CALLS} calls of this session have not ended; wait for one of them."
_TOO_MANY_CALLS: Final = Refused(Refusal(status=503, reason=Reason.BUSY, message=_TOO_MANY))
