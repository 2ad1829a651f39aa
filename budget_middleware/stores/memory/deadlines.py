"""Keys ordered by the time at which they are due."""

from collections.abc import Hashable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, TypeVar

_Key = TypeVar("_Key", bound=Hashable)

NEVER: Final = 1 << 62


class Deadlines(dict[_Key, int]):
    """The times of keys, found by time and then by key, as a sorted set of Redis has them.

    Keys are put in by `set` only, and may be popped as from any dictionary: one that was moved or popped leaves a stale
    heap item behind. None is due before ``first_ms``.
    """

    __slots__ = ("_heap", "first_ms")

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[tuple[int, _Key]] = []
        self.first_ms = NEVER

    def set(self, key: _Key, time_ms: int) -> None:
        self[key] = time_ms
        heap = self._heap
        heappush(heap, (time_ms, key))
        if len(heap) > 64 and len(heap) > 4 * len(self):
            self._heap = heap = [(at, key) for key, at in self.items()]
            heapify(heap)
        self.first_ms = heap[0][0]

    def first_due(self, now_ms: int) -> _Key | None:
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            time_ms, key = heap[0]
            if self.get(key) == time_ms:
                break
            heappop(heap)
        self.first_ms = heap[0][0] if heap else NEVER
        return heap[0][1] if self.first_ms <= now_ms else None

    def due(self, now_ms: int, *, at_most: int) -> Sequence[_Key]:
        """Those whose time has come, the earliest first."""
        found: list[tuple[int, _Key]] = []
        while len(found) < at_most and self.first_due(now_ms) is not None:
            first = heappop(self._heap)
            # One that was popped and set again lies there twice.
            if not found or found[-1] != first:
                found.append(first)
        # They stay: the caller decides what becomes of them.
        for each in found:
            heappush(self._heap, each)
        self.first_ms = self._heap[0][0] if self._heap else NEVER
        return [key for _, key in found]

    def take_due(self, now_ms: int) -> Sequence[_Key]:
        """Those whose time has come, the earliest first; they are popped."""
        taken: list[_Key] = []
        while self.first_ms <= now_ms and (key := self.first_due(now_ms)) is not None:
            del self[key]
            taken.append(key)
        return taken
