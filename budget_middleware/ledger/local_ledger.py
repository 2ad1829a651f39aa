"""Decides for a worker during a store outage, by the last figures of each counter and its own requests since then.

Theory of operation. ``seen`` are the figures of the store's answers, bounded in number. ``owed`` is
what this worker has admitted or ended since without an answer of the store: an estimate while its request is in
flight, its cost from then on, nothing once the store has acknowledged it. A request is admitted on the sum of both, by
the same rule as in the store. So a key that was spent stays refused, and a limit is passed by at most what was left of
it, times the number of workers.

What others had reserved is believed for one lease: by then each of these reservations has ended or expired.
"""

import time
from collections.abc import Iterable, Sequence

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Balance, Counter, Rejection, Target
from budget_middleware.core.transitions import find_rejection
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.ledger.hold import Hold

FIGURES_MAX = 16_384
"""Counters come from clients: of so many the last figures are known."""


class LocalLedger:
    """Not for several threads at once on one counter: figures may then be those of either."""

    def __init__(self, *, lease_ms: int) -> None:
        self._lease_s = lease_ms / 1000
        self._seen: dict[Counter, tuple[Balance, float]] = {}
        self._owed: dict[str, tuple[tuple[Target, ...], Amounts]] = {}
        self._owed_on: dict[Counter, int] = {}

    # While the store answers.

    def record(self, targets: Sequence[Target], balances: Sequence[Balance], *, acknowledged: str = "") -> None:
        """Remember the figures that an answer has for these targets, if it has them.

        The store has ``acknowledged`` the ending of this id: its figures hold from now on.
        """
        if acknowledged in self._owed:
            self.owe(acknowledged, (), NOTHING)
        if len(targets) == len(balances):
            seen, now_s = self._seen, time.monotonic()
            for target, balance in zip(targets, balances, strict=True):
                seen[target.counter] = balance, now_s
            if len(seen) > FIGURES_MAX:
                self._drop_oldest()

    def record_entries(self, entries: Iterable[Entry]) -> None:
        """Remember the figures of journal entries, oldest first: those of other workers' requests too."""
        now_s = time.monotonic()
        for entry in entries:
            self._seen[entry.counter] = Balance(entry.spent, entry.reserved), now_s
        if len(self._seen) > FIGURES_MAX:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Forget an eighth, so that this is rare; first those on which nothing was spent: strangers make them up."""

        def worth(counter: Counter) -> tuple[bool, float]:
            balance, seen_s = self._seen[counter]
            return balance.spent != 0, seen_s

        for counter in sorted(self._seen, key=worth)[: len(self._seen) - FIGURES_MAX * 7 // 8]:
            del self._seen[counter]

    # While it is away.

    def reserve(self, hold: Hold) -> Rejection | None:
        """Hold an amount here, or return the counter that refuses it."""
        balances = [self._balance(target.counter) for target in hold.targets]
        rejection = find_rejection(hold.targets, balances, asked=hold.asked)
        if rejection is None:
            hold.is_local = True
            self.owe(hold.id, hold.targets, hold.asked)
        return rejection

    def owe(self, id_: str, targets: tuple[Target, ...], amounts: Amounts) -> None:
        """Count what a request holds or has cost, in place of what it counted before."""
        counted_on, counted = self._owed.pop(id_, ((), NOTHING))
        for target in counted_on:
            self._add(target.counter, -counted[target.place])
        for target in targets:
            self._add(target.counter, amounts[target.place])
        if targets and amounts != NOTHING:
            self._owed[id_] = targets, amounts

    def forget(self, id_: str) -> None:
        """An ending is lost: what it costs stays counted, and nothing else is kept of it."""
        self._owed.pop(id_, None)

    def end(self, hold: Hold, targets: tuple[Target, ...], actual: Amounts) -> None:
        """Count the cost of a request whose ending got no answer yet."""
        if not hold.is_local:
            self._give_back(hold.targets, hold.held)
        self.owe(hold.id, targets, actual)

    def _give_back(self, targets: Sequence[Target], asked: Amounts) -> None:
        """A reservation that the store's figures hold has ended without its knowledge."""
        for target in targets:
            if target.counter in self._seen:
                balance, seen_s = self._seen[target.counter]
                reserved = max(0, balance.reserved - asked[target.place])
                self._seen[target.counter] = Balance(balance.spent, reserved), seen_s

    def _add(self, counter: Counter, figure: int) -> None:
        total = self._owed_on.get(counter, 0) + figure
        if total:
            self._owed_on[counter] = total
        else:
            self._owed_on.pop(counter, None)

    def _balance(self, counter: Counter) -> Balance:
        balance, seen_s = self._seen.get(counter, (Balance(), 0.0))
        is_over = time.monotonic() - seen_s > self._lease_s
        return Balance(balance.spent + self._owed_on.get(counter, 0), 0 if is_over else balance.reserved)
