"""Rates: limits of tokens or requests over so short a time that who is refused may come again soon."""

from typing import Final

from budget_middleware.core.model import Rejection, Target
from budget_middleware.core.units import Unit

LONGEST_RATE_S: Final = 3_600
_RATED: Final = frozenset({Unit.TOKENS, Unit.REQUESTS})


def is_rate(target: Target) -> bool:
    """Whether its limit is a rate: by the minute or the hour, or by as much time before now."""
    return target.unit in _RATED and target.window.period.rule.longest_s <= LONGEST_RATE_S


def opens_in_ms(rejection: Rejection, *, now_ms: int) -> int | None:
    """In how many milliseconds the window ends in which a rate is used up; None where nobody need wait for that.

    Of a rate that looks back, its bucket ends: that is when some of what it counts may be left behind. What no window
    has room for is refused at any time.
    """
    target = rejection.target
    if rejection.is_held or not is_rate(target) or rejection.estimate > rejection.limit:
        return None
    return max(target.window.ends_ms - now_ms, 0)
