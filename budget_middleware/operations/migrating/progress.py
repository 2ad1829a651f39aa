"""How far a migration is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a migration is doing."""

    COPYING = "copying"  # All counters of the source.
    FOLLOWING = "following"  # What changes at the source.
    PROVING = "proving"  # All counters again: each must be there already.


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` counters; of FOLLOWING what the source's journal had so far, and how quiet it is."""

    phase: Phase
    done: int = 0
    total: int = 0
    entries: int = 0
    holds: int = 0
    quiet_s: float = 0.0


OnProgress = Callable[[Progress], object]
