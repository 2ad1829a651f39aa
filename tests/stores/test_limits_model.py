"""Runtime limits of the memory store and of another, asked the same: changes, losses and what is written back.

From tiny ranges, so that changes, losses and workers that know older and newer versions meet.
"""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from budget_middleware.core.limits.limits import LIFTED, Increase, LimitMode, Slot, Terms
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.stores.records.limit_fields import changed_fields, pack_changes
from budget_middleware.stores.runtime_limits import MORE, KnownLimits, LimitNews
from tests.databases.postgres_server import PostgresServer
from tests.examples import examples
from tests.stores.side_by_side import OpenOther, SideBySide, in_a_file, in_a_server, in_postgres
from tests.stores.test_runtime_limits import empty, fail_over, replica_of

PATTERNS = ("key:a", "key:*", "key+model:a+*")
PERIODS = (Period.DAY, Period.TOTAL)
SLOTS = (
    Slot(Period.DAY),
    Slot(Period.DAY, mode=LimitMode.SHADOW),
    Slot(Period.MINUTE, Unit.TOKENS),
    Slot(Period.TOTAL, Unit.INFLIGHT),
    Slot(Period("month@15")),
)

patterns = st.sampled_from(PATTERNS)
periods = st.sampled_from(PERIODS)
limits = st.sampled_from([0, 1, 2, None])
slots = st.sampled_from(SLOTS)
increased = Terms(1, increases=(Increase(1, 9), Increase(2, 5)))
terms = st.sampled_from([LIFTED, Terms(1), Terms(2, alerts=(50, 80)), Terms(3, carry=50), increased])
changes = st.dictionaries(st.none() | slots, st.none() | terms, min_size=1)
values = st.dictionaries(periods, limits) | st.fixed_dictionaries(
    {MORE: changes.map(lambda each: changed_fields("", pack_changes(each)).get(MORE, "all=-") or "all=-")}
)


class LimitsModel(SideBySide):
    """``versions`` are what some worker may know; generations are told apart by their number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.versions = [0]
        self.replicas: list[tuple[Any, Any]] = []
        self.generations: list[tuple[str, str]] = []
        self._note_generation()

    def _note_generation(self) -> None:
        memory, redis = self.run(self.memory.head()).generation, self.run(self.other.head()).generation
        if (memory, redis) not in self.generations:
            self.generations.append((memory, redis))

    @rule(pattern=patterns, period=periods, limit=limits)
    def an_operator_sets(self, pattern, period, limit):
        self.versions.append(self.both(lambda store: store.set_limit(pattern, period=period, limit_nanos=limit)))

    @rule(pattern=patterns, period=st.sampled_from([*PERIODS, None]))
    def an_operator_clears(self, pattern, period):
        self.versions.append(self.both(lambda store: store.clear_limit(pattern, period=period)))

    @rule(pattern=patterns, changes=changes, is_bound=st.booleans())
    def an_operator_changes_several(self, pattern, changes, is_bound):
        at_version = self.versions[-1] if is_bound else None
        version = self.both(lambda store: store.change_limits(pattern, changes, at_version=at_version))
        if version is not None:
            self.versions.append(version)

    @rule(ms=st.sampled_from([1, 5, -3]))
    def time_passes(self, ms):
        self.clock.advance(ms=ms)

    @rule()
    def a_replica_catches_up(self):
        self.replicas.append((self.run(replica_of(self.memory)), self.run(replica_of(self.other))))

    @rule(data=st.data())
    def a_replica_takes_over(self, data):
        if self.replicas:
            memory, redis = data.draw(st.sampled_from(self.replicas))
            self.run(fail_over(self.memory, memory))
            self.run(fail_over(self.other, redis))
            self._note_generation()

    @rule()
    def the_store_is_emptied(self):
        self.run(empty(self.memory))
        self.run(empty(self.other))
        self._note_generation()

    @rule(data=st.data(), known=st.dictionaries(patterns, values), reports_loss=st.booleans())
    def a_worker_writes_back(self, data, known, reports_loss):
        version = data.draw(st.sampled_from(self.versions))
        of_memory, of_redis = data.draw(st.sampled_from(self.generations))
        mine = KnownLimits(of_memory, version, known, reports_loss=reports_loss)
        written = self.run(self.memory.write_back_limits(mine))
        assert written == self.run(self.other.write_back_limits(replace(mine, generation=of_redis)))
        self.versions.append(written.version)
        assert not self.run(self.memory.write_back_limits(mine)).limits, "once"
        assert not self.run(self.other.write_back_limits(replace(mine, generation=of_redis))).limits

    @rule(data=st.data(), asked=st.lists(patterns, unique=True))
    def a_worker_asks(self, data, asked):
        since = data.draw(st.sampled_from([-1, *self.versions]))

        async def ask(store: Any) -> LimitNews:
            news = await store.limit_news(asked, since_version=since)
            return replace(news, generation="", lineage=str(bool(news.lineage)))

        self.both(ask)

    @invariant()
    def they_have_the_same_limits(self):
        self.both(lambda store: store.limits())


def play(open_other: OpenOther, *, count: int) -> None:
    with asyncio.Runner() as runner:
        machine: Any = partial(LimitsModel, runner=runner, open_other=open_other)
        run_state_machine_as_test(
            machine,
            settings=settings(max_examples=examples(count), stateful_step_count=30, report_multiple_bugs=False),
        )


def test_limits_of_memory_and_server_agree(server_url: str, namespace: str):
    play(in_a_server(server_url, namespace), count=60)


def test_limits_of_memory_and_a_file_agree(tmp_path: Path):
    play(in_a_file(tmp_path), count=12)


def test_limits_of_memory_and_postgres_agree(postgres: PostgresServer, namespace: str):
    play(in_postgres(postgres.url(), namespace), count=6)
