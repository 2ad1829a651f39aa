"""The handles of a session's calls, for the app."""

from budget_middleware.ledger import BudgetHandle
from budget_middleware.sessions.call import SessionCall
from budget_middleware.sessions.lanes import Lanes


class SessionHandles:
    """What an app finds in ``scope["state"]["budget"]`` of a WebSocket. A call is to be asked for while it is open."""

    __slots__ = ("_lanes",)

    def __init__(self, lanes: Lanes[SessionCall]) -> None:
        self._lanes = lanes

    def call(self, lane: str = "") -> BudgetHandle | None:
        """The handle of the call that is answered in a lane (a ``stream_id``), else of the next there; None if none is.

        Without a lane: of the session's one lane, or of whatever call was asked for first.
        """
        call = self._lanes.answered(lane) or self._lanes.next(lane)
        return call.settlement.handle if call is not None and call.is_open else None
