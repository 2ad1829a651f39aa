"""Server-sent events out of bytes."""

import pytest

from budget_middleware.apis.streams.sse import EventSplitter


def split(*pieces):
    splitter = EventSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)] + splitter.flush()


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
