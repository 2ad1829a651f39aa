"""A request that waits for budget that others hold: for how long, before whom, and whether its client is there."""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive

from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Terms
from budget_middleware.request.bodies.body import RequestBody
from budget_middleware.settings import Settings

WAIT_HEADER: Final = b"x-budget-wait-s"
"""For so many seconds a client would wait at most: it may ask for less than BUDGET_WAIT_S, never for more."""

_SECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")
_PRIORITY = re.compile(rb"[+-]?[0-9]{1,9}")


def terms_of(headers: HeaderTable, settings: Settings) -> Terms:
    """What a request asks for, within what the operator allows.

    Neither header can be wrong enough to refuse a request: a time that is none is not asked for, a priority that is
    none is the lowest of all.
    """
    asked = headers.get(WAIT_HEADER, b"").strip()
    asked_s = float(asked) if _SECONDS.fullmatch(asked) else math.inf
    return Terms(min(settings.wait_s, asked_s), _priority(headers, settings.priority))


def _priority(headers: HeaderTable, name: str | None) -> float:
    values = headers.all(name.encode()) if name else ()
    if not values:
        return 0
    value = values[0].strip()
    return int(value) if len(set(values)) == 1 and _PRIORITY.fullmatch(value) else -math.inf


class WaitingClient:
    """The sender of a request; if it leaves while it waits, ``body.is_client_gone`` is set."""

    __slots__ = ("_body", "_receive", "_settings")

    def __init__(self, body: RequestBody, receive: Receive, settings: Settings) -> None:
        self._body = body
        self._receive = receive
        self._settings = settings

    def terms(self) -> Terms:
        return terms_of(self._body.headers, self._settings)

    def has_room(self) -> bool:
        return self._body.may_wait()

    def watch(self, on_left: Callable[[], None]) -> Callable[[], None]:
        """After a whole body nothing can come but that the client has gone; the rest of a longer one is the app's."""
        end_wait = self._body.begin_wait()
        if self._body.has_more:
            return end_wait

        def see(received: "asyncio.Task[Message]") -> None:
            if received.cancelled() or received.exception() is not None or self._body.is_client_gone:
                return
            if received.result()["type"] == "http.disconnect":
                self._body.is_client_gone = True
                on_left()

        receiving = asyncio.get_running_loop().create_task(_next_of(self._receive))
        receiving.add_done_callback(see)

        def stop() -> None:
            end_wait()
            if receiving.done():
                see(receiving)
            else:
                receiving.cancel()

        return stop


async def _next_of(receive: Receive) -> Message:
    return await receive()
