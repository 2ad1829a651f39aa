"""The parts of a verb, one for each shard that it concerns, and the one answer that their answers come to."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Balance, Counter, Rejection, Reservation, Target
from budget_middleware.core.statuses import RETURNS_RECORDED, Op, State, Status


class Part(NamedTuple):
    """The counters of a verb that one shard has."""

    shard: str
    targets: tuple[Target, ...] = ()


Parts = tuple[Part, ...]


class Route(NamedTuple):
    """Where a reservation has parts, as far as this process has sent it there, and all its counters in order."""

    parts: Parts
    targets: tuple[Target, ...]


ROUTES_MAX = 65_536
"""Of so many reservations a process remembers where their parts are; those of others are looked for on every shard."""


class Routes:
    """The last ROUTES_MAX of them, by their ids."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self.undecided: set[str] = set()
        """Ids of which a part could not be given back for certain: see `reserving`."""

    def get(self, id_: str) -> Route | None:
        return self._routes.get(id_)

    def add(self, id_: str, parts: Parts, targets: tuple[Target, ...]) -> None:
        """Before anything is sent: whatever becomes of that, its ending goes to all of these."""
        before = self._routes.pop(id_, None)
        if before is not None:
            named = {part.shard for part in parts}
            parts += tuple([part for part in before.parts if part.shard not in named])
        self._routes[id_] = Route(parts, targets)
        if len(self._routes) > ROUTES_MAX:
            oldest = next(iter(self._routes))
            del self._routes[oldest]
            self.undecided.discard(oldest)


RECENT_MAX, RECENT_S = 4_096, 60.0
"""Of so many sets of counters, for so long; homes are recorded for days."""


class RecentParts:
    """The parts of sets of counters that were split lately: an ending has those of its reserve."""

    def __init__(self) -> None:
        self._recent: dict[tuple[Target, ...], tuple[int, float, Parts]] = {}

    def get(self, targets: tuple[Target, ...], *, keep: int) -> Parts | None:
        """None too where homes were not to be kept for so long."""
        found = self._recent.get(targets)
        return found[2] if found is not None and found[0] >= keep and found[1] > time.monotonic() else None

    def put(self, targets: tuple[Target, ...], parts: Parts, *, keep: int) -> None:
        self._recent.pop(targets, None)
        self._recent[targets] = keep, time.monotonic() + RECENT_S, parts
        if len(self._recent) > RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    def clear(self) -> None:
        self._recent.clear()


def split(targets: Iterable[Target], homes: Mapping[str, str], *, order: Sequence[str]) -> Parts:
    """The parts of targets, in the order in which parts are made: the same for all, so that of two requests that meet
    on two shards one goes on.
    """
    by_shard: dict[str, list[Target]] = {}
    for target in targets:
        by_shard.setdefault(homes[target.account], []).append(target)
    if len(by_shard) == 1:
        ((shard, own),) = by_shard.items()
        return (Part(shard, tuple(own)),)
    return tuple([Part(shard, tuple(by_shard[shard])) for shard in order if shard in by_shard])


# Of several answers to one verb the first of these is that of the verb. An ending says what is missing before what was
# done; where a reservation was looked for on every shard, those that know nothing of it say least.
_FINALIZED = (
    Status.TOO_OLD,
    Status.ALREADY_RELEASED,
    Status.FINALIZED_UNRESERVED,
    Status.FINALIZED_LATE,
    Status.FINALIZED,
    Status.ALREADY_FINALIZED,
)
_RELEASED = (
    Status.RELEASED,
    Status.RELEASED_LATE,
    Status.ALREADY_FINALIZED,
    Status.ALREADY_RELEASED,
    Status.RELEASED_UNKNOWN,
    Status.TOO_OLD,
)
_OVER = (Status.ALREADY_EXPIRED, Status.ALREADY_FINALIZED, Status.ALREADY_RELEASED, Status.UNKNOWN)
_RANKS: Mapping[Op, tuple[Status, ...]] = MappingProxyType(
    {
        Op.RESERVE: (Status.EXTENDED, *_OVER),
        Op.GROW: (Status.GROWN, *_OVER),
        Op.FINALIZE: _FINALIZED,
        Op.RELEASE: _RELEASED,
        Op.EXPIRE: (Status.EXPIRED, *_OVER),
        Op.ADJUST: (Status.STALE_WINDOW, Status.CONFLICT, Status.ADJUSTED, Status.DUPLICATE),
    }
)


def status_of(op: Op, answers: Collection[Answer]) -> Status:
    """What several shards' answers to a verb come to (RESERVE: those to an extend)."""
    given = {answer.status for answer in answers}
    return next(status for status in _RANKS[op] if status in given)


def whole(
    answers: Sequence[Answer],
    status: Status,
    *,
    generation: str,
    limits_version: int,
    balances: tuple[Balance, ...] = (),
    recorded: Reservation | None = None,
    rejection: Rejection | None = None,
    also_written: Sequence[Answer] = (),
) -> Answer:
    """One answer of several; time and seq are those of the last, which decided. ``also_written``: by what undid
    them.
    """
    last, everything = answers[-1], (*answers, *also_written)
    if len(everything) == 1:
        figures = (last.entries, last.written, balances)
        return Answer(
            status, last.now_ms, generation, last.seq, limits_version, recorded, rejection, *figures, parts=(last,)
        )
    return Answer(
        status,
        last.now_ms,
        generation,
        last.seq,
        limits_version,
        recorded,
        rejection,
        tuple(chain.from_iterable(answer.entries for answer in everything)),
        sum(answer.written for answer in everything),
        balances,
        parts=tuple(everything),
    )


def balances_in_order(targets: Sequence[Target], parts: Parts, answers: Sequence[Answer]) -> tuple[Balance, ...]:
    """The figures of targets as the parts' answers have them; none, where one of them is missing."""
    if len(answers) == 1:
        return answers[0].balances
    found: dict[Counter, Balance] = {}
    for part, answer in zip(parts, answers, strict=True):
        if len(part.targets) == len(answer.balances):
            found.update(zip([target.counter for target in part.targets], answer.balances, strict=True))
    try:
        return tuple([found[target.counter] for target in targets])
    except KeyError:
        return ()


_STATES = (State.PENDING, State.EXPIRED, State.FINALIZED, State.RELEASED)


def joined(parts: Sequence[Reservation]) -> Reservation | None:
    """One reservation of what several shards know of it: as long as a part is pending, it is."""
    if not parts:
        return None
    known = [part for part in parts if part.asked is not None] or parts
    first = min(known, key=lambda part: _STATES.index(part.state))
    if len(known) == 1:
        return first
    targets = tuple(sorted(chain.from_iterable(part.targets for part in known), key=lambda target: target.counter))
    created_ms = min(part.created_ms for part in known)
    deadlines = [part.deadline_ms for part in known if part.state is first.state]
    return replace(first, targets=targets, created_ms=created_ms, deadline_ms=min(deadlines))


def recorded_in(status: Status, answers: Sequence[Answer]) -> Reservation | None:
    """What was known of the id, of an answer that says so."""
    return joined([each.recorded for each in answers if each.recorded]) if status in RETURNS_RECORDED else None
