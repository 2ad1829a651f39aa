"""Shortest stories of what the simulator has found, in the order in which it found them."""

from dataclasses import replace

import pytest
from msgspec import structs

from budget_middleware.core.answers import Answer
from budget_middleware.ledger.calls.deferred_spans import DeferredSpans
from budget_middleware.ledger.calls.monitor import StoreMonitor, StorePosition
from budget_middleware.ledger.endings import endings
from budget_middleware.stores.records.limit_table import LimitTable
from tests.simulation.plan import CallFault, Event, Fault, Kind, Plan, Play
from tests.simulation.run import simulate
from tests.simulation.small import PLAN, REQUEST

LIMITS_CHANGED_AFTER_A_FLUSH = replace(
    PLAN,
    limit_in_estimates=1_000,
    requests=(replace(REQUEST, at_ms=100), replace(REQUEST, number=2, at_ms=400)),
    events=(
        Event(0, Kind.LIMIT, about=0, amount=10, number=10_000),
        Event(200, Kind.EMPTIED),
        Event(300, Kind.LIMIT, about=0, amount=1, number=10_001),
    ),
)
"""The store counts its versions of limits from the beginning again, and a gateway knows other limits by that number."""

AN_ENDING_LOST_IN_A_FAILOVER = replace(
    PLAN,
    requests=(replace(REQUEST, pause_ms=30), replace(REQUEST, number=2, at_ms=1_200)),
    events=(Event(120, Kind.FAILOVER, for_ms=100),),
)
"""The replica has the reserve, not the ending. The next call writes as much as was lost: seq has not gone back."""

AN_ENDING_LOST_BEHIND_OTHERS_WRITES = replace(
    PLAN,
    workers=2,
    skews_ms=(0, 0),
    requests=(
        replace(REQUEST, pause_ms=30),
        *(replace(REQUEST, number=number, at_ms=1_200 + 10 * number, worker=1) for number in range(2, 5)),
        replace(REQUEST, number=9, at_ms=1_400),
    ),
    events=(Event(120, Kind.FAILOVER, for_ms=100),),
)
"""As before, and by the time that its worker asks again others have written more than was lost."""

A_RELEASE_LOST_BEHIND_OTHERS_WRITES = replace(
    AN_ENDING_LOST_BEHIND_OTHERS_WRITES,
    on_abort="release",
    requests=(
        replace(REQUEST, play=Play.BREAKS, pause_ms=30),
        *AN_ENDING_LOST_BEHIND_OTHERS_WRITES.requests[1:],
    ),
)
"""As before, and what was lost came to nothing: its entries may be dropped early, but not be others'."""

AN_ENDING_LOST_THAT_WAS_ACKNOWLEDGED_WITHOUT_ENTRIES = replace(
    AN_ENDING_LOST_BEHIND_OTHERS_WRITES,
    requests=(
        replace(REQUEST, pause_ms=30, faults=(CallFault(1, Fault.REPLY_LOST, 5),)),
        *AN_ENDING_LOST_BEHIND_OTHERS_WRITES.requests[1:],
    ),
)
"""The answer that told its entries got lost; its repetition was told that all is done, before the failover."""

AN_ENDING_LOST_OF_WHICH_NOTHING_COULD_BE_READ = replace(
    AN_ENDING_LOST_THAT_WAS_ACKNOWLEDGED_WITHOUT_ENTRIES, house_faults=((0, CallFault(0, Fault.REPLY_LOST, 5)),)
)
"""As before, and the question for the entry that stood last got no answer."""

A_RESERVE_APPLIED_LONG_AFTER_IT_WAS_GIVEN_UP = replace(
    PLAN,
    requests=(replace(REQUEST, pause_ms=3_000, faults=(CallFault(0, Fault.DELAYED, 2_000),)),),
)
"""The journal was searched for its entries before they were there, and never again."""


A_COPY_THAT_OVERTAKES_ITS_CALL = replace(
    PLAN,
    requests=(replace(REQUEST, pause_ms=200, faults=(CallFault(1, Fault.DUPLICATED, 60),)),),
    events=(Event(100, Kind.SLOW, for_ms=2_000), Event(230, Kind.SLOW, for_ms=500)),
)
"""The copy books, and the call itself is told only that all is done."""


def told(plan: Plan) -> str:
    outcome = simulate(plan, keeps_story=True)
    return "\n".join(outcome.story) if outcome.violation else ""


def test_limits_that_are_set_after_a_flush_bind_at_the_next_reserve():
    assert not told(LIMITS_CHANGED_AFTER_A_FLUSH)


@pytest.mark.parametrize(
    "plan",
    [
        AN_ENDING_LOST_IN_A_FAILOVER,
        AN_ENDING_LOST_BEHIND_OTHERS_WRITES,
        A_RELEASE_LOST_BEHIND_OTHERS_WRITES,
        AN_ENDING_LOST_THAT_WAS_ACKNOWLEDGED_WITHOUT_ENTRIES,
        AN_ENDING_LOST_OF_WHICH_NOTHING_COULD_BE_READ,
    ],
)
def test_an_ending_that_a_failover_lost_is_sent_again(plan: Plan):
    assert not told(plan)


def test_a_reserve_that_is_applied_late_is_told():
    assert not told(A_RESERVE_APPLIED_LONG_AFTER_IT_WAS_GIVEN_UP)


def test_what_a_copy_did_that_overtook_its_call_is_told():
    assert not told(A_COPY_THAT_OVERTAKES_ITS_CALL)


def test_the_stories_still_tell_of_it(monkeypatch: pytest.MonkeyPatch):
    def count(table: LimitTable, _: int) -> None:
        table.version += 1

    async def look_for_nothing(_: StoreMonitor) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(endings, "RETURNS_RECORDED", frozenset())
        assert "no span tells" in told(A_COPY_THAT_OVERTAKES_ITS_CALL)
    with monkeypatch.context() as patch:
        patch.setattr(StoreMonitor, "learn_latest", lambda *_: None)
        assert "not ended again" in told(AN_ENDING_LOST_THAT_WAS_ACKNOWLEDGED_WITHOUT_ENTRIES)
    record_reply = StoreMonitor.record_reply

    def record_without_its_own(self: StoreMonitor, answer: Answer, before: StorePosition, *, now_s: float) -> None:
        record_reply(self, structs.replace(answer, written=0), before, now_s=now_s)

    monkeypatch.setattr(LimitTable, "_advance", count)
    monkeypatch.setattr(StoreMonitor, "look_for_loss", look_for_nothing)
    monkeypatch.setattr(DeferredSpans, "retry", lambda _: None)
    assert "its limit is" in told(LIMITS_CHANGED_AFTER_A_FLUSH)
    assert "not ended again" in told(AN_ENDING_LOST_BEHIND_OTHERS_WRITES)
    assert "not ended again" in told(A_RELEASE_LOST_BEHIND_OTHERS_WRITES)
    assert "no span tells" in told(A_RESERVE_APPLIED_LONG_AFTER_IT_WAS_GIVEN_UP)
    assert not told(AN_ENDING_LOST_IN_A_FAILOVER)
    monkeypatch.setattr(StoreMonitor, "record_reply", record_without_its_own)
    assert "not ended again" in told(AN_ENDING_LOST_IN_A_FAILOVER)
