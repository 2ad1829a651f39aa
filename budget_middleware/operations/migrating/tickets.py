"""Moves the tickets of jobs, which nobody can wait for: they may be pending for days.

Theory of operation. Once nothing but tickets is pending at the source, each is handed over: a new reservation at the
destination holds the same until the same deadline, with the same charge at it, and the job leads to that one there;
then the one at the source is released. Whoever asks for the job at a gateway of the destination books it there.

    reserve at the destination ──> its facts ──> release at the source
         │ cut off here: the next run does all of it again, each step of which is the same then
         └ a gateway of the source was faster, and has booked the job there: the new one ends at nothing

Only tickets whose windows are current can be handed over, for nothing can be booked in one that is past: the others are
waited for.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Final

from budget_middleware.core.model import Reservation, Target
from budget_middleware.core.statuses import State, Status
from budget_middleware.core.units import NOTHING
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.ledger import Job
from budget_middleware.ledger.jobs.tickets import KEPT_LONGER_MS, JobTicket, ticket_fact, tickets_of
from budget_middleware.operations.migrating.endings import ENDED_AT_SOURCE
from budget_middleware.operations.migrating.placing import Placing, placeable
from budget_middleware.operations.migrating.renaming import Renaming
from budget_middleware.operations.migrating.sides import Side

MOVED: Final = "migrated: its job goes on at the new store"
_FROM: Final = "moved_from"
# One that is due meanwhile expires at the destination.
_LEAST_LEASE_MS: Final = 1_000


class TicketMove:
    """Hands tickets over from the source to the destination."""

    def __init__(self, source: Side, destination: Side, renaming: Renaming) -> None:
        self._source = source
        self._destination = destination
        self._renaming = renaming
        self._placing = Placing(destination)
        # What the destination would not take, and is waited for.
        self._stuck: set[str] = set()

    async def without_tickets(self, holds: Sequence[Reservation]) -> list[Reservation]:
        """What is pending besides the tickets that can be handed over."""
        tickets = await self._movable(holds)
        return [hold for hold in holds if hold.id not in tickets]

    async def hand_over(self, holds: Sequence[Reservation]) -> int:
        """Hand over what can be, among what is pending at the source; how many tickets that were."""
        tickets, head = await self._movable(holds), await self._source.ask(self._source.store.head)
        pending = [hold for hold in holds if hold.id in tickets]
        await asyncio.gather(*[self._hand_over(hold, tickets[hold.id], now_ms=head.now_ms) for hold in pending])
        return len([hold for hold in pending if hold.id not in self._stuck])

    async def end_strays(self) -> None:
        """Those of an earlier run, that was cut off, whose job was booked at the source after all."""
        store = self._destination.store
        holds = await self._destination.ask(store.holds)
        tickets = await self._destination.ask(partial(tickets_of, store, [hold.id for hold in holds]))
        for hold in holds:
            original = tickets[hold.id].details.get(_FROM) if hold.id in tickets else None
            known = await self._source.ask(partial(self._source.store.reservation, str(original))) if original else None
            if known is not None and known.state in (State.FINALIZED, State.EXPIRED):
                await self._end_at_nothing(hold.id, hold)

    async def _movable(self, holds: Sequence[Reservation]) -> dict[str, JobTicket]:
        store = self._source.store
        known = await self._source.ask(partial(tickets_of, store, [hold.id for hold in holds])) if holds else {}
        if not known:
            return {}
        await self._placing.look()
        by_id = {hold.id: hold for hold in holds if hold.id in known and hold.id not in self._stuck}
        return {
            id_: known[id_]
            for id_, hold in by_id.items()
            if len(self._targets_of(hold, self._placing.now_ms)) == len(hold.targets)
        }

    def _targets_of(self, hold: Reservation, now_ms: int) -> tuple[Target, ...]:
        return placeable(hold, self._renaming, timezone=self._destination.settings.timezone, now_ms=now_ms)

    async def _hand_over(self, hold: Reservation, ticket: JobTicket, *, now_ms: int) -> None:
        id_, lease_ms = _moved_id(hold.id), max(hold.deadline_ms - now_ms, _LEAST_LEASE_MS)
        answer = await self._placing.reserve(
            id_, partial(self._targets_of, hold), hold.held, lease_ms=lease_ms, expiry_charge=hold.expiry_charge
        )
        is_held = answer is not None and (
            answer.status is Status.RESERVED or (answer.recorded is not None and answer.recorded.asked is not None)
        )
        if not is_held:
            self._stuck.add(hold.id)
            return
        await self._keep_facts(id_, hold.id, ticket, keep_ms=lease_ms + KEPT_LONGER_MS)
        released = await self._source.send(Release(hold.id, reason=MOVED))
        if released.status not in (Status.RELEASED, Status.ALREADY_RELEASED):
            await self._end_at_nothing(id_, hold)

    async def _keep_facts(self, id_: str, original: str, ticket: JobTicket, *, keep_ms: int) -> None:
        text = JobTicket(id_, ticket.api, ticket.job, {**ticket.details, _FROM: original}).packed()
        tickets = self._destination.ledger.tickets
        for name in (Job(ticket.api, ticket.job).fact_name, ticket_fact(id_)):
            await self._destination.ask(partial(tickets.keep_fact, name, text, keep_ms=keep_ms))

    async def _end_at_nothing(self, id_: str, hold: Reservation) -> None:
        """What its job has cost is booked at the source, and comes with the counters."""
        targets = self._targets_of(hold, self._placing.now_ms) or hold.targets
        await self._destination.send(Finalize(id_, targets, NOTHING, reason=ENDED_AT_SOURCE, wants_entries=False))


def _moved_id(original: str) -> str:
    return sha256(f"ticket {original}".encode()).hexdigest()[:32]
