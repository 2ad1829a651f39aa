"""Decides for a worker during a store outage, by the last figures of each counter and its own requests since then.

Theory of operation. ``seen`` are the figures of the store's answers, bounded in number. ``owed`` is
what this worker has admitted or ended since without an answer of the store: an estimate while its request is in
flight, its cost from then on, nothing once the store has acknowledged it. A request is admitted on the sum of both, by
the same rule as in the store. So a key that was spent stays refused, and a limit is passed by at most what was left of
it, times the number of workers.

What others had reserved is believed for one lease: by then each of these reservations has ended or expired.

Of a rolling limit an answer has the sum of all buckets that count, and an entry the figures of its own bucket. Both are
kept, and what comes to more counts: the sum without the buckets that have left it since, or the buckets that are known.
"""

import time
from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Balance, Counter, Rejection, Target
from budget_middleware.core.transitions import find_rejection
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.core.windows import Window, counted_windows, window_at
from budget_middleware.ledger.holds.hold import Hold

FIGURES_MAX = 16_384
"""Counters come from clients: of so many the last figures are known."""

_UNSEEN = Balance(), 0.0
_UTC = ZoneInfo("UTC")


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
                seen[target.series] = balance, now_s
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
        balances = [self._compared(target) for target in hold.targets]
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
            for of in {target.counter, target.series} & self._seen.keys():
                balance, seen_s = self._seen[of]
                reserved = max(0, balance.reserved - asked[target.place])
                self._seen[of] = Balance(balance.spent, reserved), seen_s

    def _add(self, counter: Counter, figure: int) -> None:
        total = self._owed_on.get(counter, 0) + figure
        if total:
            self._owed_on[counter] = total
        else:
            self._owed_on.pop(counter, None)

    def _compared(self, target: Target) -> Balance:
        """What the limit of a target is compared with."""
        if not target.is_rolling:
            return self._balance(target.counter)
        counted = counted_windows(target.window)
        buckets = [self._balance(_bucket(target, window)) for window in counted]
        by_buckets = Balance(sum([each.spent for each in buckets]), sum([each.reserved for each in buckets]))
        by_sum = self._sum_seen(target, counted)
        return max(by_buckets, by_sum, key=lambda balance: balance.spent + balance.reserved)

    def _sum_seen(self, target: Target, counted: Sequence[Window]) -> Balance:
        """The last sum of its buckets that an answer had, and what this worker owes on them."""
        owed = sum([self._owed_on.get(_bucket(target, window), 0) for window in counted])
        balance, (_, seen_s) = self._last_seen(target.series), self._seen.get(target.series, _UNSEEN)
        # As if now were the last moment of its bucket: then the fewest have left since.
        seen_ms = target.window.ends_ms - 1 - round((time.monotonic() - seen_s) * 1000)
        if seen_ms < counted[0].starts_ms:
            return Balance(owed)
        then = window_at(target.window.period, time_ms=seen_ms, timezone=_UTC)
        left = [window for window in counted_windows(then) if window.starts_ms < counted[0].starts_ms]
        spent = balance.spent - sum([self._last_seen(_bucket(target, window)).spent for window in left])
        return Balance(spent + owed, balance.reserved)

    def _balance(self, counter: Counter) -> Balance:
        balance = self._last_seen(counter)
        return Balance(balance.spent + self._owed_on.get(counter, 0), balance.reserved)

    def _last_seen(self, of: Counter) -> Balance:
        balance, seen_s = self._seen.get(of, _UNSEEN)
        is_over = time.monotonic() - seen_s > self._lease_s
        return Balance(balance.spent, 0 if is_over else balance.reserved)


def _bucket(target: Target, window: Window) -> Counter:
    return Counter(target.account, window.period, window.id, target.unit)
