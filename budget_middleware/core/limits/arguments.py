"""The other arguments of commands on limits: which limits of an account are meant, and by how much one is raised."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from budget_middleware.core.limits.grammar import parse_amounts
from budget_middleware.core.limits.limits import LimitMode, Slot, SlotTerms, Terms
from budget_middleware.core.limits.texts import NONE

ACCEPTED_CHOICES = "PERIOD, UNIT/PERIOD or inflight, with !soft or !shadow; a limit as it is listed; !MODE; none"
ACCEPTED_TIMES = "YYYY-MM-DD or YYYY-MM-DD HH:MM, in BUDGET_TIMEZONE"

SlotChoice = Callable[[Slot | None], bool]
"""Which limits of an account are meant; None is the one that lifts all."""


def every_slot(_: Slot | None) -> bool:
    return True


def parse_choice(text: str) -> SlotChoice:
    """Read `day`, `tokens/minute!shadow`, `10/day!soft`, `!soft` or `none`; ValueError says what is accepted."""
    if text in {f"!{mode}" for mode in LimitMode}:
        return lambda slot: slot is not None and slot.mode == text[1:]
    for limit in (text, f"{NONE} {text}", f"{NONE}/{text}") if text.strip() else ():
        try:
            (slot,) = parse_amounts(limit)
        except ValueError:
            continue
        return lambda each: each == slot
    raise ValueError(f"{text[:40]!r} names no limit; accepted are {ACCEPTED_CHOICES}")


def is_increase(text: str) -> bool:
    return text.lstrip().startswith("+")


def parse_increases(text: str) -> SlotTerms:
    """Read `+50/month; +8inflight!soft`; ValueError as for parse_amounts."""
    raised = parse_amounts(";".join(each.replace("+", " ", 1) for each in text.split(";")))
    if any(slot is None or not terms.amount or terms != Terms(terms.amount) for slot, terms in raised.items()):
        raise ValueError(f"{text[:40]!r} is no increase; accepted is +AMOUNT[UNIT]/PERIOD, with !soft or !shadow")
    return raised


def parse_until(text: str, *, timezone: ZoneInfo) -> int:
    """The instant (milliseconds since 1970) at which a day, or a minute of it, begins; ValueError for what is none."""
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"):
        try:
            return round(datetime.strptime(text, form).replace(tzinfo=timezone).timestamp() * 1000)
        except (ValueError, OverflowError):
            continue
    raise ValueError(f"{text[:40]!r} is not a time; accepted is {ACCEPTED_TIMES}")
