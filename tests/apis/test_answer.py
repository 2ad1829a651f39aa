"""Answers of every kind pass through whole, and tell what they cost."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.answers.answer_reader import AnswerReader
from budget_middleware.apis.bodies.inflater import Inflater
from budget_middleware.apis.openai.chat import OpenAIChat
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.pricing import Usage
from tests.apis.cuts import CUTS, cut, passed

USAGE = {"prompt_tokens": 10, "completion_tokens": 3}
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
JSON = (b"content-type", b"application/json")
GZIP = (b"content-encoding", b"gzip")


def event(**fields):
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


def delta(text, **fields):
    return event(model="gpt-4o", choices=[{"index": 0, "delta": {"content": text}}], **fields)


DONE = b"data: [DONE]\n\n"
STREAM = b": ping\n\n" + delta("hel", usage=None) + delta("lo", usage=None) + event(choices=[], usage=USAGE) + DONE
HIDDEN = b": ping\n\n" + delta("hel") + delta("lo") + DONE
SEEN = Seen(
    usage=Usage(input_tokens=10, output_tokens=3),
    model="gpt-4o",
    text_bytes=5,
    chunks=2,
    terminal=True,
    readable=True,
)
COMPLETION = json.dumps({"choices": [{"message": {"content": "hello"}}], "usage": USAGE}).encode()


def read(body, *headers, hide_usage=False, places=(), max_body_bytes=100_000, status=200):
    """Feed a body, cut at some places; return what was seen, what was forwarded and the headers."""
    reader = AnswerReader(OpenAIChat(), hide_usage=hide_usage, max_body_bytes=max_body_bytes)
    sent = reader.begin(status, list(headers))
    return reader.seen, passed(reader, cut(body, places)), sent


class TestStreams:
    @given(CUTS)
    def test_watching(self, places):
        assert read(STREAM, EVENTS, places=places) == (SEEN, STREAM, [EVENTS])

    @given(CUTS)
    def test_hiding(self, places):
        assert read(STREAM, EVENTS, hide_usage=True, places=places) == (SEEN, HIDDEN, [EVENTS])

    @pytest.mark.parametrize("untold", [(), ((b"content-type", b"text/plain; charset=utf-8"),)], ids=["none", "text"])
    @given(places=CUTS, blanks=st.sampled_from([b"", b"\n", b"\r\n \n"]))
    def test_a_gateway_that_does_not_say_what_it_streams(self, untold, places, blanks):
        """As Starlette's StreamingResponse sends it by default; what it is shows in its first byte."""
        assert read(blanks + STREAM, *untold, places=places) == (SEEN, blanks + STREAM, [*untold])
        assert read(blanks + STREAM, *untold, hide_usage=True, places=places) == (SEEN, blanks + HIDDEN, [*untold])
        for hide_usage in (False, True):
            seen, forwarded, _ = read(blanks + COMPLETION, *untold, hide_usage=hide_usage, places=places)
            assert (seen.usage, forwarded) == (SEEN.usage, blanks + COMPLETION)

    @pytest.mark.parametrize("known", [(b"content-length", b"999"), GZIP], ids=["length", "gzip"])
    def test_what_cannot_be_rewritten_is_only_read(self, known):
        body = gzip.compress(STREAM) if known == GZIP else STREAM
        assert read(body, known, hide_usage=True) == (SEEN, body, [known])

    @given(CUTS, st.booleans())
    def test_gzip_is_read_on_a_copy(self, places, two_members):
        body = gzip.compress(STREAM[:99]) + gzip.compress(STREAM[99:]) if two_members else gzip.compress(STREAM)
        assert read(body, EVENTS, GZIP, places=places) == (SEEN, body, [EVENTS, GZIP])

    def test_a_piece_of_countless_gzip_members_is_not_read(self):
        """Each member's end copies what is behind it: 10 MB of empty ones would take minutes."""
        inflater = Inflater(max_bytes_per_feed=100)
        assert sum(1 for _ in inflater.feed(gzip.compress(b"") * 100_000)) < 2_000
        assert inflater.broken

    @given(CUTS)
    def test_gzip_is_taken_off_to_hide(self, places):
        headers = [EVENTS, (b"Content-Encoding", b"x-gzip"), (b"ETag", b"1"), (b"content-length", b"9")]
        body = gzip.compress(STREAM)
        assert read(body, *headers, hide_usage=True, places=places) == (SEEN, HIDDEN, [EVENTS])

    def test_watched_bytes_are_forwarded_at_once(self):
        reader = AnswerReader(OpenAIChat(), hide_usage=False, max_body_bytes=100)
        reader.begin(200, [EVENTS])
        assert reader.feed(b"data: [DO", last=False) == b"data: [DO"

    def test_the_terminal_event_is_seen_as_soon_as_fed(self):
        reader = AnswerReader(OpenAIChat(), hide_usage=True, max_body_bytes=100)
        reader.begin(200, [EVENTS])
        assert reader.feed(DONE, last=False) == DONE
        assert reader.seen.terminal

    def test_f26_usage_on_the_last_content_chunk(self):
        body = delta("hello", usage=USAGE) + DONE
        seen, forwarded, _ = read(body, EVENTS, hide_usage=True)
        assert seen.usage == SEEN.usage
        assert forwarded == body

    def test_f26_without_usage_the_text_tells(self):
        seen, _, _ = read(delta("x" * 40) + DONE, EVENTS)
        assert (seen.usage, seen.readable, seen.output_tokens) == (None, True, 10)

    def test_a_stream_without_its_last_blank_line(self):
        seen, forwarded, _ = read(STREAM.rstrip(b"\n"), EVENTS, hide_usage=True)
        assert seen == SEEN
        assert forwarded == HIDDEN.rstrip(b"\n")

    def test_the_text_of_a_too_long_event_is_not_claimed_to_be_known(self):
        body = delta("hello") + delta("x" * (1 << 20)) + delta("hello") + event(choices=[], usage=USAGE)
        seen, forwarded, _ = read(body, EVENTS, places=(5000, 50_000))
        assert forwarded == body
        assert not seen.readable
        assert seen.usage == SEEN.usage

    def test_data_over_several_lines_stay_as_they_are(self):
        body = b'data: {"choices":[],\ndata: "usage":null}\n\n'
        assert read(body, EVENTS, hide_usage=True)[1] == body


class TestJson:
    @pytest.mark.parametrize(
        "headers", [(JSON,), ((b"Content-Type", b"application/problem+json; x=y"),), (), (JSON, GZIP)]
    )
    @given(places=CUTS)
    def test_a_completion(self, headers, places):
        body = gzip.compress(COMPLETION) if GZIP in headers else COMPLETION
        seen, forwarded, sent = read(body, *headers, places=places, hide_usage=True)
        assert seen == Seen(usage=SEEN.usage, text_bytes=5, chunks=1, readable=True)
        assert forwarded == body
        assert sent == list(headers)

    @pytest.mark.parametrize("max_body_bytes", [len(COMPLETION) - 1, len(COMPLETION)])
    def test_more_than_the_bound_is_not_kept(self, max_body_bytes):
        for body, headers in ((COMPLETION, [JSON]), (gzip.compress(COMPLETION), [JSON, GZIP])):
            seen, forwarded, _ = read(body, *headers, places=(20,), max_body_bytes=max_body_bytes)
            assert seen.readable == (max_body_bytes == len(COMPLETION))
            assert forwarded == body

    @pytest.mark.parametrize("body", [b"", b"{", b"null", b"[" * 50_000, b"\xff\xfe\x00"])
    def test_what_is_no_completion(self, body):
        assert read(body, JSON) == (Seen(), body, [JSON])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-type", b"audio/mpeg")], 200),
        ([(b"content-type", b"text/html")], 200),
        ([EVENTS, (b"content-encoding", b"br")], 200),
        ([EVENTS, (b"content-encoding", b"gzip, br")], 200),
        ([EVENTS, GZIP, (b"content-encoding", b"br")], 200),
        ([EVENTS], 500),
        ([JSON], 404),
    ],
)
def test_the_rest_is_opaque(headers, status):
    assert read(STREAM, *headers, status=status, hide_usage=True) == (Seen(), STREAM, headers)


class TestHostileBytes:
    @pytest.mark.parametrize("hide_usage", [True, False])
    def test_truncated_gzip(self, hide_usage):
        body = gzip.compress(STREAM)
        for length in range(len(body)):
            seen, forwarded, _ = read(body[:length], EVENTS, GZIP, hide_usage=hide_usage)
            assert HIDDEN.startswith(forwarded.rstrip(b"\n")) or not hide_usage or not seen.terminal

    @pytest.mark.parametrize("hide_usage", [True, False])
    def test_corrupt_gzip(self, hide_usage):
        body = gzip.compress(delta("hello")) + b"garbage" + gzip.compress(DONE)
        seen, forwarded, _ = read(body, EVENTS, GZIP, hide_usage=hide_usage)
        assert forwarded == (delta("hello") if hide_usage else body)
        assert not seen.readable
        assert not seen.terminal

    @pytest.mark.parametrize("headers", [(JSON, GZIP), (EVENTS, GZIP)])
    @pytest.mark.parametrize("hide_usage", [True, False])
    def test_a_gzip_bomb_takes_little_memory(self, headers, hide_usage):
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(b"\n" * (1 << 20)) for _ in range(12)) + packer.flush()
        tracemalloc.start()
        try:
            seen, _, _ = read(bomb, *headers, hide_usage=hide_usage, max_body_bytes=1 << 17)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
        assert not seen.readable

    @given(
        st.binary(max_size=300) | st.binary(max_size=300).map(gzip.compress),
        st.sampled_from([EVENTS, JSON, (b"content-type", b"\xff")]),
        st.sampled_from([GZIP, (b"content-encoding", b""), (b"\xff", b"\xff")]),
        st.booleans(),
        CUTS,
    )
    def test_no_bytes_raise(self, body, content_type, encoding, hide_usage, places):
        read(body, content_type, encoding, hide_usage=hide_usage, places=places, max_body_bytes=200)

    @given(
        st.lists(
            st.sampled_from([b"data: ", b'{"usage":null', b',"choices":', b"[]", b"}", b"\n", b"\r", b"[DONE]"])
        ).map(b"".join),
        CUTS,
    )
    def test_cuts_change_nothing(self, body, places):
        for hide_usage in (True, False):
            whole = read(body, EVENTS, hide_usage=hide_usage)
            assert read(body, EVENTS, hide_usage=hide_usage, places=places) == whole
            assert hide_usage or whole[1] == body


@given(st.binary(max_size=500), st.integers(1, 9))
def test_nothing_is_left_behind_in_the_inflater(data, repeats):
    data *= 200 * repeats
    inflater = Inflater(max_bytes_per_feed=len(data))
    assert b"".join(inflater.feed(gzip.compress(data))) == data
    assert not inflater.broken
