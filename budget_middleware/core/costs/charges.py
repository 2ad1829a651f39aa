"""Decides what a request is charged at its end, and meanwhile if its lease expires."""

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from budget_middleware.core.costs.outcome import Outcome
from budget_middleware.core.fast import maker_of
from budget_middleware.core.money import MAX_NANOS
from budget_middleware.core.units import NOTHING, Amounts


class OnAbort(StrEnum):
    """What a request books that was cut off after its output began."""

    PARTIAL = "partial"
    INPUT = "input"
    FULL = "full"
    RELEASE = "release"
    DRAIN = "drain"


class OnExpire(StrEnum):
    """What a reservation books when its lease runs out before an ending."""

    RELEASE = "release"
    INPUT = "input"
    ESTIMATE = "estimate"


class End(StrEnum):
    """How an answer came to its end."""

    COMPLETE = "complete"
    CLIENT_GONE = "client_gone"
    BROKEN = "broken"
    # The ledger ended it, not the answer: see `Settlement.cut_off`.
    SHUTDOWN = "shutdown"
    IDLE = "idle"
    TOO_LONG = "too_long"
    # It passed a limit, and was stopped: see `Settlement.stop`.
    STOPPED = "stopped"


class Evidence(Struct, frozen=True, gc=False):
    """What is known at the end of a request; amounts in nano-dollars.

    `actual_nanos` is the cost by usage, or the gateway's own, None if neither came. `seen_nanos` prices the
    input and the output that was read, None where the answer could not be read; `estimate_nanos` is what was expected,
    which may be less than what is held. Output began when the first body
    byte of an answer that is no error was seen. `outcome` is what the answer itself says, `is_error` its status.
    """

    end: End
    is_error: bool
    output_began: bool
    actual_nanos: int | None
    input_nanos: int
    seen_nanos: int | None
    estimate_nanos: int
    # The work goes on after the answer, as in the background: what was seen of it is not what it costs.
    goes_on: bool = False
    # The work is done once it has begun, and its cost is known, whoever reads the answer.
    outlives_client: bool = False
    # The reservation of another guard on the same ledger, which books this very call.
    inner_id: str = ""
    outcome: Outcome = Outcome.UNKNOWN
    # The usage contradicts itself, and `actual_nanos` is its larger reading.
    is_unreconciled: bool = False


class Basis(StrEnum):
    """What a charge is based on."""

    NOTHING = "nothing"
    USAGE = "usage"
    # What was read of the answer, or the estimate where nothing could be.
    SEEN = "seen"
    EXPECTED_INPUT = "expected_input"
    ESTIMATE = "estimate"


class Charge(NamedTuple):
    """What to book, in nano-dollars, and why; a reason that begins with `estimated` says that no usage came."""

    nanos: int
    reason: str

    @property
    def is_release(self) -> bool:
        """Nothing is to be booked: the hold is given back."""
        return self.reason in _RELEASES or (self.reason.startswith(BOOKED_BY) and not self.has_added)

    @property
    def is_booked_elsewhere(self) -> bool:
        """Another reservation has booked the call."""
        return self.reason.startswith(BOOKED_BY)

    @property
    def basis(self) -> Basis:
        """What it is based on, whatever was added to it."""
        return _BASES.get(self.reason.removesuffix(_ADDED), _BY_NOTHING)

    @property
    def may_be_corrected(self) -> bool:
        """Whether a usage that is seen later is not booked by anything else: by a job's ticket, or another guard."""
        is_known = self.basis is Basis.USAGE or self.reason.removesuffix(_ADDED) == GOES_ON
        return not (is_known or self.is_booked_elsewhere)

    @property
    def has_added(self) -> bool:
        """Whether it includes what the app added."""
        return self.reason.endswith(_ADDED)

    def with_added(self, nanos: int) -> "Charge":
        """The charge and what the app added to it, which is booked whatever became of the answer."""
        return Charge(min(self.nanos + nanos, MAX_NANOS), f"{self.reason}{_ADDED}") if nanos else self


_charge = maker_of(Charge)
# Python 3.11 takes ten times as long to find the member of an enum as a global.
_FAILED_FIRST = Outcome.FAILED_BEFORE_OUTPUT
_BY_NOTHING = Basis.NOTHING

USAGE = "usage"
"""The reason of a charge by a usage, or by a cost, that the answer itself has reported."""
GOES_ON = "estimated_background"
"""The reason of a charge for work that goes on unread."""
UNRECONCILED = "usage_unreconciled"
"""The reason of a charge by a usage that contradicts itself: it is taken at the larger reading."""
CORRECTS = "usage of a background response, booked by "
"""How the reason of an adjustment begins that corrects a booking, of an answer that went on unread; its id follows."""
BOOKED_BY = "booked_by:"
"""How the reason of a release begins whose call another reservation has booked; its id follows."""
_ADDED = "+added"
_BASES = {
    USAGE: Basis.USAGE,
    UNRECONCILED: Basis.USAGE,
    GOES_ON: Basis.ESTIMATE,
    "estimated_complete": Basis.SEEN,
    "estimated_partial": Basis.SEEN,
    "estimated_input": Basis.EXPECTED_INPUT,
    "estimated_full": Basis.ESTIMATE,
}
_RELEASES = frozenset({"error_answer", "no_output", "aborted_release"})


def charge_of(evidence: Evidence, *, on_abort: OnAbort) -> Charge:
    """The documented charge; an answer whose usage is known is always booked in full."""
    if evidence.is_error:
        return Charge(0, "error_answer")
    if evidence.inner_id:
        return Charge(0, f"{BOOKED_BY}{evidence.inner_id}")
    has_failed_first = evidence.outcome is _FAILED_FIRST
    # A failure with a usage of zeros has used nothing; one with any other was charged for what it reports.
    if evidence.actual_nanos is not None and (evidence.actual_nanos or not has_failed_first):
        return _charge((evidence.actual_nanos, UNRECONCILED if evidence.is_unreconciled else USAGE))
    if evidence.goes_on and (evidence.end is End.COMPLETE or on_abort is not OnAbort.RELEASE):
        return Charge(evidence.estimate_nanos, GOES_ON)
    if has_failed_first:
        return Charge(0, "error_answer")
    return _estimated_charge(evidence, on_abort=on_abort)


def _estimated_charge(evidence: Evidence, *, on_abort: OnAbort) -> Charge:
    """The charge where nothing reports the cost."""
    seen_nanos = evidence.estimate_nanos if evidence.seen_nanos is None else evidence.seen_nanos
    has_failed_late = evidence.outcome is Outcome.FAILED_AFTER_OUTPUT
    if evidence.end is End.COMPLETE and not has_failed_late:
        return Charge(seen_nanos, "estimated_complete")
    if on_abort is OnAbort.RELEASE:
        return Charge(0, "aborted_release")
    if evidence.outlives_client and (evidence.output_began or evidence.end is not End.BROKEN):
        return Charge(max(evidence.estimate_nanos, seen_nanos), "estimated_full")
    # An upstream that breaks by itself has done what was seen of its work, whatever clients pay for leaving.
    if not (has_failed_late or (evidence.end is End.BROKEN and evidence.output_began)):
        if on_abort is OnAbort.INPUT:
            return Charge(evidence.input_nanos, "estimated_input")
        if on_abort is OnAbort.FULL:
            return Charge(evidence.estimate_nanos, "estimated_full")
    return Charge(seen_nanos, "estimated_partial") if evidence.output_began else Charge(0, "no_output")


def deadline_charge(on_abort: OnAbort, *, of_input: Amounts, estimate: Amounts) -> Amounts:
    """What a job books whose usage nobody has seen by its deadline: what an answer does that broke off unread."""
    match on_abort:
        case OnAbort.RELEASE:
            return NOTHING
        case OnAbort.INPUT:
            return Amounts(*map(min, of_input, estimate))
        case _:
            return estimate


def expiry_charge(on_expire: OnExpire, *, of_input: Amounts, estimate: Amounts) -> Amounts:
    """What a reservation books while its lease is over and no ending has come."""
    match on_expire:
        case OnExpire.RELEASE:
            return NOTHING
        case OnExpire.INPUT:
            return Amounts(*map(min, of_input, estimate))
        case OnExpire.ESTIMATE:
            return estimate
