"""The interface between the ledger and a store: the verbs, and what operators read."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from budget_middleware.core.audit import Damage
from budget_middleware.core.learning import AnswerGroup, Sums
from budget_middleware.core.limits import Slot, Terms
from budget_middleware.core.model import (
    Adjust,
    Answer,
    CounterProof,
    CounterView,
    Entry,
    Expire,
    Extend,
    Finalize,
    Grow,
    Release,
    Repair,
    Reservation,
    Reserve,
    Status,
    Transfer,
)
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.core.shadow import ShadowDay, ShadowLimit, ShadowSum
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period

SWEPT_PER_VERB = 16
"""How many due leases of its own counters one verb expires in passing: enough to keep up, few enough to be quick."""

LIMITS_PAGE = 1_000
"""About so many runtime limits are read at once: a server is busy with them for less than a millisecond."""

REPORTED_CHANGES_MAX = 1_000
"""A worker that missed more changes of limits than these does not get them, and reads again what it still needs."""

LEARNT_AT_ONCE = 64
"""So many groups of answers are sent at once at most: a server is busy with them for about two milliseconds."""

LEARNT_MS = 7 * 86_400_000
"""How long it is kept what was learnt of a group whose answers have ended: a weekend and a holiday."""

SHADOW_LIMITS_MAX = 10_000
"""Accounts come from clients: of a day the sums of so many limits are kept."""

NO_VERSION = -1
"""Of limits: no store's. A worker that asks for the changes since then knows nothing yet."""

_DAY_MS = 86_400_000

RELEASED_MS = 600_000
"""The least time for which a release that booked nothing is remembered, if BUDGET_REMEMBER_S is not shorter still.

Its id is needed only so that a delayed copy of its reserve holds nothing. Such a copy waits in a socket: Linux gives up
on an abandoned connection after two minutes, and the ledger expects nothing from a call later than ``LATE_S`` (60 s).
Forgotten, a repeated release or an extend changes no counter either, and a caller that released an id never finalizes
it.
"""

FORGOTTEN_EARLY = frozenset({Status.RELEASED, Status.RELEASED_UNKNOWN})
"""The answers of endings that booked nothing: their ids are remembered for ``remember_released_ms``."""


class StoreUnavailable(Exception):
    """The store gave no answer: whether it applied the verb is unknown."""


class StoreRefused(Exception):
    """The store answered with an error and applied nothing: a poisoned record, no memory, a read-only replica."""


class StoreAway(StoreRefused):
    """The store has not answered lately, so it was not asked: nothing was applied."""


class StoreUndecided(StoreRefused):
    """The store answers, but goes on asking for newer limits or windows: it is there, and nothing was applied."""


class WrongServer(StoreRefused):
    """What answers is not a store that can do the work: a replica, a full server, a user without rights.

    Nothing was applied. ``cause`` says what it is, ``fix`` what an operator can do about it; one line each.
    """

    def __init__(self, reply: str, cause: str, fix: str) -> None:
        super().__init__(reply, cause, fix)
        self.cause = cause
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.cause} ({self.args[0]}); {self.fix}"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a store remembers what is over."""

    remember_ms: int = 3_600_000
    remember_expired_ms: int = _DAY_MS
    counters_ms: int = 35 * _DAY_MS
    journal_max: int = 100_000
    refusals_max: int = 10_000
    limit_changes_max: int = 10_000

    def counter_ms(self, period: Period) -> int:
        """How long a counter is kept after its window's end and its last change.

        A key that never rests has 1,440 counters a day under a limit by the minute: those of short windows are kept as
        long as late endings may still book there, and twice that for whoever asks.
        """
        return self.short_counters_ms if period.is_short else self.counters_ms

    @property
    def short_counters_ms(self) -> int:
        """The same for periods whose windows are short."""
        return min(self.counters_ms, 2 * max(self.remember_ms, self.remember_expired_ms))

    @property
    def remember_released_ms(self) -> int:
        """For a release that booked nothing, and for the tombstone of one that found nothing."""
        return min(self.remember_ms, max(RELEASED_MS, self.remember_ms // 6))

    @property
    def voided_max(self) -> int:
        """How many steps of reservations that came to nothing are kept beside the journal."""
        return max(2, self.journal_max // 20)


MORE: Final = "more"
"""In a LimitKey, instead of a period: all other limits of a pattern, see `limit_fields`."""

LimitKey = tuple[str, str]
"""A field of runtime limits: an account pattern in its canonical form, and a period or MORE."""

LimitValue = int | None | str
"""Nano-dollars of a period, None where the limit is lifted; of MORE the words of its limits."""

Limits = Mapping[LimitKey, LimitValue]

SlotChanges = Mapping[Slot | None, Terms | None]
"""What becomes of the limits of a pattern: terms are set (LIFTED lifts the limit of lower layers), None forgets.

The slot None stands for all, before those that are named.
"""


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """All limits that operators have set while gateways run."""

    version: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class LimitsPage:
    """Some runtime limits, and fields that cannot be read. The next page starts at ``cursor``; 0: this is the last."""

    cursor: int
    limits: Limits
    unreadable: Sequence[str]


@dataclass(frozen=True, slots=True)
class LimitNews:
    """What a store says of some patterns, and what has changed since a version that a worker knows, at one instant.

    ``limits`` has the limits of the patterns that were asked for and of those that have changed; what is missing there
    has no limit. ``changed`` is None where any limit may have changed. ``shapes`` has the shapes of all patterns if
    ``is_indexed``, else of some. ``lineage`` changes when a worker reports that the store has lost limits.
    """

    generation: str
    version: int
    lineage: str
    shapes: AbstractSet[str]
    is_indexed: bool
    changed: AbstractSet[LimitKey] | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class KnownLimits:
    """What a worker knew as of a version of a generation, before the store lost writes.

    Of each pattern in ``limits`` every field was known: one that is missing was not there. ``reports_loss`` says that
    the worker saw the loss itself, so that other workers are to write back what they knew too.
    """

    generation: str
    version: int
    limits: Mapping[str, Mapping[str, LimitValue]]
    reports_loss: bool = False


class WrittenBack(NamedTuple):
    """What was changed by writing back, and the version of all limits then."""

    version: int
    limits: AbstractSet[LimitKey]


class Topic(StrEnum):
    """The subjects of a gateway's notes for operators."""

    UNMETERED = "unmetered"  # A route, as a template, at which no LLM API of ours is.
    UNPRICED = "unpriced"  # A model that was served without a price, or a tool or a mode of one.
    USAGE = "usage"  # A model, why a usage of it contradicts itself, and the names of its fields.
    CORS = "cors"  # A route whose preflights a CORS layer inside of the middleware answers.
    SETTINGS = "settings"  # The fingerprint of its settings: see core/fingerprint.py.


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a gateway saw, and when it last began to (milliseconds, the store's clock)."""

    topic: Topic
    text: str
    time_ms: int


class Store(Protocol):
    """One atomic step a verb. Every method may raise StoreUnavailable or StoreRefused.

    All verbs are idempotent by id: doing one again with the same arguments equals doing it once.
    """

    def is_silent(self) -> bool:
        """Whether what is behind the store has let this event loop wait for a whole time-out, and sent nothing since.

        A store that says so ends a call without an answer by itself. One that cannot see its own connections says True
        at all times: then its calls are given up when their time is up.
        """
        ...

    @property
    def ends_when_cancelled(self) -> bool:
        """Whether a call ends as soon as it is cancelled.

        A store whose driver cleans up first says False: it is asked in tasks of the ledger's own, and no request waits
        for more than its time-out.
        """
        ...

    async def reserve(self, verb: Reserve) -> Answer: ...
    async def finalize(self, verb: Finalize) -> Answer: ...
    async def release(self, verb: Release) -> Answer: ...
    async def extend(self, verb: Extend) -> Answer: ...
    async def grow(self, verb: Grow) -> Answer: ...
    async def expire(self, verb: Expire) -> Answer: ...
    async def adjust(self, verb: Adjust) -> Answer: ...

    async def transfer(self, verb: Transfer) -> Answer:
        """TRANSFERRED, or REJECTED if a source has less than the amount available within its limit."""
        ...

    async def repair(self, verb: Repair) -> Answer:
        """Lead a counter to what an audit found; REPAIRED with an entry, or DUPLICATE if somebody was faster."""
        ...

    async def sweep(self, *, at_most: int, trace: str = "") -> Answer:
        """Expire up to ``at_most`` due leases, the oldest first; status is LEASES_DUE while some are left."""
        ...

    async def learn(self, sums_by_group: Mapping[AnswerGroup, Sums]) -> Mapping[AnswerGroup, Sums]:
        """Merge what a worker has learnt of up to LEARNT_AT_ONCE groups with what others have; the merged sums of each.

        NO_ANSWERS only asks. A group of which nothing was known before, or nothing that can be read, is left out: there
        is now what was sent. No money depends on this, and it is not idempotent: sent again, answers count twice.
        """
        ...

    async def limits(self) -> RuntimeLimits:
        """All of them, for operators: read page by page, so not at one instant."""
        ...

    async def limits_page(self, cursor: int = 0) -> LimitsPage:
        """About a thousand limits from a cursor on, which is 0 at first; one that changes meanwhile may come twice."""
        ...

    async def limit_news(self, patterns: Sequence[str], *, since_version: int) -> LimitNews:
        """The limits of a few patterns, and what has changed since a version."""
        ...

    async def index_limits(self) -> bool:
        """Complete the index of shapes where an older version of this package wrote limits; whether it is complete."""
        ...

    async def write_back_limits(self, known: KnownLimits) -> WrittenBack:
        """Set what a worker knew where the store has nothing newer. Idempotent."""
        ...

    async def change_limits(self, account: str, changes: SlotChanges, *, at_version: int | None = None) -> int | None:
        """Set and forget runtime limits of an account or pattern in one step; returns the new version of all limits.

        None, and nothing is changed, where ``at_version`` is not their version any more.
        """
        ...

    async def set_limit(self, account: str, *, period: Period, limit_nanos: int | None) -> int:
        """Set an enforced limit in USD (None lifts the limit of lower layers); returns the new version."""
        ...

    async def clear_limit(self, account: str, *, period: Period | None) -> int:
        """Forget the enforced limit in USD of a period, or all runtime limits; returns the new version."""
        ...

    async def check(self) -> None:
        """Try all that the verbs need, and change no counter; WrongServer where something is not known or allowed."""
        ...

    async def head(self) -> Answer:
        """The store's clock, generation, last seq and limits version; changes nothing."""
        ...

    async def counters(self, account: str | None = None) -> Sequence[CounterView]: ...
    async def proofs(self) -> Sequence[CounterProof]: ...
    async def damage(self, *, mend: bool = False) -> Sequence[Damage]:
        """Records that are not sound; with ``mend`` what follows from others (leases, totals) is made again first."""
        ...

    async def holds(self) -> Sequence[Reservation]:
        """Pending reservations whose lease is not over, the oldest first."""
        ...

    async def reservation(self, id_: str) -> Reservation | None:
        """What is known of a reservation, whatever became of it; None for an id that is unknown or forgotten."""
        ...

    async def reserved_by_kind(self) -> Mapping[tuple[Unit, str], int]:
        """What is reserved of each unit by each kind of accounts, an account counted once whatever its periods."""
        ...

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:
        """At least one and about ``count`` entries after ``after_seq``, oldest first; empty: there are none."""
        ...

    async def latest(self, *, count: int, account: str | None = None) -> Sequence[Entry]:
        """The last ``count`` entries (of one account), oldest first."""
        ...

    async def add_note(self, topic: Topic, text: str) -> None:
        """Leave a note for operators; it is kept as long as a counter is after its last change."""
        ...

    async def notes(self) -> Sequence[Note]: ...

    async def neighbours(self) -> Sequence[str]:
        """Namespaces of other ledgers in the same place, sorted, as far as a short search finds them."""
        ...

    async def log_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        """Log refusals; the last ``refusals_max`` are kept, and as long as a counter is after its last change."""
        ...

    async def refusals(self) -> Sequence[LoggedRefusal]:
        """The refusals that are logged, the oldest first."""
        ...

    async def add_shadow_sums(self, day: str, sums: Mapping[ShadowLimit, ShadowSum]) -> None:
        """Add to what limits would have refused on a day. Not idempotent: sent again, requests count twice.

        Kept as long as a counter is after its last change, of SHADOW_LIMITS_MAX limits a day; those that came later are
        counted as left out.
        """
        ...

    async def shadow_sums(self, *, since_day: str) -> Sequence[ShadowDay]:
        """What limits would have refused on this day and later, the oldest day first; days without any are missing."""
        ...

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        """Call ``on_freed`` with accounts of which less is held now, as any process brings that about, until cancelled.

        ``on_ready`` is called once nothing is missed any more. Returns where only this process has the counters: it
        knows by itself. Raises StoreUnavailable or StoreRefused when it cannot listen any longer.
        """
        ...

    async def aclose(self) -> None: ...
