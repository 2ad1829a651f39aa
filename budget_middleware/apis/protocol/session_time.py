"""Time that a session is billed by: it is cut into slices, each of which is a call of its own, held before it begins.

    translations   time passes with the sound that the client sends, however long that takes
    live sessions  time passes by the clock, from the first event to the end; the server says how much it was

A slice ends when it is over and the next one is admitted, or when the session ends, and is booked by the time that has
passed in it: nobody who leaves early pays for a whole one, and nothing of a session is left out. All slices of a
session are one request.
"""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

from budget_middleware.apis.protocol.base import Ask
from budget_middleware.core.costs.usage import Usage

TIME_MS: Final = "time_ms"
"""The field of what a slice is estimated by that holds its length; no client sends it."""
CONTINUES: Final = "continues"
"""The field that says that an earlier slice of the same time was a request already."""
SLICE_MS: Final = 30_000
"""How much time is held at once."""


class TimeSlice:
    """The part of a session's time that one call is for.

    ``by_clock``: it passes by itself, so nothing but the end of the session stops it. ``if_priced``: it costs something
    where the model has a price by time, and nothing otherwise.
    """

    def __init__(self, time: "SessionTime", *, from_ms: int) -> None:
        self.by_clock, self.if_priced = time.by_clock, time.if_priced
        self.is_admitted = False
        # One before it was admitted: all of them are one request.
        self.continues = time.has_begun
        self._time = time
        self._from_ms = from_ms
        self._until_ms: int | None = None

    def begin(self) -> None:
        """It is admitted: from now on its time passes."""
        self.is_admitted = self._time.has_begun = True
        self._time.run()

    def forgo(self) -> None:
        """Nobody bills this time, nor what is behind it."""
        self._time.is_over = True

    @property
    def passed_ms(self) -> int:
        """How much of it has passed."""
        until_ms = self._time.passed_ms if self._until_ms is None else self._until_ms
        return max(0, until_ms - self._from_ms)

    @property
    def left_s(self) -> float:
        """How much of it is left, in seconds."""
        return max(0, SLICE_MS - self.passed_ms) / 1_000

    def end(self) -> Usage:
        """End it, unless that has been done; what it has used."""
        if self._until_ms is None:
            self._until_ms = max(self._time.passed_ms, self._from_ms)
        # Of none at all it would be believed that it was not counted.
        return Usage(audio_ms=max(self.passed_ms, 1))

    def following(self) -> "TimeSlice | None":
        """End it, and begin the next one where it ends; None if no more time will pass."""
        self.end()
        return None if self._time.is_over else self._time.slice_from(self._until_ms or 0)


class SessionTime:
    """How much time of a session has passed."""

    def __init__(
        self, *, by_clock: bool = False, if_priced: bool = False, clock_s: Callable[[], float] = monotonic
    ) -> None:
        self.by_clock, self.if_priced = by_clock, if_priced
        self._clock_s = clock_s
        # What had passed when that was last known, and when that was; None while time stands still.
        self._known_ms = 0
        self._since_s: float | None = None
        self.is_over = self.has_begun = False
        self._slice: TimeSlice | None = None

    @property
    def passed_ms(self) -> int:
        """How much has passed."""
        by_clock_ms = 0 if self._since_s is None else int((self._clock_s() - self._since_s) * 1_000)
        return self._known_ms + by_clock_ms

    def run(self) -> None:
        """Let it pass by the clock, if it does so."""
        if self.by_clock and self._since_s is None and not self.is_over:
            self._since_s = self._clock_s()

    def add(self, ms: int) -> None:
        """So much more has passed."""
        self._known_ms += ms

    def correct(self, ms: int, *, is_over: bool) -> None:
        """By the word of the server so much has passed in all; ``is_over``: and no more will."""
        self._known_ms = ms
        self.is_over |= is_over
        self._since_s = None if self.is_over or self._since_s is None else self._clock_s()

    def next_slice(self) -> TimeSlice | None:
        """The slice that is to be admitted now; None while there is time left in the last one."""
        last = self._slice
        if self.is_over:
            return None
        if last is None or not last.is_admitted:
            # Nobody is charged for what was refused.
            return self.slice_from(self.passed_ms)
        # By the clock one follows when it is over, whether or not the client says anything.
        return last.following() if last.passed_ms >= SLICE_MS and not self.by_clock else None

    def slice_from(self, from_ms: int) -> TimeSlice:
        """A slice that begins there."""
        self._slice = TimeSlice(self, from_ms=from_ms)
        return self._slice


def body_of_time(*models: str) -> dict[str, object]:
    """What a slice is estimated by: the models that may be billed, of which some may be "", the likeliest first."""
    first, *others = [*filter(None, models), ""]
    return {"model": first, "models": others, TIME_MS: SLICE_MS}


def time_to_ask(body: Mapping[str, object]) -> Ask:
    """What a slice of time is estimated by: no tokens are billed."""
    usage = Usage(audio_ms=SLICE_MS)
    return Ask(input=usage, worst_input=usage, max_output_tokens=0, continues=body.get(CONTINUES) is True)
