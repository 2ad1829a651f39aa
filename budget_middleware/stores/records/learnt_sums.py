"""The text in which stores keep sums of answers: seven numbers with spaces between them, each exact.

The Lua scripts read and write the same: ``lua/_learnt.lua``.
"""

import re

from budget_middleware.core.costs.learning import Sums

_NUMBER = re.compile(r"[0-9][0-9.e+-]*")


def pack_sums(sums: Sums) -> str:
    """Empty for sums that no answers can have led to."""
    return " ".join([f"{each:.17g}" for each in sums]) if sums.is_sound else ""


def unpack_sums(text: str) -> Sums | None:
    """None for a text that no answers can have led to."""
    words = text.split(" ")
    if len(words) != len(Sums._fields) or not all(map(_NUMBER.fullmatch, words)):
        return None
    try:
        sums = Sums(*map(float, words))
    except ValueError:
        return None
    return sums if sums.is_sound else None
