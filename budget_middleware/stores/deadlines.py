"""Keys ordered by the time at which they are due."""

import heapq
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


class Deadlines(Generic[_Key]):
    """Keys by their time, then by themselves, as a sorted set of Redis has them.

    A moved or discarded key leaves a stale heap item behind.
    """

    def __init__(self) -> None:
        self._times: dict[_Key, int] = {}
        self._heap: list[tuple[int, _Key]] = []

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[_Key]:
        return iter(self._times)

    def set(self, key: _Key, time_ms: int) -> None:
        if self._times.get(key) == time_ms:
            return
        self._times[key] = time_ms
        heapq.heappush(self._heap, (time_ms, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._times):
            self._heap = [(at, key) for key, at in self._times.items()]
            heapq.heapify(self._heap)

    def discard(self, key: _Key) -> None:
        self._times.pop(key, None)

    def first_due(self, now_ms: int) -> _Key | None:
        while self._heap and self._heap[0][0] <= now_ms:
            time_ms, key = self._heap[0]
            if self._times.get(key) == time_ms:
                return key
            heapq.heappop(self._heap)
        return None

    def due(self, now_ms: int, *, at_most: int) -> Sequence[_Key]:
        """Those whose time has come, the earliest first."""
        if self.first_due(now_ms) is None:
            return ()
        found: list[tuple[int, _Key]] = []
        while len(found) < at_most and self.first_due(now_ms) is not None:
            first = heapq.heappop(self._heap)
            # One that was discarded and set again lies there twice.
            if not found or found[-1] != first:
                found.append(first)
        # They stay: the caller decides what becomes of them.
        for each in found:
            heapq.heappush(self._heap, each)
        return [key for _, key in found]

    def take_due(self, now_ms: int) -> Sequence[_Key]:
        """Those whose time has come, the earliest first; they are discarded."""
        if not self._heap or self._heap[0][0] > now_ms:
            return ()
        taken: list[_Key] = []
        while (key := self.first_due(now_ms)) is not None:
            self.discard(key)
            taken.append(key)
        return taken
