"""What the events of a WebSocket say about the calls within it, in one vocabulary for all APIs.

A session is a WebSocket on which a client asks for several calls, one after the other or side by side. A *lane* is a
sequence of calls within a session, of which one is answered at a time; most sessions have one, which has no name.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol, runtime_checkable

from budget_middleware.apis.bodies.reading import name_in
from budget_middleware.apis.protocol.base import Api, Refusal
from budget_middleware.apis.protocol.session_time import TimeSlice


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
    ``status`` is what HTTP would answer in the place of an error, ``event_id`` the event of the client that an error
    names. Where the server answers in lanes of its own, ``asked_in`` are those that the call may have been asked for
    in, the likeliest first. ``model`` is the one that answers, where the answer's own events do not say so.
    ``spoken_tokens`` are those of the sound in it, whose form the session alone knows.
    """

    step: Step
    lane: str = ""
    body: Mapping[str, object] = {}
    call_id: str = ""
    status: int = 200
    event_id: str = ""
    asked_in: tuple[str, ...] = ()
    model: str = ""
    spoken_tokens: int = 0


class Asked(NamedTuple):
    """A call that an event of a client asks for, in a lane.

    ``body`` is what the call is estimated by, as a request's would be, with its length; None: the event itself.
    ``is_maybe``: the server decides by itself whether it answers, as it does to sound that it listens to. Of such a
    call one is held ahead in a lane, if no other is open there. ``event_id`` is the client's own id for its event.
    ``time``: the call is for this part of the session's time, and begins as soon as it is admitted. ``why_unread``:
    why nobody can say what it costs, for its client; empty where that is known.
    """

    lane: str = ""
    body: Mapping[str, object] | None = None
    n_bytes: int = 0
    is_maybe: bool = False
    event_id: str = ""
    time: TimeSlice | None = None
    why_unread: str = ""

    @property
    def model(self) -> str:
        """The model that ``body`` names first; "" if it names none."""
        return name_in(self.body or {}, "model") or ""


class Conversation(Protocol):
    """What one session's events say, and what it remembers of them. Every method takes any bytes; none raises."""

    @property
    def may_interrupt(self) -> bool:
        """Whether events of ours may be given to the app between those of the client (`Inbox.inject`)."""
        ...

    def read_client(self, data: bytes) -> Sequence[Asked]:
        """The calls that an event of a client asks for."""
        ...

    def read_server_event(self, data: bytes) -> ServerEvent | None:
        """What an event of the server says; None if it is about no call."""
        ...

    def error_event(self, refusal: Refusal, asked: Asked) -> dict[str, object] | None:
        """The event that makes the API's SDK raise its own error; None if it has none, and the session must be closed.

        ``asked`` is what was refused; of a call that the server has begun by itself it has the lane alone.
        """
        ...

    def cancel_event(self, call_id: str) -> dict[str, object] | None:
        """The event of a client by which the server ends a call, and says what it has cost; None if there is none."""
        ...


@runtime_checkable
class SharedConversation(Protocol):
    """A conversation that may go on in a session at another worker, by a key that both know."""

    def share(self, *, publish: Callable[[str, str], None], look_up: Callable[[str], None]) -> None:
        """From now on ``publish`` what others need under a key, and ``look_up`` what is known of one."""
        ...

    def recall(self, text: str) -> None:
        """What somebody has told under the key that was asked for last."""
        ...


class SessionDialect(Protocol):
    """One API's way to have calls on a WebSocket."""

    @property
    def api(self) -> Api:
        """Reads what a call asks for, and the events of its answer."""
        ...

    def model_ahead(self, scope: Mapping[str, Any]) -> str | None:
        """The model that a handshake names; "" where none can be named so early, None where it may be any later."""
        ...

    def open(self, scope: Mapping[str, Any], *, path: str) -> Conversation:
        """A new session, by the scope of its handshake; ``path`` is the reading of its path that the API knows."""
        ...
