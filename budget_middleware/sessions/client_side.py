"""A session's messages from its client to the app: of those that ask for calls, only what is admitted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from starlette.types import Message

from budget_middleware.apis.base import Reason, Refusal
from budget_middleware.apis.session_events import Asked, Conversation
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
    """Gives the app the client's messages; ``refuse`` tells the client of a call that is refused.

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
    ) -> None:
        self.is_over = False
        self._inbox = inbox
        self._conversation = conversation
        self._asking = asking
        self._lanes = lanes
        self._refuse = refuse
        self._refused_ahead = RefusedAhead(monotonic)
        # Outlives a receive that the app gives up: such a receive would lose the event, and its hold.
        self._admitting: asyncio.Task[Message | None] | None = None

    async def next(self) -> Message:
        """The next message for the app."""
        while not self.is_over:
            if self._admitting is not None:
                if (admitted := await self._admitted(self._admitting)) is not None:
                    return admitted
                continue
            message = await self._inbox.next()
            if message["type"] != "websocket.receive":
                return message
            asked = [each for each in self._conversation.read_client(data_of(message)) if not self._is_held(each)]
            if not asked:
                return message
            if not self._refused_ahead.withholds(asked):
                self._admitting = asyncio.create_task(self._admit(message, asked))
        return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": ""}

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

    def _is_held(self, asked: Asked) -> bool:
        """Whether a call that is open in its lane is held for what may be answered."""
        ahead = self._lanes.ahead(asked.lane)
        return asked.is_maybe and ((ahead is not None and ahead.is_open) or self._lanes.is_busy(asked.lane))

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
                    add = self._lanes.keep_ahead if each.is_maybe else self._lanes.add
                    add(each.lane, call)
                return message
        finally:
            for _, call in calls:
                call.give_back("the app did not see what asked for it")
        return None

    async def _admit_one(self, asked: Asked, data: bytes) -> SessionCall | None:
        if len(self._lanes) < MOST_CALLS:
            call = await self._asking.admit_asked(asked, data)
        else:
            call = _TOO_MANY_CALLS
            self._asking.count_refused(call)
        if not isinstance(call, Refused):
            self._refused_ahead.admit(asked)
            if call is not None:
                call.event_id = asked.event_id
        elif self._refused_ahead.refuse(asked):
            await self._refuse(call.refusal, asked)
        return None if isinstance(call, Refused) else call


_TOO_MANY = f"{MOST_CALLS} calls of this session have not ended; wait for one of them."
_TOO_MANY_CALLS: Final = Refused(Refusal(status=503, reason=Reason.BUSY, message=_TOO_MANY))
