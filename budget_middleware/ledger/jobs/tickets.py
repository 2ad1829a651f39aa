"""Tickets: reservations without an owner, for work that goes on long after the request that began it.

Theory of operation. A job (a batch, a response in the background, a session that goes around the gateway) is created by
one request, and another one shows what it has used: hours later, at any worker. Its reservation becomes a *ticket*. No
heartbeat renews its lease, which ends at the job's deadline, and a fact in the store leads from the job's id to it.

    the POST creates a job ───────> keep   fact: job -> reservation; its lease is the deadline from now on
    an answer shows its usage ────> find, book   finalize: once, since a reservation ends once
    nobody asks, or it vanishes ──> the deadline   the lease is over: the charge that its reserve named is booked

The fact is kept before the lease grows: a worker that dies in between leaves a reservation that expires with its first
lease, and whose usage is still booked, late. Of several tickets for one job the first counts; who comes later is told
so, and books like any other request. Names of facts are hashes, so that a job may have a secret for its id.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from budget_middleware.core.answers import Entry
from budget_middleware.core.model import Reservation
from budget_middleware.core.statuses import Op, State
from budget_middleware.core.units import NOTHING, Amounts
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.ledger.endings.endings import Endings
from budget_middleware.ledger.endings.owed import AnswerFuture
from budget_middleware.ledger.expiries import Expiries
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.ledger.holds.leases import LeaseKeeper
from budget_middleware.ledger.jobs.closed import ClosedJobs
from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import NO_ANSWER

VERSION = 1
KEPT_LONGER_MS = 86_400_000
"""How long after its deadline a ticket is found: its reservation is known so long, and a usage is booked late."""

_OPEN = frozenset({State.PENDING, State.EXPIRED})


class Job(NamedTuple):
    """A job as its API names it. ``shown`` is what operators see of it, where its id is a secret."""

    api: str
    id: str
    shown: str = ""

    @property
    def fact_name(self) -> str:
        return fact_name("job", self.api, self.id)

    @property
    def shown_id(self) -> str:
        return self.shown or self.id


class JobTicket(NamedTuple):
    """What the store keeps of a ticket: its reservation, its job, and what whoever kept it wants to know again."""

    reservation_id: str
    api: str
    job: str
    details: Mapping[str, object]

    def packed(self) -> str:
        return json.dumps(
            {"v": VERSION, "id": self.reservation_id, "api": self.api, "job": self.job, "details": self.details},
            separators=(",", ":"),
        )


class OpenTicket(NamedTuple):
    """A ticket that has not been booked yet."""

    ticket: JobTicket
    reservation: Reservation


class Tickets:
    """Makes tickets of holds, finds them again, and books them."""

    def __init__(
        self,
        store: Store,
        *,
        leases: LeaseKeeper,
        expiries: Expiries,
        endings: Endings,
        timeout: SharedTimeout,
        tasks: OwnedTasks,
    ) -> None:
        self._store = store
        self._leases = leases
        self._expiries = expiries
        self._endings = endings
        self._timeout = timeout
        self._tasks = tasks
        self.closed = ClosedJobs()
        # By API, who corrects what a ticket has booked at its deadline.
        self.at_deadline: dict[str, Callable[[OpenTicket], Awaitable[None]]] = {}

    async def keep(
        self, hold: Hold, job: Job, *, deadline_s: float, details: Mapping[str, object] | None = None
    ) -> bool:
        """Make the hold the ticket of a job: nobody owns it any more.

        False if the store gave no answer, does not have the reservation, or has a ticket of this job already: then the
        caller owes the hold an ending, as ever.
        """
        self._leases.drop(hold)
        lease_ms = round(deadline_s * 1000)
        ticket = JobTicket(hold.id, job.api, job.shown_id, details or {})
        self.closed.forget(job.fact_name)
        try:
            if not await self.keep_fact(job.fact_name, ticket.packed(), keep_ms=lease_ms + KEPT_LONGER_MS):
                return False
            with suppress(*NO_ANSWER):  # Only operators look at it.
                await self.keep_fact(ticket_fact(hold.id), ticket.packed(), keep_ms=lease_ms + KEPT_LONGER_MS)
            return await self._expiries.extend_to(hold, lease_ms)
        except NO_ANSWER:
            return False

    async def keep_fact(self, name: str, text: str, *, keep_ms: int) -> bool:
        """Keep a text under a name; False where another one stands there. Raises as the store does, or TimeoutError."""
        with self._timeout.timeout():
            return await self._store.keep_fact(name, text, keep_ms=keep_ms) == text

    async def fact(self, name: str) -> str | None:
        """The text that is kept under a name; None if there is none, or if the store does not answer in time."""
        with suppress(*NO_ANSWER):
            return (await self.look_up_facts([name])).get(name)
        return None

    async def look_up_facts(self, names: Sequence[str]) -> Mapping[str, str]:
        """The texts that are kept under those names that have one. Raises as the store does, or TimeoutError."""
        with self._timeout.timeout():
            return await self._store.kept_facts(names)

    async def details_of(self, job: Job) -> Mapping[str, object] | None:
        """What was kept with the ticket of a job, booked or not; None if there is none, or no answer in time."""
        text = await self.fact(job.fact_name)
        ticket = unpack_ticket(text) if text is not None else None
        return ticket.details if ticket is not None else None

    async def find(self, *jobs: Job, is_over: bool = False) -> OpenTicket | None:
        """The ticket of the first of these jobs that has one; None if there is none, if it is booked, or if the store
        does not answer in time.

        ``is_over``: whoever asked for the job has got its end; see `ClosedJobs`.
        """
        with suppress(*NO_ANSWER):
            return await self.look_up(*jobs, is_over=is_over)
        return None

    async def look_up(self, *jobs: Job, is_over: bool = False) -> OpenTicket | None:
        """As `find`, but raises as the store does, or TimeoutError."""
        names = [job.fact_name for job in jobs if not self.closed.has(job.fact_name)]
        if not names:
            return None
        texts = await self.look_up_facts(names)
        if is_over:
            for unknown in [name for name in names if name not in texts]:
                self.closed.add_unknown(unknown)
        name = next((name for name in names if name in texts), None)
        ticket = unpack_ticket(texts[name]) if name is not None else None
        if name is None or ticket is None:
            return None
        with self._timeout.timeout():
            reservation = await self._store.reservation(ticket.reservation_id)
        if reservation is None or reservation.state in _OPEN:
            return OpenTicket(ticket, reservation) if reservation is not None else None
        self.closed.add_ended(name)
        return None

    def book(self, found: OpenTicket, actual: Amounts, *, reason: str, bill: str = "") -> AnswerFuture:
        """Book what the job has cost on the counters of whoever created it, however often this is asked for.

        It begins at once, in a task of the ledger's own.
        """
        hold = _hold_of(found)
        why = f"{reason}, job {found.ticket.job}"
        # By its entries this worker hears of alerts, though it knows none of the job's limits.
        verb = Finalize(hold.id, hold.targets, hold.counted(actual), reason=why, wants_entries=True, bill=bill)
        return self._endings.begin(hold, verb)

    def note_expired(self, entries: Sequence[Entry]) -> None:
        """Look whether what a call of the store has expired in passing are tickets whose charge is to be corrected."""
        ids = {entry.reservation_id for entry in entries if entry.op is Op.EXPIRE} if self.at_deadline else None
        if ids:
            self._tasks.spawn(self._correct(sorted(ids)))

    async def _correct(self, ids: Sequence[str]) -> None:
        with suppress(*NO_ANSWER):
            with self._timeout.timeout():
                tickets = await tickets_of(self._store, ids)
            for ticket in tickets.values():
                correct = self.at_deadline.get(ticket.api)
                found = await self.look_up(Job(ticket.api, ticket.job)) if correct is not None else None
                if correct is not None and found is not None and found.reservation.state is State.EXPIRED:
                    await correct(found)

    def release(self, found: OpenTicket, *, reason: str) -> AnswerFuture:
        """Give back what is held for a job that has used nothing."""
        hold = _hold_of(found)
        return self._endings.begin(
            hold, Release(hold.id, reason=f"{reason}, job {found.ticket.job}", wants_entries=False)
        )


def _hold_of(found: OpenTicket) -> Hold:
    known = found.reservation
    return Hold(payers={}, asked=NOTHING, id=known.id, targets=known.targets, reserve_trace=known.trace)


async def tickets_of(store: Store, reservation_ids: Sequence[str]) -> Mapping[str, JobTicket]:
    """The tickets among reservations, by their ids; raises as the store does."""
    names = {ticket_fact(id_): id_ for id_ in reservation_ids}
    found = {names[name]: unpack_ticket(text) for name, text in (await store.kept_facts(list(names))).items()}
    return {id_: ticket for id_, ticket in found.items() if ticket is not None}


def fact_name(kind: str, *words: str) -> str:
    """The name of a fact about something that others name: one word, of which nothing is read back."""
    text = "\n".join((kind, *words))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def unpack_ticket(text: str) -> JobTicket | None:
    """None for what is no ticket, or one of a newer version."""
    try:
        fields = json.loads(text)
        ticket = JobTicket(fields["id"], fields["api"], fields["job"], fields["details"])
        return ticket if fields["v"] == VERSION else None
    except (ValueError, KeyError, TypeError):
        return None


def ticket_fact(reservation_id: str) -> str:
    """The name of the fact by which operators find the job of a reservation."""
    return fact_name("ticket", reservation_id)
