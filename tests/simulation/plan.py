"""What happens in one simulation: a value of which parts can be left out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

MAX_TOKENS = 64
"""What every request asks for at most."""


class Play(StrEnum):
    """What a gateway does with a request."""

    JSON = "json"
    STREAM = "stream"
    BARE_STREAM = "bare stream"
    """It ends in order, and without usage."""
    ERROR = "error"
    RAISES = "raises"
    BREAKS = "breaks"
    """It raises half way through its output."""
    LINGERS = "lingers"
    """It answers, and goes on for a while before it returns."""


class Client(StrEnum):
    """What the client does meanwhile; ``patience`` counts messages, or milliseconds of a cancellation."""

    STAYS = "stays"
    LEAVES = "leaves"
    BREAKS = "breaks"
    """Its connection fails under the next `send`."""
    CANCELS = "cancels"
    """The server cancels the request's task."""
    CANCELS_ON = "cancels on"
    """As a cancelled scope does: the task is cancelled again wherever it waits."""


class Fault(StrEnum):
    """What becomes of one call between a worker and the store."""

    LOST = "lost"
    REPLY_LOST = "reply lost"
    DELAYED = "delayed"
    REPLY_DELAYED = "reply delayed"
    DUPLICATED = "duplicated"
    REFUSED = "refused"


class Kind(StrEnum):
    """What happens to workers, the store and the limits."""

    KILL = "kill"
    PAUSE = "pause"
    LAG = "lag"
    """Its event loop stands still again and again, for longer than the store's time-out."""
    RESTART = "restart"
    SKEW = "skew"
    DOWN = "down"
    SLOW = "slow"
    EMPTIED = "emptied"
    FAILOVER = "failover"
    STORE_CLOCK = "store clock"
    LIMIT = "limit"
    ADJUST = "adjust"
    TRANSFER = "transfer"
    """From a key to the next one."""
    OPERATOR_RELEASE = "operator release"


@dataclass(frozen=True, slots=True)
class CallFault:
    """The fault of a request's ``nth`` call to the store (0 is its first reserve); ``ms`` is how late it makes it."""

    nth: int
    fault: Fault
    ms: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """``keeps_on`` is the pause of a stream between two words, or how long a lingering gateway lingers."""

    number: int
    at_ms: int
    worker: int
    key: int
    play: Play
    client: Client
    patience: int
    words: int
    pause_ms: int
    faults: tuple[CallFault, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody asks for a job that is over. ``cut_ms``: the server cancels that so late, unless it is 0."""

    number: int
    at_ms: int
    worker: int
    cut_ms: int


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """Work that goes on after its answer: when that ends, after ``works_ms``, its hold becomes a ticket.

    ``cost_nanos`` is what each look sees that it has cost, ``charge_nanos`` what is due at its deadline.
    """

    number: int
    at_ms: int
    worker: int
    key: int
    works_ms: int
    deadline_s: int
    cost_nanos: int
    charge_nanos: int
    looks: tuple[Look, ...]
    faults: tuple[CallFault, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """``amount`` is a skew in ms, a limit, an adjustment or a transfer in nano-dollars; ``about`` a worker, a key or a
    request.
    """

    at_ms: int
    kind: Kind
    about: int = 0
    for_ms: int = 0
    amount: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """``has_spool``: workers keep what they owe on a disk that they share. ``learns``: they hold what answers usually
    come to, and more where one outgrows that.

    ``house_faults`` befall the calls of no request, sweeps, limits and the journal, by worker.
    """

    seed: int
    workers: int
    starts_ms_before_hour: int
    on_abort: str
    on_expire: str
    on_store_error: str
    limit_in_estimates: int
    lease_s: int
    has_spool: bool
    skews_ms: tuple[int, ...]
    requests: tuple[Request, ...]
    events: tuple[Event, ...]
    house_faults: tuple[tuple[int, CallFault], ...]
    learns: bool = False
    jobs: tuple[PlannedJob, ...] = ()

    @property
    def length_ms(self) -> int:
        """By when all that is planned has happened, the latest of late messages and of resumed workers too."""
        ends = [0]
        for request in self.requests:
            ends += [request.at_ms, *(request.at_ms + fault.ms for fault in request.faults)]
        for job in self.jobs:
            ends += [job.at_ms + job.works_ms, *(job.at_ms + fault.ms for fault in job.faults)]
            ends += [look.at_ms + look.cut_ms for look in job.looks]
        ends += [event.at_ms + event.for_ms for event in self.events]
        return max(ends) + 1_000 + max((fault.ms for _, fault in self.house_faults), default=0)

    @property
    def longest_lease_s(self) -> int:
        """That of a request, or of a ticket."""
        return max(self.lease_s, *(job.deadline_s for job in self.jobs), 0)

    @property
    def parts(self) -> tuple[object, ...]:
        """Everything that may be left out."""
        return tuple(_parts(self))

    def of(self, parts: tuple[object, ...]) -> "Plan":
        """This plan with only these parts."""
        kept = set(parts)
        return replace(
            self,
            requests=tuple(
                replace(request, faults=tuple(f for f in request.faults if (request.number, f) in kept))
                for request in self.requests
                if request.number in kept
            ),
            jobs=tuple(
                replace(
                    job,
                    looks=tuple(look for look in job.looks if look.number in kept),
                    faults=tuple(f for f in job.faults if (job.number, f) in kept),
                )
                for job in self.jobs
                if job.number in kept
            ),
            events=tuple(event for event in self.events if event in kept),
            house_faults=tuple(fault for fault in self.house_faults if ("house", fault) in kept),
        )


def _parts(plan: Plan) -> Iterator[object]:
    for request in plan.requests:
        yield request.number
        yield from ((request.number, fault) for fault in request.faults)
    for job in plan.jobs:
        yield job.number
        yield from (look.number for look in job.looks)
        yield from ((job.number, fault) for fault in job.faults)
    yield from plan.events
    yield from (("house", fault) for fault in plan.house_faults)
