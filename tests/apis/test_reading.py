"""Reading numbers, names and JSON from whoever sends them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.form import Form
from budget_middleware.apis.bodies.reading import (
    MAX_TOKENS,
    UNREADABLE,
    cost_nanos,
    first_count,
    largest,
    milliseconds,
    name_in,
    parse_body,
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


class TestWholeNumber:
    @pytest.mark.parametrize(
        ("value", "number"),
        [
            (None, None),
            (1, 1),
            (16.0, 16),
            ("12", 12),
            (" +12.0 ", 12),
            (1e300, int(1e300)),
            (10**4000, 10**4000),
        ],
    )
    def test_accepted(self, value, number):
        assert whole_number({"n": value}, "n") == number
        assert whole_number({}, "n") is None

    @pytest.mark.parametrize(
        "value",
        [
            0,
            -1,
            -100_000,
            0.0,
            1.5,
            True,
            False,
            "abc",
            "12x",
            "-1",
            "1.5",
            "1_0",
            "1e3",
            "9" * 21,
            "٣",
            [],
            {},
            [[1]],
            float("nan"),
            float("inf"),
        ],
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
    "value", [-1, 1.5, True, "twelve", "1.5", {}, [], None, float("nan"), float("inf"), 1e300, MAX_TOKENS + 1]
)
def test_no_token_count(value):
    assert token_count(value) is None


def test_figures_as_texts():
    assert (token_count("12"), token_count(" 12.0 "), milliseconds("203.5")) == (12, 12, 203_500)


def test_the_fields_of_a_form_are_text():
    assert whole_number(Form(n="12"), "n") == 12
    for text in ("", "-1", "1.5", "0", "٤", "9" * 30, "1e3"):
        with pytest.raises(BadRequestError):
            whole_number(Form(n=text), "n")


def test_the_largest_of_several_numbers():
    assert largest({"a": 1, "b": 5, "c": None}, "a", "b", "c", "d") == 5
    assert largest({}, "a") is None
    with pytest.raises(BadRequestError, match="b must be"):
        largest({"a": 1, "b": "5x"}, "a", "b")


def test_the_first_of_several_counts():
    assert first_count({"a": "x", "b": 3, "c": 4}, "a", "b", "c") == 3
    assert first_count({"a": -1}, "a", "b") == 0


@pytest.mark.parametrize(("seconds", "ms"), [(0, 0), (3.4, 3_400), (12, 12_000)])
def test_milliseconds(seconds, ms):
    assert milliseconds(seconds) == ms


@pytest.mark.parametrize("seconds", [None, True, "a minute", "-1", -1, float("nan"), float("inf"), 1e300, [], 10**400])
def test_what_is_no_duration(seconds):
    assert milliseconds(seconds) is None
    assert cost_nanos(seconds) is None


@pytest.mark.parametrize(
    ("cost", "nanos"),
    [
        ("1", 10**9),
        ("0.0125", 12_500_000),
        ("1.25e-05", 12_500),
        ("-1", None),
        ("nan", None),
        ("1e99", None),
        ("", None),
    ],
)
def test_a_cost_as_text(cost, nanos):
    assert cost_nanos(cost) == nanos


@pytest.mark.parametrize(
    ("value", "name"), [("x", "x"), ("x" * 256, "x" * 256), ("x" * 257, None), ("", None), (1, None)]
)
def test_names(value, name):
    assert name_in({"model": value}, "model") == name


@given(
    ANY_JSON.map(json.dumps).map(str.encode)
    | st.binary(max_size=30)
    | st.text(st.sampled_from('{}[],:"0123456789.eE+-\\u naltrufs'), max_size=30).map(str.encode)
)
def test_the_fast_parser_and_the_lenient_one_agree(raw: bytes):
    """What the fast one takes the lenient one reads to the same, and what it refuses the lenient one decides."""
    try:
        expected = json.loads(raw)
    except (ValueError, RecursionError):
        expected = UNREADABLE
    assert repr(parse_body(raw)) == repr(expected)
