"""What has to be booked so that a store shows again what a lost one had booked. Pure.

Theory of operation. What was lost is known by counter, to the nano-dollar. But some of it may be in the store again,
or may come yet: workers send the endings of the last minutes once more after a loss, and what waits in spools comes
when it comes. A store books an ending once by its id, so each that may still come is sent by that id itself, and
whoever is second books nothing. All that is older is one sum a counter:

    what was lost on a counter
        endings that may still be sent    sent again, by their ids; whoever is second books nothing
        endings that the store has        somebody sent them since, they are in its figures
        all others                        one adjustment, whose id remembers what it has come to (``Adjust.as_of``)

No ending is sent later than BUDGET_REMEMBER_S after it was sent first, and the store refuses what is older. An ending
that grows too old while this runs becomes one of the others in the next plan. So whatever happens meanwhile, and
however often it is done, each nano-dollar is booked once.
"""

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from budget_middleware.core.model import Counter
from budget_middleware.core.units import PLACES, Amounts, Unit


class LostEnding(NamedTuple):
    """What one id had booked on each counter in the store that is gone.

    ``lost`` is what the new store does not have of it; ``total`` all that it had come to, which is more where the store
    fell back to a state in between. One that has only expired (``is_open``) may still end, once.
    """

    id: str
    time_ms: int
    lost: Mapping[Counter, int]
    total: Mapping[Counter, int]
    reason: str = ""
    bill: str = ""
    is_open: bool = False
    is_correction: bool = False

    @property
    def amounts(self) -> Amounts | None:
        """The one amount of each unit, as its verb booked it; None where the history does not have all of it."""
        by_unit: dict[Unit, set[int]] = {}
        for counter, amount in self.total.items():
            by_unit.setdefault(counter.unit, set()).add(amount)
        if any(len(amounts) > 1 for amounts in by_unit.values()):
            return None
        figures = {unit: amounts.pop() for unit, amounts in by_unit.items()}
        return Amounts(*(figures.get(unit, 0) for unit in PLACES))

    def may_be_sent(self, now_ms: int, *, remember_ms: int) -> bool:
        """Whether it can be sent again as it was: whoever has it, a worker or a spool, may do so too."""
        return not self.is_open and now_ms - self.time_ms <= remember_ms and self.amounts is not None


class RestorePlan(NamedTuple):
    """What is to be sent by its own id, and the sum of all else on each counter. Zeros may be among these."""

    sent_again: list[LostEnding]
    sums: dict[Counter, int]


class _Everything:
    """Contains whatever it is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


EVERYTHING: Container[Counter] = _Everything()
"""In one step a store books an ending on all of its counters, or on none."""


def plan_restore(
    lost: Mapping[Counter, int],
    endings: Iterable[LostEnding],
    *,
    booked_since: Mapping[str, Container[Counter]],
    now_ms: int,
    remember_ms: int,
) -> RestorePlan:
    """``endings`` are those of the last ``remember_ms`` and more.

    ``booked_since`` has the ids that the store has booked, and on which counters: a store with shards books an ending
    part by part, and a part may still be missing.
    """
    sent_again: list[LostEnding] = []
    sums = dict(lost)
    for ending in endings:
        booked = booked_since.get(ending.id, ())
        is_whole = all(counter in booked for counter in ending.lost)
        is_sent = not is_whole and ending.may_be_sent(now_ms, remember_ms=remember_ms)
        for counter, amount in ending.lost.items():
            # Of a counter that is not to be restored nothing is taken away.
            if counter in sums and (is_sent or counter in booked):
                sums[counter] -= amount
        if is_sent:
            sent_again.append(ending)
    return RestorePlan(sent_again, sums)
