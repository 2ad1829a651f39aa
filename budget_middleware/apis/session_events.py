"""What the events of a WebSocket say about the calls within it, in one vocabulary for all APIs.

A session is a WebSocket on which a client asks for several calls, one after the other or side by side. A *lane* is a
sequence of calls within a session, of which one is answered at a time; most sessions have one, which has no name.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple, Protocol

from budget_middleware.apis.base import Api, Refusal


class Step(Enum):
    """How an event of the server brings a call forward."""

    BEGINS = auto()
    GOES_ON = auto()
    ENDS = auto()
    REFUSED = auto()
    """The server answers an event of the client with an error. It may be the one that asked for the call."""


class ServerEvent(NamedTuple):
    """An event of the server about a call.

    Of an event that begins or ends one ``body`` is what the server says of it, and ``call_id`` the server's own id;
    ``status`` is what HTTP would answer in the place of an error.
    """

    step: Step
    lane: str = ""
    body: Mapping[str, object] = {}
    call_id: str = ""
    status: int = 200


class SessionDialect(Protocol):
    """One API's way to have calls on a WebSocket. Every method takes any bytes; none raises."""

    @property
    def api(self) -> Api:
        """Reads what a call asks for, and the events of its answer."""
        ...

    def lane_of_call(self, data: bytes) -> str | None:
        """The lane of the call that an event of a client asks for; None if it asks for none."""
        ...

    def read_server_event(self, data: bytes) -> ServerEvent | None:
        """What an event of the server says; None if it is about no call."""
        ...

    def error_event(self, refusal: Refusal, *, lane: str) -> dict[str, object]:
        """The event that makes the API's SDK raise its own error, for a call of this lane."""
        ...
