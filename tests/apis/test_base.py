"""Reading numbers, text and JSON from whoever sends them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.base import (
    MAX_TOKENS,
    MEDIA_TOKENS,
    UNREADABLE,
    BadRequestError,
    Seen,
    ask_from_length,
    input_tokens_of,
    parse_body,
    text_bytes_of,
    token_count,
    whole_number,
)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters()), children),
)
DEEP = b"[" * 100_000


class TestParseBody:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le"])
    def test_every_encoding_of_json(self, encoding):
        assert parse_body(json.dumps({"model": "gpt-4o"}).encode(encoding)) == {"model": "gpt-4o"}

    @pytest.mark.parametrize(
        ("raw", "value"),
        [
            (b"null", None),
            (b"1e400", float("inf")),
            (b"-Infinity", float("-inf")),
            (b'"\\ud800"', "\ud800"),
            (b'"\xed\xa0\x80"', "\ud800"),
            (b'{"a": 1, "a": 2}', {"a": 2}),
        ],
    )
    def test_lenient_json(self, raw, value):
        assert parse_body(raw) == value

    @pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"a=1", DEEP, b'{"a":' * 100_000, b"1" * 5_000])
    def test_no_json(self, raw):
        assert parse_body(raw) is UNREADABLE

    @given(st.binary())
    def test_no_bytes_raise(self, raw):
        parse_body(raw)


class TestText:
    @pytest.mark.parametrize(
        ("value", "n_bytes"),
        [
            (None, 0),
            (True, 0),
            (12, 0),
            ("abc", 3),
            ("äöü", 6),
            ("\ud800", 3),
            (["ab", ["c", None]], 3),
            ({"key": "value", "more": {"k": 1}}, 13),
            ({"type": []}, 4),
        ],
    )
    def test_bytes(self, value, n_bytes):
        assert text_bytes_of(value) == n_bytes

    @pytest.mark.parametrize("kind", MEDIA_TOKENS)
    def test_base64_is_not_text(self, kind):
        part = {"type": kind, kind: {"url": "data:;base64," + "A" * 100_000}}
        tokens = input_tokens_of([part, part])
        assert 2 * MEDIA_TOKENS[kind] < tokens < 2 * MEDIA_TOKENS[kind] + 30

    def test_text_beside_media_counts(self):
        assert input_tokens_of({"type": "image_url", "image_url": "x", "text": "y" * 400}) > 1_600

    def test_a_type_alone_is_no_media(self):
        assert input_tokens_of({"type": "file", "text": "y" * 400}) < 110

    def test_depth_does_not_matter(self):
        value: object = "text"
        for _ in range(100_000):
            value = [value]
        assert text_bytes_of(value) == 4

    @given(ANY_JSON)
    def test_no_json_raises(self, value):
        assert input_tokens_of(value) >= 0


class TestWholeNumber:
    @pytest.mark.parametrize(
        ("value", "number"), [(None, None), (1, 1), (16.0, 16), (1e300, int(1e300)), (10**4000, 10**4000)]
    )
    def test_accepted(self, value, number):
        assert whole_number({"n": value}, "n") == number
        assert whole_number({}, "n") is None

    @pytest.mark.parametrize(
        "value",
        [0, -1, -100_000, 0.0, 1.5, True, False, "abc", "12", [], {}, [[1]], float("nan"), float("inf")],
    )
    def test_refused_in_one_line(self, value):
        with pytest.raises(BadRequestError, match=r"^n must be a whole number above 0, not [^\n]+$"):
            whole_number({"n": value}, "n")

    def test_refused_above_the_most(self):
        assert whole_number({"n": 128}, "n", at_most=128) == 128
        with pytest.raises(BadRequestError, match="1 to 128, not 129"):
            whole_number({"n": 129}, "n", at_most=128)

    def test_what_is_shown_of_a_long_value_is_short(self):
        with pytest.raises(BadRequestError) as error:
            whole_number({"n": "x\n" * 10_000}, "n")
        assert len(str(error.value)) < 100

    @given(ANY_JSON)
    def test_nothing_else_is_raised(self, value):
        try:
            number = whole_number({"n": value}, "n", at_most=10)
        except BadRequestError:
            return
        assert number is None or 1 <= number <= 10


@pytest.mark.parametrize(("value", "count"), [(0, 0), (12, 12), (12.0, 12), (MAX_TOKENS, MAX_TOKENS)])
def test_token_count(value, count):
    assert token_count(value) == count


@pytest.mark.parametrize(
    "value", [-1, 1.5, True, "12", {}, [], None, float("nan"), float("inf"), 1e300, MAX_TOKENS + 1]
)
def test_no_token_count(value):
    assert token_count(value) is None


def test_an_unreadable_request_counts_by_its_length():
    assert ask_from_length(10).input_tokens == 3


def test_output_seen():
    assert Seen(text_bytes=41, chunks=3).output_tokens == 11
    assert Seen(text_bytes=4, chunks=3).output_tokens == 3
