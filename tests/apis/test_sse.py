"""Events out of bytes, wherever they are cut."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis import sse
from budget_middleware.apis.sse import EventSplitter

PIECES = [b"data: a", b"data:b", b"data", b":comment", b"id: 1", b"\n", b"\r", b"\r\n", b"x", b"\xef\xbb\xbf"]
STREAMS = st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join)


def split(*pieces):
    splitter = EventSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)] + splitter.flush()


def cut(stream, places):
    places = sorted(place % (len(stream) + 1) for place in places)
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a \n\n", [b" a "]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\ndata\n\n", [b"\n"]),
        (b"event: x\nid: 1\ndata: a\nretry: 5\n\n", [b"a"]),
        (b": ping\n\ndata: a\n\n", [None, b"a"]),
        (b"datax: a\n\n", [None]),
        (b"\n\ndata: a\n\n\n\n", [None, b"a", None]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a", None]),
        (b"data: a\x0bb\x1cc\n\n", [b"a\x0bb\x1cc"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        (b"", []),
    ],
)
def test_events(stream, data):
    assert [event.data for event in split(stream)] == data


def test_an_event_comes_as_soon_as_it_is_complete():
    splitter = EventSplitter()
    assert splitter.feed(b"data: [DONE]\n") == []
    assert splitter.feed(b"\nda") == [(b"data: [DONE]\n\n", b"[DONE]")]


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_cuts_change_nothing_and_no_byte_is_lost(stream, places):
    whole = split(stream)
    assert b"".join(event.raw for event in whole) == stream
    assert split(*cut(stream, places)) == whole


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_long_events_pass_unread_wherever_they_are_cut(stream, places):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "MAX_EVENT_BYTES", 8)
        whole, pieces = split(stream), split(*cut(stream, places))
    assert b"".join(event.raw for event in pieces) == stream
    assert [event.data for event in pieces if event.data] == [event.data for event in whole if event.data]


def test_memory_is_bounded():
    splitter = EventSplitter()
    line = b"x" * 65_536
    for _ in range(64):
        splitter.feed(line)
        assert len(splitter._rest) <= sse.MAX_EVENT_BYTES
    assert splitter.skipped
    assert splitter.feed(b"\n\ndata: a\n\n")[-1].data == b"a"


def test_many_small_pieces_of_a_long_line_take_linear_time():
    def seconds(n_pieces):
        splitter = EventSplitter()
        start = time.perf_counter()
        for _ in range(n_pieces):
            splitter.feed(b"xxxx")
        return time.perf_counter() - start

    assert min(seconds(80_000) for _ in range(2)) < 16 * min(seconds(10_000) for _ in range(2))
