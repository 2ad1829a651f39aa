"""Rebuilds the expected state from requests and answers, with rules of its own: it shares no code with the stores."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Balance, Counter, Target
from budget_middleware.core.statuses import Op
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Reserve, Transfer
from tests.stores.verbs import Verb

UNITS = ("usd", "tokens", "requests", "inflight")
"""In the order in which a refusal names them."""

ENDED = {"finalized": "already_finalized", "released": "already_released"}


@dataclass
class Fact:
    """What the auditor knows of one id: what it holds and what it has booked, and where."""

    state: str
    counters: tuple[Counter, ...]
    asked: Amounts | None
    held: Amounts = NOTHING
    booked: Amounts = NOTHING
    charge: Amounts = NOTHING
    deadline_ms: int = 0

    @property
    def moves(self) -> bool:
        """Whether a counter changes when it expires."""
        return any(_of(counter, self.held) or _of(counter, self.charge) for counter in self.counters)


class Auditor:
    """Expects the answer to every verb, then believes it."""

    def __init__(self) -> None:
        self.facts: dict[str, Fact] = {}
        # The amount, on which counters it was added, and from which it was taken.
        self.adjusts: dict[str, tuple[Amounts, tuple[Counter, ...], tuple[Counter, ...]]] = {}
        self.limits_version = 0

    def balance(self, counter: Counter) -> Balance:
        """I2 and I4, from what every id is known to hold and to have booked."""
        facts = [fact for fact in self.facts.values() if counter in fact.counters]
        spent = sum(_of(counter, fact.booked) for fact in facts) + self.adjusted(counter)
        return Balance(spent, sum(_of(counter, fact.held) for fact in facts))

    def compared(self, counter: Counter, now_ms: int) -> Balance:
        """What a limit on it is compared with now: of a rolling period all that began in the last sixty buckets."""
        if not _is_rolling(counter):
            return self.balance(counter)
        bucket_s = _bucket_s(counter)
        current_s = now_ms // 1000 // bucket_s * bucket_s
        known = {counter for fact in self.facts.values() for counter in fact.counters}
        known |= {counter for _, *sides in self.adjusts.values() for side in sides for counter in side}
        counted = [
            self.balance(each)
            for each in known
            if _series(each) == _series(counter) and 0 <= current_s - _starts_s(each) <= 60 * bucket_s
        ]
        return Balance(sum(each.spent for each in counted), sum(each.reserved for each in counted))

    def adjusted(self, counter: Counter) -> int:
        adjusts = self.adjusts.values()
        return sum(_of(counter, amount) * ((counter in gave) - (counter in got)) for amount, gave, got in adjusts)

    def held_by_kind(self) -> dict[tuple[str, str], int]:
        """By unit and kind; an account counts once for each of its units."""
        held: dict[tuple[str, str], int] = {}
        for fact in self.facts.values():
            for counter in {(counter.account, counter.unit): counter for counter in fact.counters}.values():
                kind = (str(counter.unit), counter.account.split(":")[0])
                held[kind] = held.get(kind, 0) + _of(counter, fact.held)
        return {kind: figure for kind, figure in held.items() if figure}

    def check(self, verb: Verb, answer: Answer, *, remember_ms: int) -> None:
        """Raises AssertionError if the answer is not the right one; else takes in what it means."""
        fact = None if isinstance(verb, Adjust | Transfer) else self.facts.get(verb.id)
        was_pending = fact is not None and fact.state == "pending" and answer.now_ms < fact.deadline_ms
        self.take_expired(answer, by_operator=verb.id if isinstance(verb, Expire) else "")
        if fact is not None and fact.state == "pending" and not was_pending:
            # Where nothing was held and nothing is charged, no entry tells of the expiry.
            assert not fact.moves, f"{verb.id} is due, and the verb that names it did not expire it"
            self._expire(fact, charge=NOTHING)
        expected = self._expected(fact, verb, answer, was_pending=was_pending, remember_ms=remember_ms)
        assert answer.status == expected, f"{verb}: {answer.status}, not {expected}"
        self._check_changes(answer)
        if isinstance(verb, Reserve) and answer.status == "reserved":
            shown = [self.compared(target.counter, answer.now_ms) for target in verb.targets]
            assert list(answer.balances) == shown, f"{verb}: {answer.balances}, not {shown}"

    def _expected(self, fact: Fact | None, verb: Verb, answer: Answer, *, was_pending: bool, remember_ms: int) -> str:
        match verb:
            case Reserve():
                return self._reserve(fact, verb, answer)
            case Finalize() | Release():
                return self._end(fact, verb, remember_ms=remember_ms)
            case Extend() | Grow():
                return self._renew(fact, verb, answer.now_ms)
            case Expire():
                return self._expire_now(fact, was_pending=was_pending)
            case Adjust():
                return self._adjust(verb, verb.targets, (), answer.now_ms)
            case Transfer():
                return self._transfer(verb, answer)

    def take_expired(self, answer: Answer, *, by_operator: str = "") -> None:
        """A lease ends at its deadline or by an operator, and only then; what is due may be swept at any time."""
        for id_ in {entry.reservation_id for entry in answer.entries if entry.op is Op.EXPIRE}:
            fact = self.facts[id_]
            assert fact.state == "pending", f"{id_} expired although it was {fact.state}"
            is_due = answer.now_ms >= fact.deadline_ms
            assert is_due or id_ == by_operator, f"{id_} expired before its deadline"
            self._expire(fact, charge=fact.charge if is_due else NOTHING)

    def _expire(self, fact: Fact, *, charge: Amounts) -> None:
        fact.state, fact.held, fact.booked = "expired", NOTHING, charge

    def _check_changes(self, answer: Answer) -> None:
        """I5 and I9: entries are of the verb or of what it expired, and lead where this ledger leads."""
        if answer.status in ("rejected", "duplicate", "conflict", "leases_due") or answer.status.startswith("already"):
            assert {entry.op for entry in answer.entries} <= {Op.EXPIRE}, f"I5: {answer}"
        last = {entry.counter: Balance(entry.spent, entry.reserved) for entry in answer.entries}
        for counter, balance in last.items():
            assert balance == self.balance(counter), f"{counter}: {balance}, not {self.balance(counter)}"

    def _reserve(self, fact: Fact | None, verb: Reserve, answer: Answer) -> str:
        now_ms = answer.now_ms
        if fact is not None:
            is_same = fact.asked is None
            if fact.asked is not None:
                units = {counter.unit for counter in fact.counters} & {target.unit for target in verb.targets}
                is_same = all(getattr(fact.asked, unit) == getattr(verb.asked, unit) for unit in units)
                is_same = is_same and _accounts(fact.counters) == _accounts(_counters(verb.targets))
            assert answer.admits == (is_same and fact.state == "pending")
            return "duplicate" if is_same else "conflict"
        if any(_is_outside(target, now_ms) for target in verb.targets):
            return "stale_window"
        if verb.limits_version != self.limits_version:
            return "stale_limits"
        over, spent_over = self._shortfalls(verb.targets, verb.asked, now_ms)
        if over and not spent_over and self._is_due_on(verb.targets, now_ms):
            return "leases_due"
        if over and verb.enforce:
            self._check_rejection(answer, over, spent_over)
            return "rejected"
        assert (answer.rejection is not None) == bool(over)
        self.facts[verb.id] = Fact(
            "pending",
            _counters(verb.targets),
            verb.asked,
            held=verb.asked,
            charge=verb.expiry_charge,
            deadline_ms=now_ms + verb.lease_ms,
        )
        return "reserved"

    def _check_rejection(self, answer: Answer, over: dict[str, list[int]], spent_over: dict[str, list[int]]) -> None:
        assert answer.rejection is not None
        assert answer.rejection.is_held == (not spent_over)
        # Of the first unit in which there is one, the largest.
        worst = spent_over or over
        unit = next(unit for unit in UNITS if unit in worst)
        assert (answer.rejection.target.counter.unit, answer.rejection.shortfall) == (unit, max(worst[unit]))

    def _shortfalls(
        self, targets: Iterable[Target], asked: Amounts, now_ms: int
    ) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """I6: by how much limited counters are exceeded, by unit, and where no ending of others can cure it."""
        over: dict[str, list[int]] = {}
        spent_over: dict[str, list[int]] = {}
        for target in targets:
            estimate = _of(target.counter, asked)
            if target.limit is None or estimate == 0:
                continue
            balance = self.compared(target.counter, now_ms)
            room = target.limit + self._carried(target) - balance.spent
            shortfall = estimate + balance.reserved - room
            if shortfall > 0:
                over.setdefault(target.counter.unit, []).append(shortfall)
            if estimate > room:
                spent_over.setdefault(target.counter.unit, []).append(shortfall)
        return over, spent_over

    def _carried(self, target: Target) -> int:
        """What the limit has besides, of what its window before has not used."""
        if target.carry is None:
            return 0
        percent, amount, window = target.carry
        left = amount - self.balance(target.counter._replace(window=window)).spent
        return int(percent * left / 100) if left > 0 else 0

    def _is_due_on(self, targets: Iterable[Target], now_ms: int) -> bool:
        series = {_series(target.counter) for target in targets}
        return any(
            fact.state == "pending" and now_ms >= fact.deadline_ms and series & set(map(_series, fact.counters))
            for fact in self.facts.values()
            if fact.moves
        )

    def _end(self, fact: Fact | None, verb: Finalize | Release, *, remember_ms: int) -> str:
        name, actual = ("finalized", verb.actual) if isinstance(verb, Finalize) else ("released", NOTHING)
        if fact is None:
            if verb.age_ms > remember_ms:
                return "too_old"
            counters = _counters(verb.targets) if isinstance(verb, Finalize) else ()
            if not _forgets(verb):
                self.facts[verb.id] = Fact(name, counters, None, booked=actual)
            return "finalized_unreserved" if isinstance(verb, Finalize) else "released_unknown"
        if fact.state in ENDED:
            return ENDED[fact.state]
        status = name if fact.state == "pending" else f"{name}_late"
        fact.state, fact.held, fact.booked = name, NOTHING, actual
        if _forgets(verb):
            del self.facts[verb.id]
        return status

    def _renew(self, fact: Fact | None, verb: Extend | Grow, now_ms: int) -> str:
        if fact is None:
            return "unknown"
        if fact.state != "pending":
            return ENDED.get(fact.state, "already_expired")
        fact.deadline_ms = max(fact.deadline_ms, now_ms + verb.lease_ms)
        if isinstance(verb, Extend):
            return "extended"
        fact.held = Amounts(**{unit: max(getattr(fact.held, unit), getattr(verb.to, unit)) for unit in UNITS})
        return "grown"

    def _expire_now(self, fact: Fact | None, *, was_pending: bool) -> str:
        if fact is None:
            return "unknown"
        if was_pending:
            self._expire(fact, charge=NOTHING)
            return "expired"
        return ENDED.get(fact.state, "already_expired")

    def _adjust(self, verb: Adjust | Transfer, gave: tuple[Target, ...], got: tuple[Target, ...], now_ms: int) -> str:
        """Of a transfer whether it may be, as far as its limits do not matter."""
        sides = (_counters(gave), _counters(got))
        if (known := self.adjusts.get(verb.id)) is not None:
            amount, *known_sides = known
            is_same = amount == verb.amount and [*map(_accounts, known_sides)] == [*map(_accounts, sides)]
            return "duplicate" if is_same else "conflict"
        if not verb.any_window and any(_is_outside(target, now_ms) for target in (*gave, *got)):
            return "stale_window"
        self.adjusts[verb.id] = (verb.amount, *sides)
        return "adjusted"

    def _transfer(self, verb: Transfer, answer: Answer) -> str:
        is_known = verb.id in self.adjusts
        over, spent_over = self._shortfalls(verb.sources, verb.amount, answer.now_ms)
        status = self._adjust(verb, verb.sources, verb.destinations, answer.now_ms)
        if status != "adjusted" or not over:
            return "transferred" if status == "adjusted" else status
        assert not is_known
        del self.adjusts[verb.id]
        if not spent_over and self._is_due_on(verb.sources, answer.now_ms):
            return "leases_due"
        self._check_rejection(answer, over, spent_over)
        return "rejected"


def _is_rolling(counter: Counter) -> bool:
    return counter.period[0].isdigit()


def _bucket_s(counter: Counter) -> int:
    return int(counter.period[:-1]) * {"h": 60, "d": 1440}[counter.period[-1]]


def _starts_s(counter: Counter) -> int:
    return int(datetime.fromisoformat(counter.window).timestamp())


def _series(counter: Counter) -> tuple[str, ...]:
    """A counter, or all buckets of a rolling period."""
    return (counter.account, counter.period, counter.unit, "" if _is_rolling(counter) else counter.window)


def _of(counter: Counter, amounts: Amounts) -> int:
    """What of some amounts is meant for a counter: that of its unit."""
    figure: int = getattr(amounts, counter.unit)
    return figure


def _counters(targets: Iterable[Target]) -> tuple[Counter, ...]:
    return tuple(target.counter for target in targets)


def _accounts(counters: Iterable[Counter]) -> set[str]:
    return {counter.account for counter in counters}


def _is_outside(target: Target, now_ms: int) -> bool:
    return not target.window.starts_ms <= now_ms < target.window.ends_ms


def _forgets(verb: Finalize | Release) -> bool:
    return isinstance(verb, Release) and verb.forgets
