"""The end of a simulation: for each request exactly what is documented, less what the store itself has lost."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from budget_middleware.core.statuses import Op
from tests.simulation.hosts import answered
from tests.simulation.plan import Fault
from tests.simulation.simulated_gateway import ESTIMATE_NANOS, ESTIMATED_INPUT_NANOS, charge_due
from tests.simulation.witness import Truth, require
from tests.stores.expected_state import Fact

if TYPE_CHECKING:
    from budget_middleware.core.answers import Entry
    from tests.simulation.network import Message
    from tests.simulation.plan import Request
    from tests.simulation.world import World

ENDED = ("finalized", "released")


@dataclass
class Losses:
    """What is missing and may be: requests whose cost no counter shows.

    ``by_store``: the store acknowledged the ending and lost it, and the worker that would have sent it again was
    gone, or slept through what it could know it by. ``by_worker``: its process was killed before an ending arrived,
    or came to its orderly end while the store gave no answer. ``adjusts``: operators', by the store.
    ``tickets`` are those that it lost with all that it knew of them: nobody finds them any more.
    ``untold`` are journal entries without a span, written by processes that ended soon after, or by a repeated call.
    ``refused_twice`` is nothing missing but too much, for a lease: the network repeated a reserve that had been
    refused, and the store, which remembers no refusal, then held it for nobody.
    """

    by_store: int = 0
    by_worker: int = 0
    adjusts: int = 0
    tickets: int = 0
    refused_twice: int = 0
    untold: int = 0

    def __add__(self, other: Losses) -> Losses:
        return Losses(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def judge(world: World) -> Losses:
    """Raises Violation; returns what was lost."""
    truth, store = world.witness.truth, world.host.store
    world.witness.check_proofs(answered(store.proofs()))
    require(list(answered(store.journal(after_seq=0, count=10**6))) == truth.journal, "I9: the journal is another one")
    held = {counter: balance for counter, balance in truth.balances.items() if balance.reserved}
    require(not held, f"I7: all is over, and still held is {held}")
    losses = Losses(untold=_judge_spans(world))
    for request in world.plan.requests:
        _judge_request(world, request, losses)
    for number, answer in world.happenings.adjusts.items():
        applied = sum(number_of(id_) == number for id_ in truth.auditor.adjusts)
        require(applied <= 1, f"an adjust was applied {applied} times")
        is_lost = any(number_of(id_) == number for lost in world.lost for id_ in lost.auditor.adjusts)
        is_acknowledged = answer in ("adjusted", "transferred")
        require(not is_acknowledged or applied == 1 or is_lost, "an adjust was acknowledged and not applied")
        losses.adjusts += is_acknowledged and applied == 0
    return losses


def _judge_spans(world: World) -> int:
    """I9: one span tells an entry. A process that ended before all answers came may have left some untold."""
    if world.lost:
        # Seqs came twice, and so may their spans.
        return 0
    living = {life.process for life in world.lives if not life.process.is_killed}
    untold = 0
    for entry in world.witness.truth.journal:
        key = (entry.seq, entry.reservation_id)
        times, writer = world.told.times[world.shard, *key], world.network.writers.get(key)
        require(times <= 1, f"I9: {entry} is told by {times} spans")
        is_owed = writer is not None and writer.sender in living and not _was_repeated(world, writer, entry)
        require(times == 1 or not is_owed, f"I9: no span tells of {entry}, written by {writer}")
        untold += times == 0
    return untold


def _was_repeated(world: World, writer: Message, entry: Entry) -> bool:
    """What the network's repetition of a call did, after the call was answered, nobody tells."""
    if number_of(entry.reservation_id) == writer.about:
        was_expired_by_it = entry.op is Op.EXPIRE and writer.fault.fault is Fault.DUPLICATED
        return was_expired_by_it or writer.about in world.network.repeated_refusals
    return writer.fault.fault in (Fault.DUPLICATED, Fault.DELAYED)


def _judge_request(world: World, request: Request, losses: Losses) -> None:
    number, name = request.number, f"request #{request.number}"
    due = charge_due(world.served[number], on_abort=world.plan.on_abort)
    known = facts_of(world.witness.truth, number)
    require(len(known) <= 1, f"{name} has {len(known)} reservations")
    fact = known[0] if known else None
    if fact is not None and fact.state in ENDED:
        require(fact.booked.usd == due, f"{name} is {fact.state} with {fact.booked}, due is {due}")
        require(fact.state == "finalized" or due == 0, f"{name} is released, due is {due}")
        _judge_accounts(world, request, fact)
        return
    if fact is not None:
        _judge_expired(world, name, fact, number)
    if fact is None and due == 0:
        return
    is_spooled = any(number_of(id_) == number for id_ in world.disk.spooled)
    if number in world.ended and not is_spooled:
        losses.by_worker += due > 0
        return
    if fact is not None and number in world.network.repeated_refusals:
        losses.refused_twice += 1
        return
    ended = [lost_fact for lost in world.lost for lost_fact in facts_of(lost, number) if lost_fact.state in ENDED]
    require(bool(ended), f"{name} was never ended, due is {due}; {fact}")
    # What changed no counter leaves no entry in the journal by which its loss could be known: a request that held
    # nothing and cost nothing, or a late ending that costs what the expiry has booked.
    can_know = is_journalled(world, number) and was_always_awake(world, number)
    require(not can_know, f"{name} was ended, the store lost it, and it was not ended again; due is {due}")
    losses.by_store += due > 0


def is_journalled(world: World, number: int) -> bool:
    """Whether the journal told of the ending that the store has lost."""
    return any(
        entry.op in (Op.FINALIZE, Op.RELEASE) and number_of(entry.reservation_id) == number
        for lost in world.lost
        for entry in lost.journal
    )


def was_always_awake(world: World, number: int) -> bool:
    """Whether the process of a request lived to the end, and was never paused."""
    owners = [life.process for life in world.lives if number in life.requests]
    return any(not process.is_killed and process not in world.happenings.paused for process in owners)


def _judge_expired(world: World, name: str, fact: Fact, number: int) -> None:
    charges = {"release": 0, "input": ESTIMATED_INPUT_NANOS, "estimate": ESTIMATE_NANOS}
    by_hand = any(number_of(id_) == number for id_ in world.witness.truth.operator_releases)
    charge = 0 if by_hand else charges[world.plan.on_expire]
    require(fact.state == "expired", f"{name} is still {fact.state}")
    require(fact.booked.usd == charge, f"{name} expired with {fact.booked}, its expiry charge is {charge}")


def _judge_accounts(world: World, request: Request, fact: Fact) -> None:
    if fact.state == "finalized":
        accounts = {counter.account for counter in fact.counters}
        expected = world.accounts_of(request)
        require(accounts == expected, f"request #{request.number} is booked on {accounts}, not {expected}")


def facts_of(truth: Truth, number: int) -> list[Fact]:
    return [fact for id_, fact in truth.facts.items() if number_of(id_) == number]


def number_of(id_: str) -> int:
    return int(id_[:8], 16)
