"""A store over a database: verbs go to a driver, everything else is a script that the driver runs."""

import secrets
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Protocol

from budget_middleware.core.answers import Answer, CounterProof, CounterView, Entry
from budget_middleware.core.costs.learning import AnswerGroup, Sums
from budget_middleware.core.damage import Damage
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.limits.shadow import ShadowDay, ShadowLimit, ShadowSum
from budget_middleware.core.model import Reservation
from budget_middleware.core.payers.accounts import canonical_pattern
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Reserve, Transfer
from budget_middleware.stores.facts import Fact
from budget_middleware.stores.limit_changes import LimitChanges
from budget_middleware.stores.notes import Note, Topic
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.runtime_limits import (
    KnownLimits,
    LimitNews,
    LimitsPage,
    RuntimeLimits,
    SlotChanges,
    WrittenBack,
)
from budget_middleware.stores.sql import kept, limits, reads
from budget_middleware.stores.sql.batch import Sweep, Verb
from budget_middleware.stores.sql.scripts import ScriptOf, T
from budget_middleware.stores.tables import Kind


class Driver(Protocol):
    """Brings verbs and scripts to a database. Every method may raise StoreUnavailable or StoreRefused."""

    def run(self, verb: Verb) -> Awaitable[Answer]:
        """Decide a verb, in one transaction with others."""
        ...

    def run_alone(self, verb: Verb) -> Awaitable[Answer]:
        """The same for callers that have no time-out of their own."""
        ...

    async def write(self, script_of: ScriptOf[T]) -> T:
        """Run a script in a transaction that has the lock of the ledger."""
        ...

    async def read(self, script_of: ScriptOf[T]) -> T:
        """Run a script over one snapshot."""
        ...

    def is_silent(self) -> bool: ...
    async def aclose(self) -> None: ...


class SqlStore(LimitChanges):
    """What is the same for all databases. See ``Store``."""

    # A verb waits for a future, and for nothing else.
    ends_when_cancelled = True

    def __init__(self, driver: Driver, retention: Retention) -> None:
        self._driver = driver
        self._retention = retention

    def is_silent(self) -> bool:
        return self._driver.is_silent()

    async def aclose(self) -> None:
        await self._driver.aclose()

    # Verbs.

    async def reserve(self, verb: Reserve) -> Answer:
        return await self._driver.run(verb)

    async def finalize(self, verb: Finalize) -> Answer:
        return await self._driver.run(verb)

    async def release(self, verb: Release) -> Answer:
        return await self._driver.run(verb)

    async def extend(self, verb: Extend) -> Answer:
        return await self._driver.run(verb)

    async def grow(self, verb: Grow) -> Answer:
        return await self._driver.run(verb)

    async def expire(self, verb: Expire) -> Answer:
        return await self._driver.run_alone(verb)

    async def adjust(self, verb: Adjust) -> Answer:
        return await self._driver.run_alone(verb)

    async def transfer(self, verb: Transfer) -> Answer:
        return await self._driver.run_alone(verb)

    async def repair(self, verb: Repair) -> Answer:
        return await self._driver.run_alone(verb)

    async def sweep(self, *, at_most: int, trace: str = "") -> Answer:
        return await self._driver.run_alone(Sweep(at_most, trace))

    async def head(self) -> Answer:
        return await self._driver.read(reads.head)

    async def learn(self, sums_by_group: Mapping[AnswerGroup, Sums]) -> Mapping[AnswerGroup, Sums]:
        return await self._driver.write(partial(kept.learn, newer=sums_by_group))

    # Runtime limits.

    async def limits(self) -> RuntimeLimits:
        return await self._driver.read(limits.all_limits)

    async def limits_page(self, cursor: int = 0) -> LimitsPage:
        return await self._driver.read(partial(limits.limits_page, cursor=cursor))

    async def limit_news(self, patterns: Sequence[str], *, since_version: int) -> LimitNews:
        return await self._driver.read(partial(limits.limit_news, patterns=patterns, since_version=since_version))

    async def index_limits(self) -> bool:
        return True

    async def write_back_limits(self, known: KnownLimits) -> WrittenBack:
        changes_max, token = self._retention.limit_changes_max, secrets.token_hex(8)
        return await self._driver.write(partial(limits.write_back, known=known, token=token, changes_max=changes_max))

    async def change_limits(self, account: str, changes: SlotChanges, *, at_version: int | None = None) -> int | None:
        change = partial(
            limits.change_limits,
            pattern=canonical_pattern(account),
            changes=changes,
            at_version=at_version,
            changes_max=self._retention.limit_changes_max,
        )
        return await self._driver.write(change)

    # What operators read.

    async def counters(self, account: str | None = None) -> Sequence[CounterView]:
        return await self._driver.read(partial(reads.counters, account=account))

    async def proofs(self) -> Sequence[CounterProof]:
        return await self._driver.read(reads.proofs)

    async def damage(self, *, mend: bool = False) -> Sequence[Damage]:
        return await (self._driver.write(reads.mend) if mend else self._driver.read(reads.damage))

    async def holds(self) -> Sequence[Reservation]:
        return await self._driver.read(reads.holds)

    async def reservation(self, id_: str) -> Reservation | None:
        return await self._driver.read(partial(reads.reservation, id_=id_))

    async def reserved_by_kind(self) -> Mapping[Kind, int]:
        return await self._driver.read(reads.reserved_by_kind)

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:
        return await self._driver.read(partial(reads.journal, after_seq=after_seq, count=count))

    async def latest(self, *, count: int, account: str | None = None) -> Sequence[Entry]:
        return await self._driver.read(partial(reads.latest, count=count, account=account))

    # What is kept for operators.

    async def add_note(self, topic: Topic, text: str) -> None:
        await self._driver.write(partial(kept.add_note, topic=topic, text=text, retention=self._retention))

    async def notes(self) -> Sequence[Note]:
        return await self._driver.read(partial(kept.notes, retention=self._retention))

    async def keep_fact(self, name: str, text: str, *, keep_ms: int) -> str:
        return await self._driver.write(partial(kept.keep_fact, name=name, text=text, keep_ms=keep_ms))

    async def kept_facts(self, names: Sequence[str]) -> Mapping[str, str]:
        return await self._driver.read(partial(kept.kept_facts, names=names))

    async def all_facts(self) -> Sequence[Fact]:
        return await self._driver.read(kept.all_facts)

    async def neighbours(self) -> Sequence[str]:
        return await self._driver.read(kept.neighbours)

    async def log_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        await self._driver.write(partial(kept.log_refusals, refusals=refusals, retention=self._retention))

    async def refusals(self, *, since_ms: int = 0) -> Sequence[LoggedRefusal]:
        return await self._driver.read(partial(kept.refusals, since_ms=since_ms, retention=self._retention))

    async def add_shadow_sums(self, day: str, sums: Mapping[ShadowLimit, ShadowSum]) -> None:
        await self._driver.write(partial(kept.add_shadow_sums, day=day, sums=sums, retention=self._retention))

    async def shadow_sums(self, *, since_day: str) -> Sequence[ShadowDay]:
        return await self._driver.read(partial(kept.shadow_sums, since_day=since_day, retention=self._retention))

    async def texts(self, shelf: str) -> Mapping[str, str]:
        return await self._driver.read(partial(kept.texts, shelf=shelf))

    async def swap_text(self, shelf: str, name: str, *, before: str | None, after: str | None, keep_ms: int) -> bool:
        script = partial(kept.swap_text, shelf=shelf, name=name, before=before, after=after, keep_ms=keep_ms)
        return await self._driver.write(script)
