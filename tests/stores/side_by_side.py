"""Memory and another store asked the same, one after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from hypothesis.stateful import RuleBasedStateMachine
from msgspec.structs import replace

from budget_middleware.core.answers import Answer, Entry
from budget_middleware.core.model import Balance, Carry, Counter, Target
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period, previous_window, window_at
from budget_middleware.stores.base import Store
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.postgres_store import PostgresStore
from budget_middleware.stores.sql.sqlite_store import SqliteStore
from budget_middleware.testing import MovableClock
from tests.stores.clocked import ClockedRedisStore
from tests.stores.expected_state import Auditor
from tests.stores.verbs import HOUR_MS, START_MS, UTC, Verb, send

T = TypeVar("T")

Place = tuple[str, Period, Unit]
"""A counter without its window."""

OpenOther = Callable[[str, MovableClock], Store]
"""Opens the other store under a name that no other example uses, on a clock."""

CARRIED = 3
REMEMBER_MS = 10**10
RETENTION = Retention(remember_ms=REMEMBER_MS, remember_expired_ms=REMEMBER_MS)


def in_a_server(url: str, namespace: str) -> OpenOther:
    return lambda name, clock: ClockedRedisStore(
        url, namespace=f"{namespace}-{name}", clock_ms=clock, retention=RETENTION
    )


def in_a_file(folder: Path) -> OpenOther:
    return lambda name, clock: SqliteStore(
        f"sqlite:///{folder}/{name}.db", timeout_s=10, clock_ms=clock, retention=RETENTION
    )


def in_postgres(url: str, namespace: str) -> OpenOther:
    return lambda name, clock: PostgresStore(
        url, namespace=f"{namespace}-{name}", timeout_s=10, clock_ms=clock, retention=RETENTION
    )


class SideBySide(RuleBasedStateMachine):
    """Two stores, one clock, and the auditor of both; what is played comes with a subclass."""

    def __init__(self, *, runner: asyncio.Runner, open_other: OpenOther) -> None:
        super().__init__()
        self.runner = runner
        # Two seconds before an hour ends.
        self.clock = MovableClock(START_MS + HOUR_MS // 2 - 2000)
        self.memory = MemoryStore(RETENTION, clock_ms=self.clock)
        self.other = open_other(uuid4().hex[:8], self.clock)
        self.auditor = Auditor()
        self.sent: list[Verb] = []
        self.generation = 0
        self.told: dict[Counter, Balance] = {}
        self.repaired: set[Counter] = set()
        # Facts, by their names.
        self.kept: dict[str, str] = {}
        self.seq = 0

    def teardown(self) -> None:
        if isinstance(self.other, ClockedRedisStore):
            self.run(self.other.forget_everything())
        self.run(self.other.aclose())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def both(self, ask: Callable[[Store], Awaitable[T]]) -> T:
        """Asks both stores the same; they must say the same."""

        async def ask_both() -> tuple[T, T]:
            return await ask(self.memory), await ask(self.other)

        from_memory, from_other = self.run(ask_both())
        if isinstance(from_memory, Answer):
            from_memory, from_other = replace(from_memory, generation=""), replace(from_other, generation="")
        assert from_memory == from_other
        return from_memory  # type: ignore[no-any-return]

    def targets(self, places: list[Place], limit: int | None, hours_off: int = 0) -> tuple[Target, ...]:
        at_ms = self.clock.now_ms + hours_off * HOUR_MS
        return tuple(self._target(place, limit, at_ms) for place in places)

    def _target(self, place: Place, limit: int | None, at_ms: int) -> Target:
        """The tight limit of an hour carries over."""
        account, period, unit = place
        window = window_at(period, time_ms=at_ms, timezone=UTC)
        carries = period is Period.HOUR and limit == CARRIED
        carry = Carry(70, CARRIED, previous_window(window, timezone=UTC).id) if carries else None
        return Target(account, window, limit, unit, carry)

    def play(self, verb: Verb, *, is_reply_lost: bool) -> None:
        self.sent.append(verb)
        self.deliver(verb)
        if is_reply_lost:
            # I10: whoever got no reply asks again, and nothing more happens.
            assert self.deliver(verb).entries == ()

    def deliver(self, verb: Verb) -> Answer:
        answer = self.both(lambda store: send(store, verb))
        self.auditor.check(verb, answer, remember_ms=REMEMBER_MS)
        self.read_journal(answer.entries)
        return answer

    def read_journal(self, written: tuple[Entry, ...]) -> None:
        """I9: the journal goes on with exactly what the answer tells, and each counter's entries chain."""
        entries = self.both(lambda store: store.journal(after_seq=self.seq, count=1000))
        assert tuple(entries) == written
        for entry in entries:
            self.seq += 1
            assert entry.seq == self.seq
            before = Balance(entry.spent_before, entry.reserved_before)
            assert before == self.told.get(entry.counter, Balance())
            self.told[entry.counter] = Balance(entry.spent, entry.reserved)
