"""One window of a budget: calls arrive, hold, outgrow their holds and end, on a clock that jumps to the next event.

Theory of operation. A heap has what is to happen next. A call arrives and reserves; if it is admitted, its end and, if
it will outgrow its hold, that moment are put on the heap. All that happens is told to a real store, whose clock stands
at that moment.

Only the replay knows what calls will cost in truth. A gateway that knew it too would admit them in their order until
the budget is spent: these calls are *affordable*. The refusal of one of them is *early* if the budget would have
covered it beside all that were admitted.
"""

import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from benchmarks.replay.rules import Hold, Rule
from benchmarks.replay.traces import FIRST_TOKEN_S, Call
from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Finalize, Grow, Reserve
from budget_middleware.core.windows import Period, window_at
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.stores.retention import Retention

BEAT_S = 20
"""How often a gateway looks at answers of which it sees nothing: each third of a lease."""

_STARTS_MS = 1_750_000_000_000
# Longer than any answer takes: what leases do is none of this measurement.
_LEASE_MS = 86_400_000
_WINDOW = window_at(Period.TOTAL, time_ms=_STARTS_MS, timezone=ZoneInfo("UTC"))
_RETENTION = Retention(remember_ms=60_000, journal_max=1_000)

_Reply = TypeVar("_Reply")


@dataclass(slots=True)
class Outcome:
    """What came of one window, in nano-dollars and calls. ``beyond``: answers that cost more than they held at last."""

    limit_nanos: int
    affordable: int = 0
    early: int = 0
    answers: int = 0
    grows: int = 0
    beyond: int = 0
    spent_nanos: int = 0
    reserved_nanos: int = 0

    @property
    def overspent(self) -> float:
        """By which part of the limit more was spent."""
        return max(0.0, self.spent_nanos / self.limit_nanos - 1)


@dataclass(slots=True)
class _Request:
    """A call of this window. It is settled when it was refused or admitted, and holds nothing before."""

    id: str
    call: Call
    is_affordable: bool
    is_settled: bool = False
    hold: Hold | None = None
    since_ms: int = 0


def replay(
    calls: Sequence[Call], rule: Rule, *, limit_nanos: int, wait_s: float = 0, to_last_cent: bool = False
) -> Outcome:
    """The window that begins with the first of these calls.

    Calls wait at most so long for what others hold. With ``to_last_cent`` one is admitted with what is left, where that
    covers its expected cost and nothing else is held.
    """
    return _Replay(rule, limit_nanos, wait_ms=round(wait_s * 1000), to_last_cent=to_last_cent).run(calls)


class _Replay:
    def __init__(self, rule: Rule, limit_nanos: int, *, wait_ms: int, to_last_cent: bool) -> None:
        self._rule = rule
        self._limit_nanos = limit_nanos
        self._wait_ms = wait_ms
        self._to_last_cent = to_last_cent
        self._now_ms = _STARTS_MS
        self._store = MemoryStore(_RETENTION, clock_ms=lambda: self._now_ms)
        self._targets = (Target("team:replay", _WINDOW, limit_nanos),)
        self._outcome = Outcome(limit_nanos)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._queue: deque[_Request] = deque()
        # What all calls that were admitted come to in the end.
        self._committed_nanos = 0

    def run(self, calls: Sequence[Call]) -> Outcome:
        self._await_next(self._requests(calls), began_s=calls[0].at_s)
        while self._events:
            self._now_ms, _, happen = heapq.heappop(self._events)
            happen()
        for view in _reply(self._store.counters()):
            self._outcome.reserved_nanos = view.balance.reserved
            assert view.balance.spent == self._outcome.spent_nanos, "the store books what the calls cost"
        return self._outcome

    def _schedule(self, at_ms: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(self._now_ms, round(at_ms)), next(self._numbers), happen))

    # Calls that come.

    def _requests(self, calls: Sequence[Call]) -> Iterator[_Request]:
        left_nanos = self._limit_nanos
        for number, call in enumerate(calls):
            is_affordable = call.cost_nanos <= left_nanos
            if is_affordable:
                left_nanos -= call.cost_nanos
                self._outcome.affordable += 1
            yield _Request(str(number), call, is_affordable)

    def _await_next(self, requests: Iterator[_Request], *, began_s: float) -> None:
        request = next(requests, None)
        # Who comes when all is spent is refused, and rightly so.
        if request is not None and self._outcome.spent_nanos < self._limit_nanos:
            arrive = partial(self._arrive, request, requests, began_s)
            self._schedule(_STARTS_MS + (request.call.at_s - began_s) * 1000, arrive)

    def _arrive(self, request: _Request, others: Iterator[_Request], began_s: float) -> None:
        if self._queue:
            self._wait(request)
        elif not (answer := self._reserve(request)).admits:
            if self._wait_ms and _is_held(answer):
                self._wait(request)
            else:
                self._refuse(request)
        self._await_next(others, began_s=began_s)

    def _reserve(self, request: _Request) -> Answer:
        hold = self._rule.hold(request.call)
        answer = self._try(request, hold)
        rejection = answer.rejection
        if self._to_last_cent and rejection is not None and rejection.balance.reserved == 0:
            left_nanos = rejection.limit - rejection.balance.spent
            if left_nanos >= hold.expected_nanos:
                return self._try(request, hold._replace(nanos=left_nanos))
        return answer

    def _try(self, request: _Request, hold: Hold) -> Answer:
        call = request.call
        verb = Reserve(request.id, self._targets, Amounts(hold.nanos), _LEASE_MS, wants_entries=False)
        answer = _reply(self._store.reserve(verb))
        if answer.admits:
            request.is_settled, request.hold, request.since_ms = True, hold, self._now_ms
            self._committed_nanos += call.cost_nanos
            self._schedule_growth(request)
            self._schedule(self._now_ms + call.seconds * 1000, partial(self._end, request))
        return answer

    def _refuse(self, request: _Request) -> None:
        request.is_settled = True
        is_covered = self._committed_nanos + request.call.cost_nanos <= self._limit_nanos
        self._outcome.early += request.is_affordable and is_covered

    # Calls that wait for what others hold, in the order in which they came.

    def _wait(self, request: _Request) -> None:
        self._queue.append(request)
        self._schedule(self._now_ms + self._wait_ms, partial(self._give_up, request))

    def _give_up(self, request: _Request) -> None:
        """It has waited long enough: it asks once more, wherever it stands, and then goes."""
        if request.is_settled:
            return
        self._queue.remove(request)
        if not self._reserve(request).admits:
            self._refuse(request)
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        while self._queue:
            answer = self._reserve(self._queue[0])
            if not answer.admits and _is_held(answer):
                return
            request = self._queue.popleft()
            if not answer.admits:
                self._refuse(request)

    # Calls that were admitted.

    def _schedule_growth(self, request: _Request) -> None:
        """When its answer has come to more than is held; not at all if it will not."""
        call, hold = request.call, request.hold
        assert hold is not None, "it was admitted"
        if call.is_stream:
            after_s = FIRST_TOKEN_S + (hold.tokens + 1) / call.tokens_per_s
        else:
            after_s = (hold.tokens / hold.tokens_per_s // BEAT_S + 1) * BEAT_S
        if after_s < call.seconds:
            seen_tokens = hold.tokens + 1 if call.is_stream else int(after_s * hold.tokens_per_s)
            grown = self._rule.grow(hold, seen_tokens=seen_tokens)
            if grown.nanos > hold.nanos:
                self._schedule(request.since_ms + after_s * 1000, partial(self._grow, request, grown))

    def _grow(self, request: _Request, grown: Hold) -> None:
        verb = Grow(request.id, Amounts(grown.nanos), _LEASE_MS, wants_entries=False)
        answer = _reply(self._store.grow(verb))
        assert answer.status is Status.GROWN, "it is pending until it ends"
        request.hold = grown
        self._outcome.grows += 1
        self._schedule_growth(request)

    def _end(self, request: _Request) -> None:
        call, hold, outcome = request.call, request.hold, self._outcome
        assert hold is not None, "it was admitted"
        verb = Finalize(request.id, self._targets, Amounts(call.cost_nanos), wants_entries=False)
        answer = _reply(self._store.finalize(verb))
        assert answer.status is Status.FINALIZED, "it was pending"
        outcome.answers += 1
        outcome.spent_nanos += call.cost_nanos
        outcome.beyond += call.cost_nanos > hold.nanos
        self._rule.learn(call)
        self._admit_waiting()


def _is_held(answer: Answer) -> bool:
    """Whether only what others hold stands in the way."""
    return answer.rejection is not None and answer.rejection.is_held


def _reply(asked: Coroutine[Any, Any, _Reply]) -> _Reply:
    """What a memory store answers: it waits for nothing, so its coroutines end at their first step."""
    try:
        asked.send(None)
    except StopIteration as ended:
        reply: _Reply = ended.value
        return reply
    raise AssertionError("a memory store waits for nothing")
