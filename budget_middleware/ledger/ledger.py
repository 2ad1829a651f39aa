"""The ledger of one process: the verbs as requests and operators ask for them.

A ledger never decides what a counter becomes: that is the store's atomic step. It makes sure that the step is
asked for with fresh windows and limits, as often as it takes, and that nobody's cancellation stops it.

    request ──> Ledger ─┬─ reserving ─┐
                        ├─ endings ───┼─ verb_call ──> store
    operator ──────────>├─ adjusting ─┤      └ monitor, deferred_spans, breaker
    heartbeat ─ leases ─┴─ expiries ──┘
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from budget_middleware.core.answers import Answer
from budget_middleware.core.limits.limits import Claim
from budget_middleware.core.model import Rejection, Reservation, Target
from budget_middleware.core.payers.payers import Payers
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.ledger.adjusting import adjust, transfer
from budget_middleware.ledger.endings.owed import AnswerFuture, Ending
from budget_middleware.ledger.holds.hold import Hold
from budget_middleware.ledger.parts import LedgerParts
from budget_middleware.ledger.reservation import ReservationHandle, hold_for, reserved
from budget_middleware.ledger.waiting.waiting import Caller
from budget_middleware.stores.errors import NO_ANSWER, StoreUnavailable
from budget_middleware.stores.notes import Topic
from budget_middleware.telemetry import LazyAttributes


class Ledger(LedgerParts):
    """A ledger over a store; safe to share between requests and event loops.

    ``store_timeout_s`` bounds what a request waits for one verb, retries included. Endings go on being tried
    after that, in tasks of the ledger's own, until the store has answered or the ledger is drained.
    """

    async def claims(self, payers: Payers, *, model: str) -> tuple[Claim, ...]:
        """The counters that a request would claim, by the limits known here."""
        return await self._layers.claims(payers, model=model)

    async def claims_of(self, account: str, *, at_version: int) -> tuple[Claim, ...]:
        """The counters of one account, by limits that are at least of a version that the store has told."""
        return await self._layers.claims_of(account, at_version=at_version)

    @property
    def generation(self) -> str:
        """Which store this is, by its last reply; another one after it was emptied. Empty before the first reply."""
        return str(self._monitor.seen.generation)

    async def look_up(self, reservation_id: str) -> Reservation | None:
        """What the store knows of a reservation; None if that is nothing, or if it does not answer in time."""
        try:
            async with asyncio.timeout(self._timeout.timeout_s):
                return await self.store.reservation(reservation_id)
        except NO_ANSWER:
            return None

    def add_note(self, topic: Topic, text: str) -> bool:
        """Leave a note for operators; whether this process had not left it before."""
        return self._operator_notes.add(topic, text)

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it in a task that no request's cancellation reaches, and that a shutdown waits for."""
        self._tasks.spawn(work)

    async def check_store(self) -> None:
        """Try whether the store can do all that is needed. Raises StoreUnavailable, or WrongServer with the fix."""
        try:
            with self._timeout.timeout():
                await self.store.check()
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {self._timeout.timeout_s:g} s") from error

    # Reserve.

    def reserve(self, hold: Hold, *, caller: Caller | None = None) -> Coroutine[Any, Any, Answer]:
        """Reserve; the hold is this caller's until finalize or release, and its lease is kept meanwhile.

        Raises StoreUnavailable or StoreRefused when the store was silent for its time-out, or cannot do it, and
        StoreUndecided where it is there all the same. Then, and only then, the caller must say what becomes of the
        hold: ``abandon`` it, or serve the request and end it as if it were reserved.

        A ``caller`` waits for what is only held, as long as its terms say, before it is refused: see `waiting`.
        CallerLeftError if it leaves meanwhile; one that has left when it is admitted is the caller's to end, as ever.
        """
        return self._reserving.reserve(hold, caller=caller)

    @property
    def n_waiting(self) -> int:
        """How many requests of this process wait for budget that others hold."""
        return self._waiting.n_waiting

    def reserve_locally(self, hold: Hold) -> Rejection | None:
        """After a reserve that got no answer: hold by this worker's own figures, or return the counter that refuses.

        A hold that is not refused is to be ended as any other; it is booked once the store answers.
        """
        return self._local.reserve(hold)

    def grow(self, hold: Hold) -> None:
        """Have as much held as the answer has come to, in a task of the ledger's own; nobody waits for it."""
        self._growing.begin(hold)

    async def grow_and_look(self, hold: Hold) -> Target | None:
        """The same, and wait for the store: the first limit that is passed now; None if none is, or if it is away."""
        return await self._growing.grow_and_look(hold)

    async def grow_to(self, hold: Hold, nanos: int, *, reason: str) -> bool:
        """Hold at least so much from now on; False if the store gave no answer, or has ended the hold."""
        return await self._growing.grow_to(hold, nanos, reason=reason)

    # Endings. See `endings` for the two doors.

    def finalize(self, hold: Hold, *, actual: Amounts, reason: str = "", bill: str = "") -> AnswerFuture:
        """Book the actual cost, whatever became of the reservation. The packed bill goes into the journal with it.

        It begins at once, in a task of the ledger's own; to wait for it, await what this returns.
        """
        verb = Finalize(hold.id, hold.targets, hold.counted(actual), reason=reason, wants_entries=False, bill=bill)
        return self._endings.begin(hold, verb)

    def release(self, hold: Hold, *, reason: str = "") -> AnswerFuture:
        """Give the hold back and book nothing; otherwise as `finalize`."""
        return self._endings.begin(hold, Release(hold.id, reason=reason, wants_entries=False))

    def begin_ending(self, hold: Hold, verb: Ending, *, attributes: LazyAttributes) -> AnswerFuture:
        """`finalize` or `release`, by a verb that wants no entries: the ledger asks for them if a span is recorded."""
        return self._endings.begin(hold, verb, attributes)

    def end(self, hold: Hold, verb: Ending, *, attributes: LazyAttributes = dict) -> Coroutine[Any, Any, Answer | None]:
        """As `begin_ending`, in the caller's task while all goes well; None if that takes too long.

        To be awaited at once. Where the caller is cancelled it goes on in a task of the ledger's own.
        """
        return self._endings.end(hold, verb, attributes)

    def abandon(self, hold: Hold, *, reason: str) -> None:
        """Make sure that a reserve of unknown fate holds nothing, now or when it arrives late."""
        self.release(hold, reason=reason)

    def forget(self, hold: Hold) -> None:
        """End a hold that the store was never asked for: nobody need hear of it."""
        self._leases.drop(hold)

    @asynccontextmanager
    async def reservation(
        self,
        accounts: Mapping[str, str | Sequence[str]],
        *,
        estimate_usd: str | int | Decimal,
        estimate_tokens: int = 0,
        model: str = "",
    ) -> AsyncGenerator[ReservationHandle, None]:
        """Reserve, run the block, and book what it added; for code outside HTTP.

        ``accounts`` are subjects by kind, ``{"team": "search"}``; that of a key is its 16 hex digits, tags may be
        several, ``{"tag": ["a", "b"]}``. Where the block
        adds more than is held, the next heartbeat holds twice as much; it may ask for more before: `grow`. A block that
        fails or is cancelled books what it had added until then; if that is nothing, the hold is given back. So ends a
        block that outlives a shutdown or BUDGET_MAX_HOLD_S; it can add nothing any more then. It is one request, and
        in flight while it runs; where tokens are limited it holds ``estimate_tokens`` and books those that it added.

        Raises BudgetRejected, or StoreUnavailable or StoreRefused where the store is away, before the block is run;
        ValueError for accounts and estimates that cannot be.
        """
        hold = hold_for(accounts, estimate_usd=estimate_usd, estimate_tokens=estimate_tokens, model=model)
        async with reserved(self, hold) as handle:
            yield handle

    # What operators ask for. These raise StoreUnavailable and StoreRefused: an operator is there to try again.

    async def adjust(
        self,
        claims: Iterable[Claim],
        *,
        amount: Amounts,
        reason: str,
        targets: tuple[Target, ...] | None = None,
        id_: str = "",
        bill: str = "",
    ) -> Answer:
        """Add to (negative: credit) *spent* of the claims' current windows, or of the targets that are named.

        With an ``id_`` of one's own it is done once, however often it is asked for.
        """
        claims = tuple(claims)
        return await adjust(
            self.store,
            lambda: targets or self._reserving.targets(claims),
            amount=amount,
            any_window=targets is not None,
            reason=reason,
            id_=id_,
            bill=bill,
            calls=self._calls,
            time_limit=self._timeout,
        )

    async def transfer(
        self,
        source: Claim,
        destination: Claim,
        *,
        amount: Amounts,
        reason: str,
        targets: tuple[Target, Target] | None = None,
    ) -> Answer:
        """Move what may be spent from one claim's current window to another's, or between the targets that are named.

        The answer is REJECTED where the source has less available within its limit.
        """

        def parties() -> tuple[Target, Target]:
            giver, getter = self._reserving.targets((source, destination))
            return giver, getter

        return await transfer(
            self.store,
            (lambda: targets) if targets else parties,
            amount=amount,
            any_window=targets is not None,
            reason=reason,
            calls=self._calls,
            time_limit=self._timeout,
        )

    async def expire(self, reservation_id: str, *, reason: str) -> Answer:
        """An operator's release: the hold is given back now, its owner's finalize is still booked late."""
        return await self._expiries.expire(reservation_id, reason=reason)

    async def sweep(self) -> None:
        """Expire the leases that are over, of any worker."""
        await self._expiries.sweep()

    def report_live_holds(self, *, because: str) -> None:
        """Log what is in flight in this event loop, for a shutdown that waits for nobody."""
        self._leases.report(because=because)
