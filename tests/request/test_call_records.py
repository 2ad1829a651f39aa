"""What of a call was watched, as a value: intervals are united, and what is left of its time was not watched."""

import pytest

from budget_middleware.request.jobs.call_records import MOST_INTERVALS, MOST_WATCHERS, CallRecord, unpack_record


def watched(*intervals, **fields):
    record = CallRecord(**fields)
    for interval in intervals:
        record = record.with_watched(interval)
    return record


UNITED = {
    "one": ([(10, 20)], ((10, 20),)),
    "two sidebands at once": ([(10, 20), (15, 30)], ((10, 30),)),
    "one within another": ([(10, 30), (15, 20)], ((10, 30),)),
    "one behind another": ([(10, 20), (20, 30)], ((10, 30),)),
    "a gap": ([(30, 40), (10, 20)], ((10, 20), (30, 40))),
    "one that closes it": ([(30, 40), (10, 20), (15, 35)], ((10, 40),)),
    "one event": ([(10, 10)], ()),
    "the same, which has gone on": ([(10, 20), (10, 25)], ((10, 25),)),
}


@pytest.mark.parametrize("name", UNITED)
def test_intervals_are_united(name):
    intervals, united = UNITED[name]
    assert watched(*intervals).watched == united


def test_what_is_left_was_not_watched():
    record = watched((10, 20), (30, 40))
    assert record.unwatched(from_ms=0, until_ms=50, answer_ms=0) == [(0, 10), (20, 30), (40, 50)]
    assert record.unwatched(from_ms=15, until_ms=35, answer_ms=0) == [(20, 30)]
    assert record.unwatched(from_ms=12, until_ms=18, answer_ms=0) == []
    assert record.unwatched(from_ms=22, until_ms=28, answer_ms=0) == [(22, 28)]
    assert CallRecord().unwatched(from_ms=0, until_ms=50, answer_ms=0) == [(0, 50)]


def test_f69_what_is_made_in_a_gap_is_heard_behind_it():
    record = watched((1_000, 60_000), (62_000, 100_000))
    # Nine times as long as each gap; an answer of five seconds is heard no longer.
    long, short = (record.unwatched(from_ms=0, until_ms=110_000, answer_ms=longest) for longest in (200_000, 5_000))
    assert long == [(0, 10_000), (60_000, 80_000), (100_000, 110_000)]
    assert short == [(0, 6_000), (60_000, 67_000), (100_000, 110_000)]
    assert watched((1_000, 4_000)).unwatched(from_ms=0, until_ms=5_000, answer_ms=200_000) == [
        (0, 4_000),
        (4_000, 5_000),
    ]


def test_a_call_that_has_ended_has_no_time_behind_that():
    record = watched((10, 20), (60, 70)).with_end(30).with_end(45)
    assert record.unwatched(from_ms=0, until_ms=50, answer_ms=0) == [(0, 10), (20, 30)]
    assert watched((10, 20)).with_end(90).unwatched(from_ms=0, until_ms=50, answer_ms=0) == [(0, 10), (20, 50)]


def test_it_is_settled_when_it_has_ended_and_nobody_watches():
    record = CallRecord().with_watcher("a").with_watcher("b").with_watcher("a")
    assert not record.without_watcher("a").without_watcher("b").is_settled
    record = record.with_end(10)
    assert not record.without_watcher("a").is_settled
    assert record.without_watcher("a").without_watcher("b").without_watcher("b").is_settled


def test_whoever_attaches_often_is_kept_in_bounds():
    record = CallRecord()
    for number in range(10 * MOST_INTERVALS):
        record = record.with_watcher(str(number)).with_watched((number * 10, number * 10 + 1 + (number < 3)))
    assert (len(record.watched), len(record.watchers)) == (MOST_INTERVALS, MOST_WATCHERS)
    # The longest are known, and what is forgotten was not watched.
    assert record.watched[:3] == ((0, 2), (10, 12), (20, 22))


@pytest.mark.parametrize(
    "text", [None, "", "null", "[]", "{}", '{"v":2,"watched":[],"watchers":[],"ended":5}', '{"watched":[[1]],"v":1}']
)
def test_what_is_no_record_says_nothing(text):
    assert unpack_record(text) == CallRecord()


def test_a_record_is_kept_as_a_text():
    record = watched((10, 20), (30, 40), watchers=("a",), ended_ms=50)
    assert unpack_record(record.packed()) == record
