"""Which time of a call the events of a sideband prove: in order, with nothing under way and nothing in line."""

from budget_middleware.sessions.call_watch import WatchedTime


def watch(*events):
    """After events at these seconds, each passed on within so many, while a response was under way or not."""
    time = WatchedTime()
    for came_s, took_s, is_quiet in events:
        time.take(round(came_s * 1_000), came_s=came_s, passed_s=came_s + took_s, is_quiet=is_quiet)
    return time.interval


def test_it_begins_with_the_first_event():
    assert WatchedTime().interval is None
    assert watch((5, 0, True)) == (5_000, 5_000)


def test_it_ends_with_the_last_event():
    assert watch((5, 0, True), (7, 0, True), (12, 0, True)) == (5_000, 12_000)


def test_f69_it_ends_where_no_response_was_under_way():
    assert watch((5, 0, True), (7, 0, True), (9, 0, False), (12, 0, False)) == (5_000, 7_000)
    assert watch((5, 0, True), (7, 0, True), (9, 0, False), (12, 0, True)) == (5_000, 12_000)


def test_f69_a_client_that_stops_reading_watches_nothing():
    # It took the second event after four seconds; those behind it were in line.
    behind = [(9.001, 0, True), (9.002, 0, True), (9.003, 3, True), (12.01, 0, True)]
    assert watch((5, 0, True), (5.5, 3.5, True), *behind) == (5_000, 5_500)


def test_once_it_has_caught_up_all_of_it_was_watched():
    assert watch((5, 0, True), (5.5, 3.5, True), (9.001, 0, True), (10, 0, True)) == (5_000, 10_000)


def test_whoever_reads_slowly_all_the_time_never_catches_up():
    slowly = [(5 + 0.061 * number, 0.06, True) for number in range(1, 100)]
    assert watch((5, 0, True), *slowly) == (5_000, 5_061)


def test_many_events_at_once_keep_none_behind_them():
    assert watch((5, 0, True), (6, 0, True), (6.001, 0, True), (6.002, 0, True)) == (5_000, 6_002)
