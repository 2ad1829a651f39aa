"""The values of limits that operators set while gateways run, as stores and the ledger exchange them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple

from budget_middleware.core.limits.limits import Slot, Terms

LIMITS_PAGE = 1_000
"""About so many runtime limits are read at once: a server is busy with them for less than a millisecond."""

REPORTED_CHANGES_MAX = 1_000
"""A worker that missed more changes of limits than these does not get them, and reads again what it still needs."""

NO_VERSION = -1
"""Of limits: no store's. A worker that asks for the changes since then knows nothing yet."""

MORE: Final = "more"
"""In a LimitKey, instead of a period: all other limits of a pattern, see `records.limit_fields`."""


LimitKey = tuple[str, str]
"""A field of runtime limits: an account pattern in its canonical form, and a period or MORE."""


LimitValue = int | None | str
"""Nano-dollars of a period, None where the limit is lifted; of MORE the words of its limits."""


Limits = Mapping[LimitKey, LimitValue]


SlotChanges = Mapping[Slot | None, Terms | None]
"""What becomes of the limits of a pattern: terms are set (LIFTED lifts the limit of lower layers), None forgets.

The slot None stands for all, before those that are named.
"""


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """All limits that operators have set while gateways run."""

    version: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class LimitsPage:
    """Some runtime limits, and fields that cannot be read. The next page starts at ``cursor``; 0: this is the last."""

    cursor: int
    limits: Limits
    unreadable: Sequence[str]


@dataclass(frozen=True, slots=True)
class LimitNews:
    """What a store says of some patterns, and what has changed since a version that a worker knows, at one instant.

    ``limits`` has the limits of the patterns that were asked for and of those that have changed; what is missing there
    has no limit. ``changed`` is None where any limit may have changed. ``shapes`` has the shapes of all patterns if
    ``is_indexed``, else of some. ``lineage`` changes when a worker reports that the store has lost limits.
    """

    generation: str
    version: int
    lineage: str
    shapes: AbstractSet[str]
    is_indexed: bool
    changed: AbstractSet[LimitKey] | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class KnownLimits:
    """What a worker knew as of a version of a generation, before the store lost writes.

    Of each pattern in ``limits`` every field was known: one that is missing was not there. ``reports_loss`` says that
    the worker saw the loss itself, so that other workers are to write back what they knew too.
    """

    generation: str
    version: int
    limits: Mapping[str, Mapping[str, LimitValue]]
    reports_loss: bool = False


class WrittenBack(NamedTuple):
    """What was changed by writing back, and the version of all limits then."""

    version: int
    limits: AbstractSet[LimitKey]
