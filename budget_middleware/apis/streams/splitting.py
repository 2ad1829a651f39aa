"""Splits a byte stream into events, however it is cut into chunks. Each format has a module of its own.

No byte is lost: the raw bytes of all events, and of the flushed rest, are the stream. Memory is bounded: too long an
event is passed on unread.
"""

import re
from typing import Final, NamedTuple, Protocol

# No event with text or usage comes near it; those with images in them may.
MAX_EVENT_BYTES: Final = 1 << 20


class Event(NamedTuple):
    """One event as received, whatever ends it included. `data` is None without data, or unread."""

    raw: bytes
    data: bytes | None


class Splitter(Protocol):
    """Turns pieces of one stream into events. `skipped`: some event was too long and has not been read."""

    skipped: bool

    @property
    def unfinished_bytes(self) -> int:
        """How many of the last bytes belong to an event that is not complete yet."""
        ...

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes, and pieces of events that are too long to keep."""
        ...

    def flush(self) -> list[Event]:
        """What is left when the stream ends: an event without its end is read all the same."""
        ...


class DelimitedSplitter:
    """A stream whose events end in a pattern, which is at most `longest_partial_end` bytes short of its end.

    `n_skipped`: how many events were too long and have not been read.
    """

    def __init__(self, end: re.Pattern[bytes], *, longest_partial_end: int, max_event_bytes: int) -> None:
        self.skipped = False
        self.n_skipped = 0
        self._end = end
        self._longest_partial_end = longest_partial_end
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()
        self._searched = 0
        self._skipping = False

    @property
    def is_between_events(self) -> bool:
        """Whether nothing of an event has come that is not complete."""
        return not self._rest and not self._skipping

    @property
    def unfinished_bytes(self) -> int:
        """How many of the last bytes belong to an event that is not complete yet."""
        return len(self._rest)

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes, and pieces of events that are too long to keep."""
        self._rest += piece
        events, start = [], 0
        while end := self._end.search(self._rest, max(start, self._searched)):
            events.append(self._event(bytes(self._rest[start : end.end()])))
            start = end.end()
        del self._rest[:start]
        self._searched = max(0, len(self._rest) - self._longest_partial_end)
        if self._skipping or len(self._rest) > self._max_event_bytes:
            events += self._skip()
        return events

    def flush(self) -> list[Event]:
        """What is left when the stream ends: an event without its end is read all the same."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [self._event(rest)] if rest else []

    def data_of(self, raw: bytes) -> bytes | None:
        """The data of a whole event; None if it has none."""
        raise NotImplementedError

    def _event(self, raw: bytes) -> Event:
        if self._skipping or len(raw) > self._max_event_bytes:
            self.n_skipped += not self._skipping
            self._skipping, self.skipped = False, True
            return Event(raw, None)
        return Event(raw, self.data_of(raw))

    def _skip(self) -> list[Event]:
        """Pass on what is there of too long an event, but for what may be the beginning of its end."""
        self.n_skipped += not self._skipping
        self._skipping, self.skipped = True, True
        raw = bytes(self._rest[: self._searched])
        del self._rest[: self._searched]
        self._searched = 0
        return [Event(raw, None)] if raw else []
