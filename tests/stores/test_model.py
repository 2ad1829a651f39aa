"""Hypothesis plays the verbs, time and lost replies on memory and on another store, side by side.

From tiny ranges, so that limits, repeats, deadlines and turns of windows meet. Three parties must agree after
every step: the executable specification, the Lua scripts, and an auditor that shares no code with them.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from budget_middleware.core.answers import CounterProof, CounterView
from budget_middleware.core.model import Balance, Counter, Reservation, Target
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Reserve, Transfer
from budget_middleware.core.windows import Period, window_named
from budget_middleware.stores.base import Store
from tests.databases.postgres_server import PostgresServer
from tests.examples import examples
from tests.stores.audit import audit_report
from tests.stores.by_hand import change_by_hand
from tests.stores.side_by_side import CARRIED, REMEMBER_MS, OpenOther, SideBySide, in_a_file, in_a_server, in_postgres
from tests.stores.verbs import UTC

# Without it most endings would meet ids that nobody has reserved.
mostly_where_one_is_awaited = precondition(lambda self: self.waiting or self.generation == 0)

LEASES_MS = (2000, 3000, 4000)
TICKET_MS = 172_800_000
"""The lease of a ticket, which nobody renews."""
FACT_MS = 10**10
"""Longer than a run: a server forgets facts by its own clock, which does not move as this one does."""

NEW = "new"

ids = st.sampled_from("abcd")
# An ending is mostly sent to what awaits one, the last first.
targeted = st.sampled_from([0, 0, 0, 0, 1, 2, 3, "a", "b", "c", "d"])
# Mostly of all units at once: what one of them may not, none may.
amounts = st.builds(
    Amounts, usd=st.integers(0, 3), tokens=st.integers(0, 3), requests=st.integers(0, 1), inflight=st.integers(0, 1)
)
# What an answer comes to is less than was asked for, or more.
larger_amounts = st.builds(
    Amounts, usd=st.integers(0, 6), tokens=st.integers(0, 6), requests=st.integers(0, 2), inflight=st.integers(0, 2)
)
leases_ms = st.sampled_from(LEASES_MS)
extended_ms = st.sampled_from([*LEASES_MS, *LEASES_MS, TICKET_MS])
ages_ms = st.sampled_from([0, 0, 0, 0, REMEMBER_MS, REMEMBER_MS + 1])
# Two periods of one account, and another account, each with counters of other units; some windows have just closed or
# not begun.
places = st.lists(
    st.sampled_from(
        [
            ("key:a", Period.HOUR, Unit.USD),
            ("key:a", Period.HOUR, Unit.TOKENS),
            ("key:a", Period.DAY, Unit.USD),
            ("team:b", Period.HOUR, Unit.USD),
            ("team:b", Period.HOUR, Unit.REQUESTS),
            ("team:b", Period.TOTAL, Unit.INFLIGHT),
            ("team:b", Period("1h"), Unit.USD),
        ]
    ),
    min_size=1,
    max_size=4,
    unique=True,
)
sides = st.permutations([("key:a", Period.HOUR), ("team:b", Period.HOUR), ("key:a", Period.DAY)]).map(
    lambda drawn: drawn[:2]
)
limits = st.sampled_from([5, 5, 5, CARRIED, CARRIED, None])
hours_off = st.sampled_from([0] * 8 + [-1, -1, 1])
reserves = st.fixed_dictionaries(
    {
        "id": st.sampled_from([NEW, NEW, NEW, "a", "b", "c", "d"]),
        "places": places,
        "amount": amounts,
        "limit": limits,
        "lease_ms": leases_ms,
        "charge": amounts,
        "enforce": st.sampled_from([True, True, True, False]),
    }
)


class Shown(NamedTuple):
    """What a store shows of all counters and reservations."""

    proofs: Sequence[CounterProof]
    counters: Sequence[CounterView]
    holds: Sequence[Reservation]
    held_by_kind: Mapping[tuple[Unit, str], int]


async def shown_by(store: Store) -> Shown:
    proofs, counters, holds, by_kind = await asyncio.gather(
        store.proofs(), store.counters(), store.holds(), store.reserved_by_kind()
    )
    return Shown(proofs, counters, holds, {kind: held for kind, held in by_kind.items() if held})


def set_runtime_limit(store: Store, *, limit_nanos: int | None) -> Awaitable[int]:
    return store.set_limit("key:a", period=Period.DAY, limit_nanos=limit_nanos)


class StoresSideBySide(SideBySide):
    @property
    def waiting(self) -> list[str]:
        return [id_ for id_, fact in self.auditor.facts.items() if fact.state in ("pending", "expired")]

    def id(self, aim: str | int) -> str:
        """One of this generation's four ids, or one that nobody has used, or one that awaits its ending."""
        if isinstance(aim, int):
            return self.waiting[-1 - aim % len(self.waiting)] if self.waiting else f"a{self.generation}"
        return f"{NEW}{len(self.sent)}" if aim == NEW else f"{aim}{self.generation}"

    # Verbs.

    @rule(
        asked=reserves,
        hours_off=hours_off,
        is_stale=st.sampled_from([False] * 15 + [True]),
        is_reply_lost=st.booleans(),
    )
    def reserve(self, asked, hours_off, is_stale, is_reply_lost):
        verb = Reserve(
            self.id(asked["id"]),
            self.targets(asked["places"], asked["limit"], hours_off),
            asked["amount"],
            asked["lease_ms"],
            expiry_charge=Amounts(*map(min, asked["charge"], asked["amount"])),
            enforce=asked["enforce"],
            limits_version=self.auditor.limits_version + is_stale,
            trace=f"trace-{len(self.sent)}",
        )
        self.play(verb, is_reply_lost=is_reply_lost)

    @mostly_where_one_is_awaited
    @rule(id_=targeted, places=places, actual=amounts, age_ms=ages_ms, is_reply_lost=st.booleans())
    def finalize(self, id_, places, actual, age_ms, is_reply_lost):
        verb = Finalize(self.id(id_), self.targets(places, 5), actual, age_ms=age_ms)
        self.play(verb, is_reply_lost=is_reply_lost)

    @mostly_where_one_is_awaited
    @rule(id_=targeted, age_ms=ages_ms, is_reply_lost=st.booleans())
    def release(self, id_, age_ms, is_reply_lost):
        self.play(Release(self.id(id_), age_ms=age_ms, reason="why"), is_reply_lost=is_reply_lost)

    @mostly_where_one_is_awaited
    @rule(id_=targeted, lease_ms=extended_ms, by_operator=st.booleans())
    def extend_or_expire(self, id_, lease_ms, by_operator):
        verb = Expire(self.id(id_), reason="stuck") if by_operator else Extend(self.id(id_), lease_ms)
        self.play(verb, is_reply_lost=True)

    @mostly_where_one_is_awaited
    @rule(id_=targeted, to=larger_amounts, lease_ms=leases_ms, is_reply_lost=st.booleans())
    def grow(self, id_, to, lease_ms, is_reply_lost):
        verb = Grow(self.id(id_), to, lease_ms, trace=f"trace-{len(self.sent)}", reason="outgrown")
        self.play(verb, is_reply_lost=is_reply_lost)

    @rule(
        id_=ids,
        places=places,
        amount=st.builds(Amounts, *[st.integers(-2, 3)] * 4),
        hours_off=hours_off,
        any_window=st.booleans(),
    )
    def adjust(self, id_, places, amount, hours_off, any_window):
        targets = self.targets(places, None, hours_off)
        self.play(Adjust(self.id(id_), targets, amount, any_window=any_window), is_reply_lost=True)

    @rule(id_=ids, sides=sides, amount=amounts, limit=limits, hours_off=hours_off)
    def transfer(self, id_, sides, amount, limit, hours_off):
        sources, destinations = (self.targets([(*side, Unit.USD)], limit, hours_off) for side in sides)
        self.play(Transfer(self.id(id_), sources, destinations, amount, any_window=not limit), is_reply_lost=True)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat_an_older_verb(self, data):
        """A delayed or duplicated message."""
        self.deliver(data.draw(st.sampled_from(self.sent[-12:])))

    @precondition(lambda self: self.told)
    @rule(data=st.data(), spent=st.integers(-2, 2), reserved=st.integers(-2, 2))
    def somebody_changes_figures_by_hand_and_an_operator_repairs(self, data, spent, reserved):
        counter = data.draw(st.sampled_from(sorted(self.told)))
        for store in (self.memory, self.other):
            self.run(change_by_hand(store, counter, spent=spent, reserved=reserved))
        lacking = {lacks.counter: lacks.spent for lacks in self.both(audit_report).corrections}
        assert lacking == ({counter: -spent} if spent or reserved else {})
        window = window_named(counter.period, counter.window, timezone=UTC)
        target = Target(counter.account, window, unit=counter.unit)
        repair = Repair(f"repair{self.seq}", target, -spent, found_at_seq=self.seq)
        (entry,) = self.both(lambda store: store.repair(repair)).entries
        self.seq += 1
        assert entry.seq == self.seq
        # The invariants that follow see whether it is right.
        self.told[counter] = Balance(entry.spent, entry.reserved)
        self.repaired.add(counter)
        assert self.both(audit_report).drift == ()

    @rule(at_most=st.integers(1, 3))
    def sweep(self, at_most):
        self.sweep_both(at_most=at_most)

    def sweep_both(self, *, at_most: int) -> None:
        answer = self.both(lambda store: store.sweep(at_most=at_most))
        self.auditor.take_expired(answer)
        self.read_journal(answer.entries)

    # Facts, of which the first of a name stays.

    @rule(name=st.sampled_from("xyz"), text=st.sampled_from(["1", "2", "3"]))
    def keep_fact(self, name, text):
        kept = self.both(lambda store: store.keep_fact(name, text, keep_ms=FACT_MS))
        assert kept == self.kept.setdefault(name, text)

    @rule(names=st.sets(st.sampled_from("xyz")))
    def read_facts(self, names):
        found = self.both(lambda store: store.kept_facts(sorted(names)))
        assert found == {name: text for name, text in self.kept.items() if name in names}

    # What goes on around them.

    @rule(s=st.sampled_from([1, 1, 2]))
    def wait(self, s):
        self.clock.advance(s=s)

    @rule()
    def four_new_ids(self):
        self.generation += 1

    @rule(happening=st.sampled_from(["next hour", "limit", "quiet", "minutes"]), limit=limits)
    def something_rare_happens(self, happening, limit):
        if happening == "next hour":
            self.clock.move_to(self.targets([("key:a", Period.HOUR, Unit.USD)], None, 1)[0].window.ends_ms - 2000)
        elif happening == "minutes":
            # A part of a rolling hour.
            self.clock.advance(s=1_300)
        elif happening == "limit":
            set_limit = partial(set_runtime_limit, limit_nanos=limit)
            self.auditor.limits_version = self.both(set_limit)
        else:
            self.let_all_leases_end()

    def let_all_leases_end(self) -> None:
        """I7: nothing in flight and leases over implies that nothing is reserved."""
        deadlines = [fact.deadline_ms for fact in self.auditor.facts.values() if fact.state == "pending"]
        self.clock.advance(ms=max(*LEASES_MS, max(deadlines, default=0) - self.clock.now_ms))
        self.sweep_both(at_most=1000)
        assert self.both(lambda store: store.holds()) == []
        assert all(proof.balance.reserved == 0 for proof in self.both(lambda store: store.proofs()))

    # What holds after each of them.

    @invariant()
    def both_show_the_same_and_it_is_right(self):
        """Asked at once: these are most of what a run asks, and each question to a server alone waits for it."""
        shown = self.both(shown_by)
        self.figures_are_those_of_the_auditor(shown.proofs)
        self.holds_are_those_of_the_auditor(shown)

    def figures_are_those_of_the_auditor(self, proofs: Sequence[CounterProof]) -> None:
        """I1, I2 and I4; the journal leads to the counters (I9)."""
        self.only_counters_at_nothing_are_dropped({proof.counter for proof in proofs})
        for proof in proofs:
            assert proof.balance == self.auditor.balance(proof.counter) == self.told[proof.counter]
            assert proof.adjusted == self.auditor.adjusted(proof.counter)
            assert proof.balance.reserved == proof.held >= 0
            assert proof.balance.spent - proof.adjusted >= 0

    def only_counters_at_nothing_are_dropped(self, kept: set[Counter]) -> None:
        showing = {
            counter
            for counter in self.told
            if self.auditor.balance(counter) != Balance() or self.auditor.adjusted(counter)
        }
        assert showing <= kept <= set(self.told)
        assert kept - showing <= self.repaired

    def holds_are_those_of_the_auditor(self, shown: Shown) -> None:
        lasting = {
            id_
            for id_, fact in self.auditor.facts.items()
            if fact.state == "pending" and fact.deadline_ms > self.clock.now_ms
        }
        assert {reservation.id for reservation in shown.holds} == lasting
        assert shown.held_by_kind == self.auditor.held_by_kind()


def play(open_other: OpenOther, *, count: int) -> None:
    with asyncio.Runner() as runner:
        machine: Any = partial(StoresSideBySide, runner=runner, open_other=open_other)
        run_state_machine_as_test(
            machine,
            settings=settings(max_examples=examples(count), stateful_step_count=50, deadline=None),
        )


# Half a minute of work on a quiet machine.
@pytest.mark.timeout(600)
@pytest.mark.proves("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I9", "I10")
def test_memory_and_redis_agree_with_the_auditor(empty_server_url: str, namespace: str):
    play(in_a_server(empty_server_url, namespace), count=120)


@pytest.mark.timeout(600)
@pytest.mark.proves("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I9", "I10")
def test_memory_and_a_file_agree_with_the_auditor(tmp_path: Path):
    play(in_a_file(tmp_path), count=20)


@pytest.mark.timeout(600)
@pytest.mark.proves("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I9", "I10")
def test_memory_and_postgres_agree_with_the_auditor(postgres: PostgresServer, namespace: str):
    play(in_postgres(postgres.url(), namespace), count=10)
