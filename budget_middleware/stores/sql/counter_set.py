"""The counters of a batch of verbs: which were read, and what becomes of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from budget_middleware.core.model import Balance, Counter
from budget_middleware.stores.sql import rows
from budget_middleware.stores.sql.batch_data import Row, Wanted, Writes
from budget_middleware.stores.sql.changes import Changes, NotLoaded
from budget_middleware.stores.tables import ByHand

_EMPTY, _UNTOUCHED = Balance(), ByHand()


class CounterSet:
    """See ``Tables``."""

    def __init__(self, changes: Changes) -> None:
        self._set = changes.set
        self._balances: dict[Counter, Balance | None] = {}
        self._by_hand: dict[Counter, ByHand] = {}
        self._keep_until_ms: dict[Counter, int | None] = {}
        self._changed: dict[Counter, None] = {}

    def take(self, asked: Collection[Counter], found: Iterable[Row]) -> None:
        """Know what was asked for. What was changed here since stands."""
        for row in found:
            counter, (balance, by_hand) = rows.counter_of(row)
            if counter not in self._balances:
                self._balances[counter] = balance
                self._by_hand[counter] = by_hand
                self._keep_until_ms[counter] = row[-1]
        for counter in asked:
            self._balances.setdefault(counter, None)

    def over(self, asked: Iterable[Counter], *, now_ms: int) -> set[Counter]:
        """Those whose time has come: they are not there, unless something is pending on them."""
        return {each for each in asked if (until_ms := self._keep_until_ms.get(each)) and until_ms <= now_ms}

    def forget(self, counter: Counter) -> None:
        """It is not there, whether or not its row still is."""
        self._balances[counter] = None
        self._by_hand[counter] = _UNTOUCHED
        self._keep_until_ms[counter] = None

    def missing(self, counters: Iterable[Counter]) -> set[Counter]:
        """Those that were not read."""
        return {each for each in counters if each not in self._balances}

    # Primitives.

    def balances(self, of: Sequence[Counter]) -> Sequence[Balance]:
        return [found or _EMPTY for found in self._found(of)]

    def _found(self, of: Sequence[Counter]) -> Sequence[Balance | None]:
        """None for one that is not there."""
        try:
            return [*map(self._balances.__getitem__, of)]
        except KeyError:
            raise NotLoaded(Wanted(counters=self.missing(of))) from None

    def book(self, on: Sequence[Counter], balances: Sequence[Balance]) -> None:
        for counter, balance in zip(on, balances, strict=True):
            self._set(self._balances, counter, balance)
            self._change(counter)

    def by_hand(self, counter: Counter) -> ByHand:
        self._found((counter,))
        return self._by_hand.get(counter, _UNTOUCHED)

    def put_by_hand(self, counter: Counter, by_hand: ByHand) -> None:
        if self._found((counter,))[0] is None:
            self._set(self._balances, counter, Balance())
        self._set(self._by_hand, counter, by_hand)
        self._change(counter)

    def retain(self, until_ms: Mapping[Counter, int]) -> None:
        for counter, time_ms in until_ms.items():
            if self._keep_until_ms.get(counter) != time_ms and self._found((counter,))[0] is not None:
                self._set(self._keep_until_ms, counter, time_ms)
                self._change(counter)

    def drop_counter(self, counter: Counter) -> None:
        self._set(self._balances, counter, None)
        self._set(self._by_hand, counter, _UNTOUCHED)
        self._set(self._keep_until_ms, counter, None)
        self._change(counter)

    def _change(self, counter: Counter) -> None:
        # Those of many requests mostly are by now.
        if counter not in self._changed:
            self._set(self._changed, counter, None)

    # What is to be written.

    def write(self, writes: Writes) -> None:
        for counter in self._changed:
            balance = self._balances[counter]
            if balance is None:
                writes.drop_counters.append(counter.name)
            else:
                by_hand = self._by_hand.get(counter, _UNTOUCHED)
                row = (counter.name, *balance, *by_hand, self._keep_until_ms.get(counter))
                writes.put_counters.append(row)
