"""What is known of a call that goes around the gateway: when it was watched, who watches it, and when it ended.

    created ├── unwatched ──┼── watched ──┼── unwatched ──┼── watched ──┤ ended, or as long as it may last

A record is a value; whoever changes it puts the new one in the place of the one it has read (`ledger.job_texts`). All
times are the store's, in milliseconds.
"""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MOST_INTERVALS = 64
"""Of more than so many intervals the shortest counts as not watched."""
MADE_FASTER = 10
"""An answer is made so many times as fast as it is spoken, at most."""
MOST_WATCHERS = 16
"""The booking waits for no more of them."""

_VERSION = 1

Interval = tuple[int, int]


class CallRecord(NamedTuple):
    """``ended_ms`` is 0 as long as nothing proves that the call has ended."""

    watched: tuple[Interval, ...] = ()
    watchers: tuple[str, ...] = ()
    ended_ms: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether the call has ended, and all that was watched of it is known."""
        return self.ended_ms > 0 and not self.watchers

    def with_watcher(self, watcher: str) -> "CallRecord":
        """Somebody watches from now on, and will say until when."""
        if watcher in self.watchers or len(self.watchers) >= MOST_WATCHERS:
            return self
        return self._replace(watchers=(*self.watchers, watcher))

    def without_watcher(self, watcher: str) -> "CallRecord":
        """Somebody has said all that was watched."""
        return self._replace(watchers=tuple(other for other in self.watchers if other != watcher))

    def with_watched(self, interval: Interval) -> "CallRecord":
        """The call was watched in this interval too."""
        watched = _united([*self.watched, interval])
        if len(watched) > MOST_INTERVALS:
            watched.remove(min(watched, key=_length))
        return self._replace(watched=tuple(watched))

    def with_end(self, at_ms: int) -> "CallRecord":
        """The call has ended; it ends once."""
        return self if self.ended_ms else self._replace(ended_ms=at_ms)

    def unwatched(self, *, from_ms: int, until_ms: int, answer_ms: int) -> list[Interval]:
        """What was not watched of a time, which ends with the call.

        An answer is made faster than it is spoken, so one of a whole minute may be made in a gap of seconds, and heard
        while somebody watches. So what is behind a gap counts as long as such an answer may last: ``answer_ms`` at
        most.
        """
        until_ms = min(until_ms, self.ended_ms or until_ms)
        gaps: list[Interval] = []
        for start_ms, end_ms in self.watched:
            heard_ms = min((MADE_FASTER - 1) * max(0, start_ms - from_ms), answer_ms)
            start_ms = min(start_ms + heard_ms, end_ms)  # noqa: PLW2901 - it is watched from then on
            if from_ms < min(start_ms, until_ms):
                gaps.append((from_ms, min(start_ms, until_ms)))
            from_ms = max(from_ms, end_ms)
        if from_ms < until_ms:
            gaps.append((from_ms, until_ms))
        return gaps

    def packed(self) -> str:
        """As the store keeps it."""
        fields = {"v": _VERSION, "watched": self.watched, "watchers": self.watchers, "ended": self.ended_ms}
        return json.dumps(fields, separators=(",", ":"))


def unpack_record(text: str | None) -> CallRecord:
    """An empty record for no text, for what is none, or for one of another version."""
    try:
        fields = json.loads(text or "")
        watched = tuple((int(start), int(end)) for start, end in fields["watched"])
        record = CallRecord(watched, tuple(map(str, fields["watchers"])), int(fields["ended"]))
    except (ValueError, KeyError, TypeError):
        return CallRecord()
    return record if fields["v"] == _VERSION else CallRecord()


def _united(intervals: Iterable[Interval]) -> list[Interval]:
    united: list[Interval] = []
    for start, end in sorted(intervals):
        if united and start <= united[-1][1]:
            united[-1] = united[-1][0], max(united[-1][1], end)
        elif start < end:
            united.append((start, end))
    return united


def _length(interval: Sequence[int]) -> int:
    return interval[1] - interval[0]
