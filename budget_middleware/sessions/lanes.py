"""The calls of a session, by the lanes in which they are answered one at a time."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Lanes(Generic[_T]):
    """Calls that were asked for, in their order, and the one of each lane that is answered now.

    A server that does not name lanes answers in the lane without a name: it gets what was asked for in any.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, _T]] = deque()
        self._answered: dict[str, _T] = {}

    def __iter__(self) -> Iterator[_T]:
        """All calls that have not ended."""
        yield from list(self._answered.values())
        yield from [call for _, call in self._waiting]

    def add(self, lane: str, call: _T) -> None:
        """A call that was asked for, after all before it in its lane."""
        self._waiting.append((lane, call))

    def answered(self, lane: str) -> _T | None:
        """The call that is answered now in a lane."""
        return self._answered.get(lane)

    def next(self, lane: str) -> _T | None:
        """The call of a lane that the server is to answer next."""
        return next((call for of, call in self._waiting if lane in ("", of)), None)

    def begin(self, lane: str, call: _T) -> None:
        """From now on the server answers this call in the lane."""
        self._waiting = deque(each for each in self._waiting if each[1] is not call)
        self._answered[lane] = call

    def end(self, call: _T) -> None:
        """Nothing more is expected of the call."""
        self._waiting = deque(each for each in self._waiting if each[1] is not call)
        self._answered = {lane: each for lane, each in self._answered.items() if each is not call}

    def clear(self) -> None:
        """Forget all calls."""
        self._waiting.clear()
        self._answered.clear()
