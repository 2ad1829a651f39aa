"""Remembers holds that were refused ahead of input such as sound, which comes many times a second."""

from collections.abc import Callable, Sequence
from typing import Final

from budget_middleware.apis.protocol.session_events import Asked

RETRY_S: Final = 1.0
"""So long after a refusal the store is not asked again for a lane."""


class RefusedAhead:
    """By lane, since when the hold that its input may need is refused."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._until_s: dict[str, float] = {}

    def withholds(self, asked: Sequence[Asked]) -> bool:
        """Whether an event that asks for these is to be withheld without asking the store."""
        if not self._until_s:
            return False
        now_s = self._clock_s()
        return any(each.is_maybe and self._until_s.get(each.lane, now_s) > now_s for each in asked)

    def refuse(self, asked: Asked) -> bool:
        """Note a refusal; whether the client is to hear of it, which it does once until something is admitted."""
        is_first = not asked.is_maybe or asked.lane not in self._until_s
        if asked.is_maybe:
            self._until_s[asked.lane] = self._clock_s() + RETRY_S
        return is_first

    def admit(self, asked: Asked) -> None:
        """Note that something was admitted in its lane."""
        self._until_s.pop(asked.lane, None)
