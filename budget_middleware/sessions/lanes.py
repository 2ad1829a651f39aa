"""The calls of a session, by the lanes in which they are answered one at a time."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Lanes(Generic[_T]):
    """Calls that were asked for, in their order, and the one of each lane that is answered now.

    A server that does not name lanes answers in the lane without a name: it gets what was asked for in any. Each method
    takes the same time however many calls there are; calls are told apart by identity.

    A call may be kept *ahead* in a lane: the server may answer it, once all that was asked for there is answered.
    """

    def __init__(self) -> None:
        # Twice: the order of all, and that of each lane. (A plain dict is slow to say what is first in it, once others
        # before that have been deleted.)
        self._waiting: OrderedDict[_T, str] = OrderedDict()
        self._waiting_in: dict[str, OrderedDict[_T, None]] = {}
        self._answered: dict[str, _T] = {}
        self._answered_in: dict[_T, str] = {}
        self._ahead: dict[str, _T] = {}
        self._ahead_in: dict[_T, str] = {}

    def __len__(self) -> int:
        """How many calls have not ended."""
        return len(self._waiting) + len(self._answered) + len(self._ahead)

    def __iter__(self) -> Iterator[_T]:
        """All calls that have not ended."""
        yield from [*self._answered.values(), *self._waiting, *self._ahead.values()]

    def add(self, lane: str, call: _T) -> None:
        """A call that was asked for, after all before it in its lane."""
        self._waiting[call] = lane
        self._waiting_in.setdefault(lane, OrderedDict())[call] = None

    def keep_ahead(self, lane: str, call: _T) -> None:
        """A call that may be answered in a lane, the only one of this kind there."""
        self._ahead[lane] = call
        self._ahead_in[call] = lane

    def ahead(self, lane: str) -> _T | None:
        """The call that is kept ahead in a lane."""
        return self._ahead.get(lane)

    def is_busy(self, lane: str) -> bool:
        """Whether a call of the lane has not ended, of those that were asked for or have begun."""
        return lane in self._answered or lane in self._waiting_in

    def answered(self, lane: str) -> _T | None:
        """The call that is answered now in a lane."""
        return self._answered.get(lane)

    def waiting(self) -> Iterator[_T]:
        """The calls that were asked for and have not begun, in their order."""
        return iter(self._waiting)

    def next(self, lane: str) -> _T | None:
        """The call of a lane that the server is to answer next."""
        waiting = self._waiting_in.get(lane) if lane else self._waiting
        return next(iter(waiting)) if waiting else self._ahead.get(lane)

    def begin(self, lane: str, call: _T) -> None:
        """From now on the server answers this call in the lane."""
        self.end(call)
        self._answered[lane] = call
        self._answered_in[call] = lane

    def end(self, call: _T) -> None:
        """Nothing more is expected of the call."""
        if call in self._answered_in:
            del self._answered[self._answered_in.pop(call)]
        elif call in self._ahead_in:
            del self._ahead[self._ahead_in.pop(call)]
        elif call in self._waiting:
            lane = self._waiting.pop(call)
            waiting = self._waiting_in[lane]
            del waiting[call]
            if not waiting:
                del self._waiting_in[lane]

    def clear(self) -> None:
        """Forget all calls."""
        for call in self:
            self.end(call)
