"""The end of a job: its ticket is booked exactly once, at what was seen of it or at its deadline, and never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_middleware.core.statuses import Op, Status
from tests.simulation.plan import PlannedJob
from tests.simulation.premises import account_of
from tests.simulation.verdict import ENDED, Losses, facts_of, is_journalled, number_of, was_always_awake
from tests.simulation.witness import require

if TYPE_CHECKING:
    from tests.simulation.jobs import JobRecord
    from tests.simulation.world import World
    from tests.stores.expected_state import Fact

_BOOKED = frozenset({Status.FINALIZED, Status.FINALIZED_LATE})


def judge_jobs(world: World, losses: Losses) -> None:
    """Raises Violation; adds what was lost."""
    for job in world.plan.jobs:
        _judge_job(world, job, world.jobs.records[job.number], losses)


def _judge_job(world: World, job: PlannedJob, record: JobRecord, losses: Losses) -> None:
    name = _name(job)
    require(not record.broken, f"{name}: {record.broken}")
    _judge_text(world, name, record)
    known = facts_of(world.witness.truth, job.number)
    require(len(known) <= 1, f"{name} has {len(known)} reservations")
    fact = known[0] if known else None
    _judge_expiry(world, name, job, record)
    if fact is not None and fact.state in ENDED:
        _judge_ended(job, record, fact)
        return
    if fact is not None:
        require(fact.state == "expired", f"{name} is still {fact.state}")
        due, world.jobs.met["expired"] = job.charge_nanos, world.jobs.met["expired"] + 1
        require(fact.booked.usd == due, f"{name} expired with {fact.booked}, due at its deadline is {due}")
    _judge_missing(world, job, record, fact, losses)


def _judge_ended(job: PlannedJob, record: JobRecord, fact: Fact) -> None:
    name = _name(job)
    if fact.state == "released":
        require(not record.is_answered and not fact.booked.usd, f"{name} is released with {fact.booked}")
        return
    due = set(record.endings.values())
    require(fact.booked.usd in due, f"{name} is booked with {fact.booked}, due is one of {due}")
    accounts = {counter.account for counter in fact.counters}
    require(accounts == {account_of(job.key), "global"}, f"{name} is booked on {accounts}")


def _judge_expiry(world: World, name: str, job: PlannedJob, record: JobRecord) -> None:
    """A ticket lasts until its deadline, however late a renewal by its owner arrives."""
    if world.lost:
        return
    truth = world.witness.truth
    ids = world.witness.ids_of(job.number)
    expired_ms = [entry.time_ms for entry in truth.journal if entry.op is Op.EXPIRE and entry.reservation_id in ids]
    early_ms = record.lasts_until_ms - min(expired_ms, default=record.lasts_until_ms)
    require(early_ms <= 0, f"{name} expired {early_ms} ms before its deadline")


def _judge_missing(world: World, job: PlannedJob, record: JobRecord, fact: Fact | None, losses: Losses) -> None:
    """Nothing has ended it: so nobody tried who lived, or the store has lost that."""
    name = _name(job)
    lost = [each for truth in world.lost for each in facts_of(truth, job.number)]
    if fact is None and record.is_answered:
        require(bool(lost), f"{name} was reserved, and nobody knows of it")
        losses.tickets += 1
    is_spooled = any(number_of(id_) == job.number for id_ in world.disk.spooled)
    owing = record.endings.keys() - (set() if is_spooled else world.ended)
    if not owing:
        return
    require(any(each.state in ENDED for each in lost), f"{name} was seen and never booked; {fact}")
    can_know = is_journalled(world, job.number) and any(
        record.answers.get(number) in _BOOKED and was_always_awake(world, number) for number in owing
    )
    require(not can_know, f"{name} was booked, the store lost it, and it was not booked again")


def _name(job: PlannedJob) -> str:
    return f"job #{job.number}"


def _judge_text(world: World, name: str, record: JobRecord) -> None:
    """Each change that was acknowledged is in the text, whoever else changed it at once."""
    if world.lost:
        return
    words = " ".join(world.witness.truth.kept.shelves.values()).split()
    for number in record.noted:
        require(words.count(str(number)) == 1, f"{name}: change #{number} stands {words.count(str(number))} times")
