"""Each format of streams, wherever it is cut, however long its events, whatever its bytes."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.streams.frames import FrameSplitter
from budget_middleware.apis.streams.json_array import ArraySplitter
from budget_middleware.apis.streams.ndjson import LineSplitter
from budget_middleware.apis.streams.sse import EventSplitter
from tests.apis.cuts import CUTS, as_array, as_frames, as_lines, cut, frame

SSE_PIECES = [b"data: a", b"data:b", b"data", b":comment", b"id: 1", b"\n", b"\r", b"\r\n", b"x", b"\xef\xbb\xbf"]
LINE_PIECES = [b'{"a":1}', b"\n", b"\r\n", b" ", b"x" * 9]
ARRAY_PIECES = [b"[", b"]", b"{", b"}", b'"', b"\\", b",", b"x" * 9, b'{"a":"]}"}', b'"\\"', b" "]
FRAME_PIECES = [frame(b"{}"), frame(b"x" * 9), frame(b""), b"\x00", b"\x00\x00\x00\x10", b"\xff" * 4]
FORMATS = {
    EventSplitter: SSE_PIECES,
    LineSplitter: LINE_PIECES,
    ArraySplitter: ARRAY_PIECES,
    FrameSplitter: FRAME_PIECES,
}
DOCUMENTS = st.lists(
    st.dictionaries(st.text(max_size=3), st.text(st.characters(codec="utf-8"), max_size=5)), max_size=5
)

every_format = pytest.mark.parametrize("splitter", FORMATS)


def split(splitter, pieces, **options):
    made = splitter(**options)
    return [event for piece in pieces for event in made.feed(piece)] + made.flush()


def streams(splitter):
    return st.lists(st.sampled_from(FORMATS[splitter]), max_size=20).map(b"".join)


@every_format
@given(st.data())
def test_cuts_change_nothing_and_no_byte_is_lost(splitter, data):
    stream, places = data.draw(streams(splitter)), data.draw(CUTS)
    whole, pieces = split(splitter, [stream]), split(splitter, cut(stream, places))
    assert b"".join(event.raw for event in whole) == stream
    assert b"".join(event.raw for event in pieces) == stream
    assert [event.data for event in pieces if event.data] == [event.data for event in whole if event.data]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_stream_that_is_cut_in_two_anywhere(line_end):
    """A cut behind `event:` once had the splitter read the same events for ever."""
    stream = b"data: 1\n\nevent: a\ndata: 2\n\nevent:data:\ndata: 3\n\nevent".replace(b"\n", line_end)
    whole = [event.data for event in split(EventSplitter, [stream]) if event.data]
    for place in range(len(stream) + 1):
        events = split(EventSplitter, [stream[:place], stream[place:]])
        assert b"".join(event.raw for event in events) == stream
        assert [event.data for event in events if event.data] == whole == [b"1", b"2", b"3"]


def test_a_byte_order_mark_behind_an_empty_piece_is_none_of_the_event():
    assert [event.data for event in split(EventSplitter, [b"", b"\xef\xbb\xbfdata: a\n\n"])] == [b"a"]


@every_format
@given(st.data())
def test_long_events_pass_unread_wherever_they_are_cut(splitter, data):
    stream, places = data.draw(streams(splitter)), data.draw(CUTS)
    whole = split(splitter, [stream], max_event_bytes=8)
    pieces = split(splitter, cut(stream, places), max_event_bytes=8)
    assert b"".join(event.raw for event in pieces) == stream
    assert [event.data for event in pieces if event.data] == [event.data for event in whole if event.data]


@every_format
@given(st.binary(max_size=200), CUTS)
def test_no_bytes_raise_or_are_lost(splitter, stream, places):
    assert b"".join(event.raw for event in split(splitter, cut(stream, places))) == stream


@pytest.mark.parametrize(
    ("splitter", "write"), [(LineSplitter, as_lines), (ArraySplitter, as_array), (FrameSplitter, as_frames)]
)
@given(documents=DOCUMENTS, places=CUTS)
def test_documents_come_out_as_they_went_in(splitter, write, documents, places):
    events = split(splitter, cut(write(*documents), places))
    assert [json.loads(event.data) for event in events if event.data] == documents


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"[]", []),
        (b' [ {"a": [1, {"b": "]"}]} ,{"c":"\\"}"} ]\n', [b'{"a": [1, {"b": "]"}]}', b'{"c":"\\"}"}']),
        (b'[1, "x", null, {"a":1}]', [b'1, "x", null, {"a":1}']),
        (b'[{"a":1}', [b'{"a":1}']),
        (b'[{"a":1', []),
        (b"]]]]{}", []),
    ],
)
def test_arrays(stream, data):
    assert [event.data for event in split(ArraySplitter, [stream]) if event.data] == data


def test_a_frame_comes_as_soon_as_it_is_complete():
    splitter, raw = FrameSplitter(), frame(b'{"a":1}')
    assert splitter.feed(raw[:-1]) == []
    assert splitter.feed(raw[-1:] + raw[:3]) == [(raw, b'{"a":1}')]


@pytest.mark.parametrize(
    ("splitter", "begin", "end"),
    [
        (EventSplitter, b"data: ", b"\n\ndata: a\n\n"),
        (LineSplitter, b"", b"\na\n"),
        (ArraySplitter, b'[{"x":"', b'"},{"a":1}'),
        (FrameSplitter, (12 + 4 + (50 << 20)).to_bytes(4) + bytes(8), bytes(4) + frame(b"a")),
    ],
)
def test_an_event_of_50_mb_takes_little_memory_and_the_next_one_is_read(splitter, begin, end):
    made, piece = splitter(), b"x" * 65_536
    tracemalloc.start()
    try:
        made.feed(begin)
        for _ in range(50 << 4):
            made.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert made.feed(end)[-1].data in (b"a", b'{"a":1}')
    assert made.skipped


@every_format
@pytest.mark.parametrize("byte", [b"x", b"\\", b'"', b"{", b"\r", b":"])
def test_many_small_pieces_take_linear_time(splitter, byte):
    def seconds(n_pieces):
        made = splitter()
        made.feed(b"[" if splitter is ArraySplitter else b"\x00\x10\x00\x00")
        start = time.thread_time()
        for _ in range(n_pieces):
            made.feed(byte * 4)
        return time.thread_time() - start

    # Sixteen times as many; were every piece looked at anew with all before it, 256 times as long. It is the
    # processor's time, which no other process lengthens. The second try is for a moment in which the core was slow.
    few_s = min(seconds(5_000) for _ in range(3))
    assert any(seconds(80_000) < 100 * few_s for _ in range(2))
