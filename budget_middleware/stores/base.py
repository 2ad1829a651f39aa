"""The interface between the ledger and a store: the verbs, and what operators read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from budget_middleware.core.answers import Answer, CounterProof, CounterView, Entry
from budget_middleware.core.costs.learning import AnswerGroup, Sums
from budget_middleware.core.damage import Damage
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.limits.shadow import ShadowDay, ShadowLimit, ShadowSum
from budget_middleware.core.model import Reservation
from budget_middleware.core.units import Unit
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Reserve, Transfer
from budget_middleware.core.windows import Period
from budget_middleware.stores.facts import Fact
from budget_middleware.stores.notes import Note, Topic
from budget_middleware.stores.runtime_limits import (
    KnownLimits,
    LimitNews,
    LimitsPage,
    RuntimeLimits,
    SlotChanges,
    WrittenBack,
)

SWEPT_PER_VERB = 16
"""How many due leases of its own counters one verb expires in passing: enough to keep up, few enough to be quick."""

LEARNT_AT_ONCE = 64
"""So many groups of answers are sent at once at most: a server is busy with them for about two milliseconds."""

LEARNT_MS = 7 * 86_400_000
"""How long it is kept what was learnt of a group whose answers have ended: a weekend and a holiday."""

SHADOW_LIMITS_MAX = 10_000
"""Accounts come from clients: of a day the sums of so many limits are kept."""


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

    async def keep_fact(self, name: str, text: str, *, keep_ms: int) -> str:
        """Keep a short text under a name (one word) for so long, unless there is one; the text that is there now.

        Gateways find again by it what one of them has learnt: which reservation pays for a job, what a file holds.
        """
        ...

    async def kept_facts(self, names: Sequence[str]) -> Mapping[str, str]:
        """The texts of those names that are still kept."""
        ...

    async def all_facts(self) -> Sequence[Fact]:
        """All that are still kept; off the path of requests."""
        ...

    async def neighbours(self) -> Sequence[str]:
        """Namespaces of other ledgers in the same place, sorted, as far as a short search finds them."""
        ...

    async def log_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        """Log refusals; the last ``refusals_max`` are kept, and as long as a counter is after its last change."""
        ...

    async def refusals(self, *, since_ms: int = 0) -> Sequence[LoggedRefusal]:
        """The refusals that are logged, the oldest first: all that were decided since then, and perhaps some before."""
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

    async def texts(self, shelf: str) -> Mapping[str, str]:
        """What the gateways of this ledger keep on a shelf for each other, by name."""
        ...

    async def swap_text(self, shelf: str, name: str, *, before: str | None, after: str | None, keep_ms: int) -> bool:
        """Put ``after`` where ``before`` is, in one step (None: nothing there); whether it was.

        It is kept for so long at least. Asked again after a lost answer it says False: look at what is there.
        """
        ...

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        """Call ``on_freed`` with accounts of which less is held now, as any process brings that about, until cancelled.

        ``on_ready`` is called once nothing is missed any more. Returns where only this process has the counters: it
        knows by itself. Raises StoreUnavailable or StoreRefused when it cannot listen any longer.
        """
        ...

    async def aclose(self) -> None: ...
