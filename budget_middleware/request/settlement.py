"""Ends a request, once: from what was seen of its answer to its charge, and from there to the ledger.

    exchange ── begin(end) ──┐
                             ├─ the first of them ends the hold: evidence -> charge -> ledger -> metrics
    ledger ── cut_off(end) ──┘

The exchange begins the ending where the answer ends. The ledger does so for an answer that does not end in time: at a
shutdown, after BUDGET_MAX_HOLD_S, or when the client has not read for BUDGET_IDLE_HOLD_S. It books by the abort rule
what was seen until then. Such an answer is cut: whatever the app sends afterwards would be served and never booked,
since the first ending of a reservation is the only one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.answers import Answer
from budget_middleware.core.costs.charges import GOES_ON, UNRECONCILED, USAGE, Charge, End, charge_of
from budget_middleware.core.units import NOTHING, Amounts, Unit, amounts_of
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.ledger import AnswerFuture, BudgetHandle, Ending, Job, Ledger
from budget_middleware.ledger.holds.growth import Growth
from budget_middleware.request.admission import Admitted
from budget_middleware.request.bills.bill import Bill, usage_attributes
from budget_middleware.request.bills.notes import report_contradiction, report_late_cost, report_unpriced
from budget_middleware.request.bills.who_answers import shown_answered
from budget_middleware.request.headers.refusals import AUTHENTICATION_STATUSES
from budget_middleware.request.jobs.background import keep_for_job
from budget_middleware.request.jobs.stored_answers import keep_broken_off
from budget_middleware.request.lessons import learn_from_answer, remember_who_answered
from budget_middleware.request.quotes.shown_model import short
from budget_middleware.settings import Settings
from budget_middleware.telemetry import names

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_COMPLETE = End.COMPLETE

_log = logging.getLogger("budget_middleware")


class Settlement:
    """Ends one admitted request, once."""

    def __init__(self, admitted: Admitted, *, seen: Seen, settings: Settings, ledger: Ledger) -> None:
        self.handle = BudgetHandle(admitted.hold.id, ledger.prices, tokens_counted=ledger.tokens_counted)
        self.bill = Bill(admitted.quote, ledger.prices)
        # What the exchange sees of the answer, and fills in.
        self.status = 0
        self.output_began = False
        self.inner_id = ""  # The reservation of a guard behind us that books the call.
        # Asked if the answer breaks off: whether all of it is there, and only its end was not told.
        self.read_whole: Callable[[], bool] | None = None
        # What was decided.
        self.charge: Charge | None = None  # When the ending began.
        self.is_cut = False  # The ledger ended it, or it was stopped at a limit: the answer must not go on.
        self.is_kept = False  # Its hold is kept for a job, whose cost is not known.
        self.counts_more_than_money = admitted.hold.counts_more_than_money
        # Why it was stopped, if it was; in the reason of its booking.
        self._why_stopped = ""
        # Made for those who wait for it.
        self._has_begun: asyncio.Event | None = None
        self._is_late_cost_logged = False
        self._admitted = admitted
        self._seen = seen
        if admitted.quote.named_job is not None:
            seen.job, seen.continues_unread = admitted.quote.named_job, True
        self._on_abort, self._job_deadline_s = settings.on_abort, settings.job_deadline_s
        self._ledger = ledger
        admitted.hold.abort = self.cut_off
        admitted.hold.growth = self._growth()

    def _growth(self) -> Growth | None:
        """What the ledger grows the hold by; None where it does not grow, or nothing is held in the store."""
        quote, hold = self._admitted.quote, self._admitted.hold
        if quote.growth is None or self._admitted.is_unprotected:
            return None
        return Growth(
            quote.growth,
            held_nanos=hold.asked.usd,
            held_tokens=hold.asked.tokens if self.counts_more_than_money and hold.counts(Unit.TOKENS) else None,
            model=quote.metric_model,
            added=self.handle,
            shown=self._seen,
        )

    def begin(self, end: End) -> AnswerFuture | None:
        """Begin the ending, in a task of the ledger's own; None if it has begun before."""
        verb = self._decide(end)
        if verb is None:
            return None
        if self.is_kept and isinstance(verb, Finalize):
            return self._keep_for_job(verb)
        return self._ledger.begin_ending(self._admitted.hold, verb, attributes=self._usage_attributes)

    def end(self, end: End) -> Awaitable[Answer | None]:
        """Begin the ending; to be awaited at once, at most for the store's time-out. None if it has begun before."""
        verb = self._decide(end)
        if verb is None:
            return _no_answer()
        if self.is_kept and isinstance(verb, Finalize):
            return self._keep_for_job(verb)
        return self._ledger.end(self._admitted.hold, verb, attributes=self._usage_attributes)

    def _decide(self, end: End) -> Ending | None:
        """The verb that ends the hold, by the one charge that is decided for it; None if it was decided before."""
        if self.charge is not None:
            return None
        hold = self._admitted.hold
        # An ending may be owed for long, and nothing of the request is to be kept with its hold.
        hold.abort = hold.growth = None
        try:
            if end is not _COMPLETE and self.read_whole is not None and self.read_whole():
                end = _COMPLETE
            self.charge, actual = self._booked(end)
        except Exception:  # noqa: BLE001 - whatever it is, the hold must end
            _log.exception("%s cannot be billed: it is booked as it was estimated", hold.id)
            self.charge, actual = self._by_estimate()
        if self._has_begun is not None:
            self._has_begun.set()
        reason, bill = self.charge.reason, ""
        try:
            if end is not _COMPLETE and self.charge.may_be_corrected:
                self._keep_broken_off(actual or NOTHING)
            reason, bill = self._report(self.charge, end)
        except Exception:  # noqa: BLE001 - what is booked is decided, in all units
            _log.exception("%s is booked, and not all is told of it", hold.id)
        if actual is None:
            return Release(hold.id, reason=reason, wants_entries=False)
        # The ledger asks for entries where somebody records a span, which is not known yet.
        return Finalize(hold.id, hold.targets, actual, reason=reason, wants_entries=False, bill=bill)

    def _by_estimate(self) -> tuple[Charge, Amounts]:
        """What ends a hold whatever goes wrong with its bill, for nothing else would end it: all units as expected."""
        hold, quote, self.is_kept = self._admitted.hold, self._admitted.quote, False
        charge = Charge(quote.expected_nanos, "estimated_full").with_added(self.handle.end())
        tokens = quote.mean_tokens + self.handle.added_tokens
        return charge, hold.counted(Amounts(charge.nanos, tokens, requests=int(not quote.ask.continues)))

    def _booked(self, end: End) -> tuple[Charge, Amounts | None]:
        """The charge, and what it books in all units that are counted, by one evidence; None: a release."""
        added_nanos = self.handle.end()
        evidence = self.bill.evidence(
            self._seen,
            end=end,
            is_error=self.status >= 300,
            output_began=self.output_began,
            inner_id=self.inner_id,
            app_added=added_nanos > 0,
        )
        charge = charge_of(evidence, on_abort=self._on_abort)
        if added_nanos:
            charge = charge.with_added(added_nanos)
        self.is_kept = charge.reason == GOES_ON and self._seen.job is not None and not self._admitted.is_unprotected
        if charge.reason != USAGE and charge.is_release and not self._counts_all_the_same(charge):
            return charge, None
        if not self.counts_more_than_money:
            return charge, amounts_of((charge.nanos, 0, 0, 0))
        tokens = self.bill.tokens(charge, self._seen, self._ledger.tokens_counted) + self.handle.added_tokens
        return charge, self._admitted.hold.counted(Amounts(charge.nanos, tokens, int(self._was_a_request(charge))))

    def _report(self, charge: Charge, end: End) -> tuple[str, str]:
        """Tell of a charge all who learn from it; the reason of its booking, and its bill."""
        # Its reserve has looked for a receiver.
        if self._ledger.telemetry.metrics.is_received:
            self._count(charge, end)
        if charge.reason == USAGE and end is _COMPLETE and 200 <= self.status < 300:
            learn_from_answer(self._admitted, seen=self._seen, bill=self.bill, ledger=self._ledger)
        if self.bill.answered is not None:
            remember_who_answered(self._admitted, answered=self.bill.answered, ledger=self._ledger)
        if charge.reason.startswith(UNRECONCILED):
            report_contradiction(self._ledger, self._admitted.quote, self.bill)
        if self.bill.unpriced:
            report_unpriced(self._ledger, self._admitted.quote, self.bill)
        who = shown_answered(self.bill.answered, self._admitted.quote) if self.bill.answered is not None else ""
        reason = ", ".join(filter(None, (charge.reason, self._why_stopped, who)))
        if charge.reason == USAGE:
            return reason, self.bill.packed(charge)
        return reason, "" if charge.is_release else self.bill.packed(charge, added_nanos=self.handle.added_nanos)

    def _keep_broken_off(self, actual: Amounts) -> None:
        """Keep what is booked, if the provider keeps the answer and may finish it: a look at that corrects it."""
        own = Amounts(actual.usd - self.handle.added_nanos, actual.tokens - self.handle.added_tokens)
        keep_broken_off(self._ledger, self._admitted, seen=self._seen, booked=own, deadline_s=self._job_deadline_s)

    def _counts_all_the_same(self, charge: Charge) -> bool:
        """Whether a call that has cost nothing counts as a request, or by tokens of a free model that the app added."""
        hold = self._admitted.hold
        added = self.handle.added_tokens > 0 and hold.counts(Unit.TOKENS)
        return added or (self._was_a_request(charge) and hold.counts(Unit.REQUESTS))

    def _was_a_request(self, charge: Charge) -> bool:
        """Whether it is one of those whose account the request names: what failed is, whom the app refuses is not."""
        is_one = self.status not in AUTHENTICATION_STATUSES and not charge.is_booked_elsewhere
        return is_one and not self._admitted.quote.ask.continues

    async def stop(self, *, why: str) -> Answer | None:
        """End it by the abort rule, with what was seen so far; the answer must not go on."""
        self.is_cut, self._why_stopped = True, why
        return await self.end(End.STOPPED)

    def _keep_for_job(self, otherwise: Finalize) -> AnswerFuture:
        """Keep the hold for work that goes on after the answer, or end it as it would be otherwise."""
        assert self._seen.job is not None
        job, hold, quote = Job(*self._seen.job), self._admitted.hold, self._admitted.quote
        details = {"model": short(quote.model), **(quote.job or {})}
        deadline_s, attributes = quote.job_deadline_s or self._job_deadline_s, self._usage_attributes
        return keep_for_job(self._ledger, hold, otherwise, job, deadline_s, details=details, attributes=attributes)

    def _usage_attributes(self) -> names.Attributes:
        answered = self.bill.answered
        return usage_attributes(answered.model if answered is not None else self._seen.model, self._seen.usage)

    async def wait_until_begun(self) -> None:
        """Wait until the ending has begun, by whomever."""
        if self.charge is None:
            self._has_begun = self._has_begun or asyncio.Event()
            await self._has_begun.wait()

    def cut_off(self, end: End) -> None:
        """The ledger's way to end it: by the abort rule, with what was seen of the answer so far."""
        self.is_cut = self.begin(end) is not None or self.is_cut

    def report_late_cost(self) -> None:
        """Log a true cost that was seen after the answer was cut, if more was due than was booked."""
        if self.charge is None or self._is_late_cost_logged:
            return
        is_error, began = self.status >= 300, self.output_began
        evidence = self.bill.evidence(self._seen, end=End.COMPLETE, is_error=is_error, output_began=began)
        actual_nanos = evidence.actual_nanos
        if actual_nanos is not None and actual_nanos > self.charge.nanos:
            self._is_late_cost_logged = True
            report_late_cost(self._admitted.hold, booked_nanos=self.charge.nanos, true_nanos=actual_nanos)

    def _count(self, charge: Charge, end: End) -> None:
        metrics = self._ledger.telemetry.metrics
        quote = self._admitted.quote
        status = names.UNPROTECTED if self._admitted.is_unprotected else str(end)
        model, context = quote.metric_model, self._admitted.hold.context
        metrics.count_request(status="unpriced" if quote.rates is None else status, model=model, context=context)
        if not self.is_kept:
            estimate_nanos = quote.estimate_nanos
            metrics.count_cost(actual_nanos=charge.nanos, estimate_nanos=estimate_nanos, model=model, context=context)


async def _no_answer() -> None:
    return None
