"""Watches every step of the store, and knows by rules of its own what it must answer and where it must lead.

`tests.stores.expected_state` holds the rules of single verbs (I1 to I6, I10). What is added here: the journal's chain
(I9), the limits that bind at this instant, and histories, for a store may lose the end of its own.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from budget_middleware.core.answers import Answer, CounterProof, Entry
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.statuses import Status
from budget_middleware.core.verbs import Expire, Reserve
from budget_middleware.core.windows import Period
from budget_middleware.stores.runtime_limits import KnownLimits, LimitKey, WrittenBack
from tests.simulation.kept_texts import KeptTexts
from tests.stores.expected_state import Auditor, Fact
from tests.stores.verbs import Verb

VERBS = frozenset({"reserve", "finalize", "release", "extend", "grow", "expire", "adjust", "transfer"})
_DECIDED = frozenset({Status.RESERVED, Status.REJECTED})

Limits = Mapping[tuple[str, Period], int]


class Violation(AssertionError):
    """A promise that the product broke."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Violation(message)


@dataclass
class Truth:
    """What must hold of a store now; it is lost and restored together with the store."""

    auditor: Auditor = field(default_factory=Auditor)
    journal: list[Entry] = field(default_factory=list)
    balances: dict[Counter, Balance] = field(default_factory=dict)
    runtime_limits: dict[LimitKey, Any] = field(default_factory=dict)
    operator_releases: set[str] = field(default_factory=set)
    # Said by operators since the store last lost anything: no worker knew it better before.
    limits_said: set[tuple[str, Period]] = field(default_factory=set)
    kept: KeptTexts = field(default_factory=KeptTexts)

    @property
    def facts(self) -> dict[str, Fact]:
        return self.auditor.facts


class Witness:
    """Raises Violation at the step that breaks a promise. ``steps`` counts the calls that the store applied,
    ``grown`` those that grew a hold.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.truth = Truth()
        self.steps = self.grown = 0

    def ids_of(self, number: int) -> list[str]:
        """The reservations of a numbered request that the store knows."""
        return [id_ for id_ in self.truth.facts if int(id_[:8], 16) == number]

    def is_ended(self, number: int) -> bool:
        """Whether a reservation of this number is finalized or released."""
        return any(self.truth.facts[id_].state in ("finalized", "released") for id_ in self.ids_of(number))

    def snapshot(self) -> Truth:
        return copy.deepcopy(self.truth)

    def lose(self, kept: Truth | None = None) -> Truth:
        """The store is what it was, or empty; returns what it has lost from now on."""
        lost, self.truth = self.truth, copy.deepcopy(kept) if kept else Truth()
        self.truth.limits_said.clear()
        return lost

    def applied(self, name: str, arguments: Sequence[Any], options: Mapping[str, Any], answer: Any) -> None:
        """Check one step."""
        self.steps += 1
        try:
            if name in VERBS:
                self._verb(arguments[0], answer)
            elif name == "sweep":
                self.truth.auditor.take_expired(answer)
                self._chain(answer)
            elif name in ("set_limit", "clear_limit"):
                self._limit_changed(name, arguments[0], options, version=answer)
            elif name == "change_limits":
                for slot, terms in arguments[1].items():
                    said = {"period": slot.period, "limit_nanos": terms and terms.amount}
                    self._limit_changed("set_limit" if terms else "clear_limit", arguments[0], said, version=answer)
            elif name == "follow_limits":
                self.truth.auditor.limits_version = answer.limits_version
            elif name == "write_back_limits":
                self._limits_written_back(arguments[0], answer)
            else:
                self.truth.kept.check(name, arguments, options, answer)
        except Violation:
            raise
        except AssertionError as error:
            told = str(error) or "the auditor knows better"
            raise Violation(f"{told}: {name} {arguments} -> {answer}") from error

    def _verb(self, verb: Verb, answer: Answer) -> None:
        self.truth.auditor.check(verb, answer, remember_ms=10**8)
        self._chain(answer)
        self.grown += answer.status is Status.GROWN and answer.written > 0
        if isinstance(verb, Expire) and answer.status is Status.EXPIRED:
            self.truth.operator_releases.add(verb.id)
        if isinstance(verb, Reserve) and answer.status in _DECIDED and self._knows_limits(verb):
            for target in verb.targets:
                bound = self._limit_of(target.counter)
                if target.limit != bound:
                    raise Violation(f"{target.counter} was decided by {target.limit}, its limit is {bound}")

    def _knows_limits(self, verb: Reserve) -> bool:
        """Whether the limits that bind a reserve are those that operators have set here."""
        return True

    def _limit_of(self, counter: Counter) -> int | None:
        key = (counter.account, counter.period)
        return self.truth.runtime_limits[key] if key in self.truth.runtime_limits else self._limits.get(key)

    def _limit_changed(self, name: str, account: str, options: Mapping[str, Any], *, version: int) -> None:
        key = (account, options["period"])
        self.truth.limits_said.add(key)
        if name == "set_limit":
            self.truth.runtime_limits[key] = options["limit_nanos"]
        else:
            self.truth.runtime_limits.pop(key, None)
        require(version != self.truth.auditor.limits_version, f"limits {version} are changed and keep their version")
        self.truth.auditor.limits_version = version

    def _limits_written_back(self, known: KnownLimits, written: WrittenBack) -> None:
        self.truth.auditor.limits_version = written.version
        for pattern, period in written.limits:
            key = (pattern, period)
            require(key not in self.truth.limits_said, f"what an operator said of {key} is undone")
            if period in known.limits[pattern]:
                self.truth.runtime_limits[key] = known.limits[pattern][period]
            else:
                self.truth.runtime_limits.pop(key, None)

    def _chain(self, answer: Answer) -> None:
        journal, told = self.truth.journal, self.truth.balances
        for entry in answer.entries:
            last = journal[-1].seq if journal else 0
            before = Balance(entry.spent_before, entry.reserved_before)
            if entry.seq != last + 1 or before != told.get(entry.counter, Balance()):
                raise Violation(f"I9: {entry} does not chain to seq {last}, {told.get(entry.counter)}")
            if entry.reserved < 0:
                raise Violation(f"I1: {entry}")
            told[entry.counter] = Balance(entry.spent, entry.reserved)
            journal.append(entry)
        last = journal[-1].seq if journal else 0
        require(answer.seq == last, f"I9: the store says seq {answer.seq}, its journal ends with {last}")

    def check_proofs(self, proofs: Sequence[CounterProof]) -> None:
        """I1, I2, I4 and I9 over all counters."""
        auditor, told = self.truth.auditor, dict(self.truth.balances)
        for proof in proofs:
            expected, adjusted = auditor.balance(proof.counter), auditor.adjusted(proof.counter)
            is_explained = proof.balance == expected == told.pop(proof.counter, Balance())
            is_held = 0 <= proof.balance.reserved == proof.held
            if not (is_explained and is_held and proof.adjusted == adjusted <= proof.balance.spent):
                raise Violation(f"I1, I2, I4, I9: {proof}, expected {expected} with {adjusted} adjusted")
        # A counter that is back at nothing is dropped.
        gone = [counter for counter, balance in told.items() if balance != Balance() or auditor.adjusted(counter)]
        require(not gone, "I9: the journal tells of counters that do not exist")
