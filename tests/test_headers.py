"""Headers are found by name, whatever case they came in, and however often."""

import pytest

from budget_middleware.headers import NO_HEADERS, HeaderTable

ONCE = [(b"host", b"a"), (b"x-team", b"red")]


@pytest.mark.parametrize(
    "headers",
    [
        ONCE,
        [(b"Host", b"a"), (b"X-TEAM", b"red")],
        [*ONCE, (b"x-other", b"1"), (b"X-Other", b"2")],
        [*ONCE, (b"1", b"")],
    ],
)
def test_a_header_is_found_by_its_name_in_lower_case(headers):
    table = HeaderTable(headers)
    assert (table.get(b"host", b""), table.get(b"x-team", b"")) == (b"a", b"red")
    assert list(table.all(b"x-team")) == [b"red"]
    assert set(table.keys() & frozenset({b"x-team", b"x-user"})) == {b"x-team"}


def test_of_a_header_that_comes_again_all_values_are_kept_in_their_order():
    table = HeaderTable([(b"x-team", b"red"), (b"host", b"a"), (b"X-Team", b"blue"), (b"x-team", b"red")])
    assert table.get(b"x-team", b"") == b"red"
    assert list(table.all(b"x-team")) == [b"red", b"blue", b"red"]


@pytest.mark.parametrize("table", [NO_HEADERS, HeaderTable(ONCE)])
def test_a_header_that_is_not_there_is_empty(table):
    assert (table.get(b"x-user", b""), list(table.all(b"x-user"))) == (b"", [])
    assert not set(table.keys() & frozenset({b"x-user"}))


def test_a_credential_among_the_headers_is_not_shown():
    assert "sk-" not in f"{HeaderTable([(b'authorization', b'Bearer sk-1')])!r}"
