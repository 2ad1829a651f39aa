"""One call within a session: what is seen of its answer, and how it ends."""

from typing import Final

from budget_middleware.apis.answers.event_reader import EventReader
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.session_time import TimeSlice
from budget_middleware.core.costs.charges import End
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.request.admission import Admitted
from budget_middleware.request.settlement import Settlement
from budget_middleware.settings import Settings

_SUCCESS: Final = 200


class SessionCall:
    """An admitted call: the events of its answer go in, and one ending comes out."""

    def __init__(
        self, api: Api, admitted: Admitted, *, settings: Settings, ledger: Ledger, is_maybe: bool = False
    ) -> None:
        self.hold: Hold = admitted.hold
        self._ledger = ledger
        # The server may never begin it.
        self.is_maybe = is_maybe
        # The server's own id for it, once it has begun.
        self.server_id = ""
        self.is_given_back = False
        # What it is for, if it is for time of the session.
        self.time: TimeSlice | None = None
        # The client's own id for the event that asked for it.
        self.event_id = ""
        # The server was told to cancel it; `is_shown` unless the client has not seen it begin.
        self.is_cancelled = False
        self.is_shown = True
        self.seen = Seen()
        self.settlement = Settlement(admitted, seen=self.seen, settings=settings, ledger=ledger)
        self.settlement.status = _SUCCESS
        self._events = EventReader(api)
        self._growth = self.hold.growth
        if is_maybe:
            self.hold.abort = self._give_back_early

    def begin(self, server_id: str) -> None:
        """The server answers it, under this id."""
        self.server_id = server_id
        if self.is_maybe:
            self.is_maybe = False
            self.hold.abort = self.settlement.cut_off

    def begin_time(self, time: TimeSlice, *, model: str) -> None:
        """From now on this time passes, which the call is for, and this model is billed."""
        self.begin("")
        self.seen.take_model(model)
        self.time = time
        self.hold.abort = self._cut_time
        time.begin()

    def _cut_time(self, end: End) -> None:
        self._take_time()
        self.settlement.cut_off(end)

    def _take_time(self) -> None:
        if self.time is not None:
            self.seen.take_usage(self.time.end())

    @property
    def ends_with_client(self) -> bool:
        """Whether nothing more comes of it once its client has left."""
        return self.is_maybe or self.time is not None

    @property
    def is_open(self) -> bool:
        """Whether its hold is still there: the ledger may have ended it."""
        return self.settlement.charge is None and not self.is_given_back

    def give_back(self, reason: str) -> None:
        """Release it: nothing was generated for it."""
        self.is_given_back = True
        self.hold.abort = self.hold.growth = None
        self._ledger.release(self.hold, reason=reason)

    def _give_back_early(self, end: End) -> None:
        self.give_back(f"{end}, before it began")

    def answers_to(self, server_id: str) -> bool:
        """Whether what the server begins under this id is the call; one that has no id yet gets it."""
        self.server_id = self.server_id or server_id
        return self.server_id == server_id

    def read(self, data: bytes, *, spoken_tokens: int = 0) -> None:
        """Take an event of the answer, and the tokens of the sound in it."""
        self.settlement.output_began = True
        self.seen.take_sound(spoken_tokens)
        self._events.read(data, self.seen, hide_usage=False)
        self.seen.has_unread_output |= self._events.has_cut
        self.seen.readable &= not self._events.has_cut

    @property
    def is_outgrown(self) -> bool:
        """Whether the answer has come to more tokens than are held for it."""
        return self._growth is not None and self._growth.shows_more()

    async def complete(self) -> None:
        """End it, its answer being whole, and wait for the store: the next call is to see what this one has cost."""
        self._take_time()
        await self.settlement.end(End.COMPLETE)

    async def fail(self, status: int) -> None:
        """End it: the API has refused it with an error."""
        self.settlement.status = status
        await self.settlement.end(End.COMPLETE)

    def break_off(self, end: End) -> None:
        """Begin its ending in a task of the ledger's own; nothing if it has begun."""
        if not self.is_maybe:
            self._take_time()
            self.settlement.begin(end)
        elif self.is_open:
            self.give_back("the session ended before it began")
