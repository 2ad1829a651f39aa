"""Counters as limits see them: the buckets that a rolling limit counts are one, with the sums of their figures."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from budget_middleware.core.answers import CounterView
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.windows import Period, Window, counted_windows, is_rolling
from budget_middleware.operations.pieces import in_pieces


@dataclass(frozen=True, slots=True)
class CountedView:
    """A counter and ``parts``, the views of what it counts: itself, or the buckets that have any figures."""

    counter: Counter
    parts: tuple[CounterView, ...]

    @property
    def counters(self) -> frozenset[Counter]:
        return frozenset((self.counter, *(part.counter for part in self.parts)))

    @property
    def view(self) -> CounterView:
        """With the sums of the parts."""
        spent = sum(part.balance.spent for part in self.parts)
        reserved = sum(part.balance.reserved for part in self.parts)
        return CounterView(self.counter, Balance(spent, reserved), sum(part.adjusted for part in self.parts))


async def counted(views: Iterable[CounterView], window_now: Callable[[Period], Window]) -> dict[Counter, CountedView]:
    """By counter; the current bucket of a rolling period stands for all that its limit counts."""
    parts: defaultdict[Counter, list[CounterView]] = defaultdict(list)
    counted_ids: dict[Period, frozenset[str]] = {}
    async for piece in in_pieces(views):
        for view in piece:
            counter = view.counter
            if is_rolling(counter.period):
                current = window_now(counter.period)
                if counter.period not in counted_ids:
                    counted_ids[counter.period] = frozenset(each.id for each in counted_windows(current))
                if counter.window in counted_ids[counter.period]:
                    counter = counter._replace(window=current.id)
            parts[counter].append(view)
    found: dict[Counter, CountedView] = {}
    async for grouped in in_pieces(parts.items()):
        found.update((counter, CountedView(counter, tuple(of_it))) for counter, of_it in grouped)
    return found
