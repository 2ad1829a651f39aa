"""Jobs: who creates a ticket, who looks at it later at any worker, and what they were told of it."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Job, Ledger
from budget_middleware.ledger.jobs.closed import UNKNOWN_S
from budget_middleware.ledger.jobs.tickets import NO_ANSWER
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from tests.simulation.client import token_of
from tests.simulation.plan import Look, PlannedJob
from tests.simulation.simulated_gateway import ESTIMATE_NANOS

if TYPE_CHECKING:
    from tests.simulation.loop import Process
    from tests.simulation.world import Life, World

JOB_ESTIMATE_NANOS = ESTIMATE_NANOS // 2
DAY_MS = 86_400_000


@dataclass
class JobRecord:
    """What one job's actors did and were told.

    ``endings`` are the amounts that actors have begun to book, by their numbers; ``answers`` the store's. ``noted`` are
    the looks whose change of the text beside the ticket was acknowledged. ``kept_s`` is when the ticket was kept for
    sure, and ``losses_then`` what the store had lost by then; by the store's clock it lasts until ``lasts_until_ms``.
    ``broken`` tells of promises that were not kept.
    """

    is_answered: bool = False
    kept_s: float | None = None
    losses_then: int = 0
    lasts_until_ms: int = 0
    endings: dict[int, int] = field(default_factory=dict)
    answers: dict[int, Status] = field(default_factory=dict)
    noted: list[int] = field(default_factory=list)
    unknown_since_s: dict[Process, float] = field(default_factory=dict)
    broken: str = ""


class Jobs:
    """Plays the jobs of a plan at the ledgers of its workers. ``met`` counts what came of them."""

    def __init__(self, world: World) -> None:
        self.met: Tally[str] = Tally()
        self.records = {job.number: JobRecord() for job in world.plan.jobs}
        self._world = world
        self._of_looks = {look.number: job.number for job in world.plan.jobs for look in job.looks}

    def begin(self) -> None:
        for job in self._world.plan.jobs:
            self._world.later(job.at_ms, self._begin_creation, job)
            for look in job.looks:
                self._world.later(look.at_ms, self._begin_look, job, look)

    def subject(self, number: int) -> int:
        """The number of the job that an actor asks for; a request's is its own."""
        return self._of_looks.get(number, number)

    def _begin_creation(self, job: PlannedJob) -> None:
        life = self._world.lives[job.worker]
        if life.is_open:
            self._world.tell(f"{life.process.name}: creates job #{job.number} of key {job.key}")
            work = self._create(job, life.guard.ledger)
            life.requests[job.number] = life.process.begin(work, number=job.number)

    def _begin_look(self, job: PlannedJob, look: Look) -> None:
        life = self._world.lives[look.worker]
        # Before its answer nobody knows its id.
        if life.is_open and self.records[job.number].is_answered:
            self._world.tell(f"{life.process.name}: look #{look.number} at job #{job.number}")
            task = life.process.begin(self._look(job, look, life), number=look.number)
            life.requests[look.number] = task
            if look.cut_ms:
                self._world.later(look.cut_ms, task.cancel)

    async def _create(self, job: PlannedJob, ledger: Ledger) -> None:
        hold = Hold(
            {"key": key_id(token_of(job.key))},
            Amounts(usd=JOB_ESTIMATE_NANOS),
            expiry_charge=Amounts(usd=job.charge_nanos),
        )
        try:
            if not (await ledger.reserve(hold)).admits:
                return
        except (StoreUnavailable, StoreRefused):
            ledger.abandon(hold, reason="simulated")
            return
        record, world = self.records[job.number], self._world
        try:
            # A stream names its job long before its end, with which the ticket is kept.
            record.is_answered = True
            await asyncio.sleep(job.works_ms / 1000)
            skew_ms, until_ms = world.store_skew_ms, world.store_time_ms() + job.deadline_s * 1000
            # The store may lose what it has just kept, before its answer arrives.
            losses_before = len(world.lost)
            is_kept = await ledger.tickets.keep(hold, _named(job), deadline_s=job.deadline_s)
        except asyncio.CancelledError:
            self._book_estimate(job, ledger, hold)
            raise
        if is_kept:
            self.met["kept"] += 1
            record.kept_s, record.losses_then = self._now_s(), losses_before
            # Where the store's clock was set meanwhile, nobody here knows by how much the lease is longer.
            record.lasts_until_ms = until_ms if world.store_skew_ms == skew_ms else 0
        else:
            self._book_estimate(job, ledger, hold)

    def _book_estimate(self, job: PlannedJob, ledger: Ledger, hold: Hold) -> None:
        """As whoever cannot keep a ticket does."""
        self.records[job.number].endings[job.number] = JOB_ESTIMATE_NANOS
        ledger.finalize(hold, actual=Amounts(usd=JOB_ESTIMATE_NANOS))

    async def _look(self, job: PlannedJob, look: Look, life: Life) -> None:
        record, ledger, began_s = self.records[job.number], life.guard.ledger, self._now_s()
        try:
            found = await ledger.tickets.look_up(_named(job), is_over=True)
        except NO_ANSWER:
            return
        if found is None:
            self._check_unfound(job, life.process, began_s)
            return
        self.met["found"] += 1
        ledger.answering.add("job", f"job-{look.number}", rank=1)
        record.endings[look.number] = job.cost_nanos
        booking = ledger.tickets.book(found, Amounts(usd=job.cost_nanos), reason="usage")
        try:
            await ledger.job_texts.change(
                _named(job), lambda before: f"{before or ''} {look.number}".lstrip(), keep_ms=DAY_MS
            )
            record.noted.append(look.number)
        except NO_ANSWER:
            self._world.tell(f"look #{look.number}: no text")
        answer = await booking
        if answer is not None:
            record.answers[look.number] = answer.status
            self.met[answer.status] += 1

    def _check_unfound(self, job: PlannedJob, process: Process, began_s: float) -> None:
        """A ticket that was kept is found until it is ended; a worker may remember for two seconds that none was."""
        record, world = self.records[job.number], self._world
        unknown_until_s = record.unknown_since_s.get(process, -UNKNOWN_S) + UNKNOWN_S
        is_known = record.kept_s is not None and record.kept_s <= began_s and record.losses_then == len(world.lost)
        if world.witness.is_ended(job.number) or not is_known:
            if self._now_s() >= unknown_until_s:
                record.unknown_since_s[process] = self._now_s()
        elif began_s >= unknown_until_s:
            record.broken = f"{process.name} was told that there is no ticket"

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


def _named(job: PlannedJob) -> Job:
    return Job("simulated", f"job-{job.number}")
