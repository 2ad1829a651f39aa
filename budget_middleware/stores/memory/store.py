"""The store of one process: plain dictionaries under the engine, one lock."""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from budget_middleware.core.costs.learning import NO_ANSWERS, AnswerGroup, Sums, merge
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.limits.shadow import ShadowDay, ShadowLimit, ShadowSum, day_of
from budget_middleware.core.payers.accounts import canonical_pattern
from budget_middleware.stores.base import LEARNT_MS, SHADOW_LIMITS_MAX
from budget_middleware.stores.facts import Fact
from budget_middleware.stores.limit_changes import LimitChanges
from budget_middleware.stores.memory.table_store import TableStore
from budget_middleware.stores.memory.tables import MemoryTables
from budget_middleware.stores.notes import Note, Topic
from budget_middleware.stores.records.limit_table import LimitTable
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.runtime_limits import (
    LIMITS_PAGE,
    KnownLimits,
    LimitNews,
    LimitsPage,
    RuntimeLimits,
    SlotChanges,
    WrittenBack,
)

TEXTS_FORGOTTEN_EVERY_MS = 60_000


class MemoryStore(TableStore, LimitChanges):
    """Counters of this process only; they are forgotten when it ends.

    ``clock_ms`` is the store's clock (milliseconds since the Unix epoch); tests pass one that they can move.
    """

    def __init__(self, retention: Retention | None = None, *, clock_ms: Callable[[], int] | None = None) -> None:
        kept = retention or Retention()
        super().__init__(
            MemoryTables(),
            # One ledger may serve several event loops, each in a thread of its own.
            transaction=threading.Lock(),
            retention=kept,
            clock_ms=clock_ms or (lambda: time.time_ns() // 1_000_000),
        )
        self._limits = LimitTable(changes_max=kept.limit_changes_max)
        # Which is forgotten first stands first.
        self._learnt: dict[AnswerGroup, tuple[Sums, int]] = {}
        self._notes: dict[tuple[Topic, str], int] = {}
        self._facts: dict[str, tuple[str, int]] = {}
        self._refusals: deque[LoggedRefusal] = deque(maxlen=kept.refusals_max)
        self._shadow_days: dict[str, ShadowDay] = {}
        self._texts: dict[tuple[str, str], tuple[str, int]] = {}
        self._forget_texts_ms = 0

    async def learn(self, sums_by_group: Mapping[AnswerGroup, Sums]) -> Mapping[AnswerGroup, Sums]:
        with self._transaction:
            now_ms = self._clock_ms()
            self._forget_learnt(now_ms)
            merged: dict[AnswerGroup, Sums] = {}
            for group, newer in sums_by_group.items():
                known, _ = self._learnt.get(group, (NO_ANSWERS, 0))
                sums = merge(known, newer) if newer.is_sound else known
                if known.is_sound:
                    merged[group] = sums
                if newer.is_sound:
                    self._learnt.pop(group, None)
                    self._learnt[group] = sums, now_ms + LEARNT_MS
            return merged

    def _forget_learnt(self, now_ms: int) -> None:
        while self._learnt and next(iter(self._learnt.values()))[1] <= now_ms:
            del self._learnt[next(iter(self._learnt))]

    # Limits that operators set at run time.

    async def limits(self) -> RuntimeLimits:
        with self._transaction:
            return RuntimeLimits(self._limits.version, dict(self._limits.limits))

    async def limits_page(self, cursor: int = 0) -> LimitsPage:
        with self._transaction:
            page = dict(islice(self._limits.limits.items(), cursor, cursor + LIMITS_PAGE))
            is_last = cursor + LIMITS_PAGE >= len(self._limits.limits)
            return LimitsPage(0 if is_last else cursor + LIMITS_PAGE, page, ())

    async def limit_news(self, patterns: Sequence[str], *, since_version: int) -> LimitNews:
        with self._transaction:
            generation = self._tables.meta.generation
            return self._limits.news(patterns, since_version=since_version, generation=generation)

    async def index_limits(self) -> bool:
        return True

    async def write_back_limits(self, known: KnownLimits) -> WrittenBack:
        with self._transaction:
            generation, token = self._tables.meta.generation, secrets.token_hex(8)
            written = self._limits.write_back(known, generation=generation, token=token, now_ms=self._clock_ms())
            self._put_limits_version()
            return written

    async def change_limits(self, account: str, changes: SlotChanges, *, at_version: int | None = None) -> int | None:
        pattern = canonical_pattern(account)
        with self._transaction:
            if at_version not in (None, self._limits.version):
                return None
            self._limits.change(pattern, changes, now_ms=self._clock_ms())
            return self._put_limits_version()

    def _put_limits_version(self) -> int:
        """Where a reserve is held to it."""
        self._tables.put_meta(replace(self._tables.meta, limits_version=self._limits.version))
        return self._limits.version

    # What is kept for operators.

    async def add_note(self, topic: Topic, text: str) -> None:
        with self._transaction:
            self._notes[topic, text] = self._clock_ms()

    async def notes(self) -> Sequence[Note]:
        with self._transaction:
            since_ms = self._clock_ms() - self._retention.counters_ms
            kept = [Note(topic, text, at_ms) for (topic, text), at_ms in self._notes.items() if at_ms > since_ms]
            return sorted(kept, key=lambda note: (note.topic, note.text))

    async def keep_fact(self, name: str, text: str, *, keep_ms: int) -> str:
        with self._transaction:
            now_ms = self._clock_ms()
            for past in [each for each, (_, until_ms) in self._facts.items() if until_ms <= now_ms]:
                del self._facts[past]
            return self._facts.setdefault(name, (text, now_ms + keep_ms))[0]

    async def kept_facts(self, names: Sequence[str]) -> Mapping[str, str]:
        with self._transaction:
            now_ms = self._clock_ms()
            found = {name: self._facts[name] for name in names if name in self._facts}
            return {name: text for name, (text, until_ms) in found.items() if until_ms > now_ms}

    async def all_facts(self) -> Sequence[Fact]:
        with self._transaction:
            left = [Fact(name, text, until_ms - self._clock_ms()) for name, (text, until_ms) in self._facts.items()]
            return [fact for fact in left if fact.left_ms > 0]

    async def neighbours(self) -> Sequence[str]:
        return ()

    async def log_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        with self._transaction:
            self._refusals.extend(refusals)

    async def refusals(self, *, since_ms: int = 0) -> Sequence[LoggedRefusal]:
        with self._transaction:
            since_ms = max(since_ms, self._clock_ms() - self._retention.counters_ms + 1)
            kept = [refusal for refusal in self._refusals if refusal.time_ms >= since_ms]
            return sorted(kept, key=lambda refusal: refusal.time_ms)

    async def add_shadow_sums(self, day: str, sums: Mapping[ShadowLimit, ShadowSum]) -> None:
        with self._transaction:
            for past in [each for each in self._shadow_days if each < self._first_shadow_day()]:
                del self._shadow_days[past]
            _, known, left_out = self._shadow_days.get(day, ShadowDay(day, {}))
            for limit, newer in sums.items():
                if limit in known:
                    known[limit] = known[limit].plus(newer)
                elif len(known) < SHADOW_LIMITS_MAX:
                    known[limit] = newer
                else:
                    left_out += newer.requests
            self._shadow_days[day] = ShadowDay(day, known, left_out)

    async def shadow_sums(self, *, since_day: str) -> Sequence[ShadowDay]:
        with self._transaction:
            since_day = max(since_day, self._first_shadow_day())
            days = [each for each in self._shadow_days.values() if each.day >= since_day]
            return sorted((each._replace(sums=dict(each.sums)) for each in days), key=lambda each: each.day)

    def _first_shadow_day(self) -> str:
        return day_of(self._clock_ms() - self._retention.counters_ms)

    # What gateways keep for each other.

    async def texts(self, shelf: str) -> Mapping[str, str]:
        with self._transaction:
            now_ms = self._clock_ms()
            kept = self._texts.items()
            return {name: text for (on, name), (text, until_ms) in kept if on == shelf and until_ms > now_ms}

    async def swap_text(self, shelf: str, name: str, *, before: str | None, after: str | None, keep_ms: int) -> bool:
        with self._transaction:
            now_ms = self._clock_ms()
            if now_ms >= self._forget_texts_ms:
                self._texts = {each: kept for each, kept in self._texts.items() if kept[1] > now_ms}
                self._forget_texts_ms = now_ms + TEXTS_FORGOTTEN_EVERY_MS
            known, until_ms = self._texts.get((shelf, name), (None, 0))
            if (known if until_ms > now_ms else None) != before:
                return False
            self._texts.pop((shelf, name), None)
            if after is not None:
                self._texts[shelf, name] = after, now_ms + keep_ms
            return True
