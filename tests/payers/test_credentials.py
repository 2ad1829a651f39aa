"""Credentials are read as every app reads them; what apps could read differently is refused."""

import base64
import re
from collections.abc import Callable

import pytest
from fastapi.security.utils import get_authorization_scheme_param
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Scope

from budget_middleware.payers.credentials import TOKEN_HEADERS, AmbiguousTokenError
from budget_middleware.payers.places import token_of
from tests.apis.timing import grows_linearly
from tests.payers.test_payers import payers_of, scope

SIGNED = (
    "AWS4-HMAC-SHA256 Credential={}/20250830/us-east-1/bedrock/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date, Signature=" + "5d672d79" * 8
)
PAIR = base64.b64encode(b"alice:secret!").decode()

AMBIGUOUS = {
    "nested scheme": "Bearer Bearer KEY",
    "nested other scheme": "Basic Bearer KEY",
    "three schemes": "bearer bearer bearer KEY",
    "nested scheme alone": "Bearer Bearer",
    "scheme and blank at its end": "Bearer KEYBearer ",
    "a word more": "Bearer KEY junk",
    "a word before": "junk Bearer KEY",
    "within the word": "Bearer KBearer EY",
    "two joined by a proxy": "Bearer KEY, Bearer OTHER",
    "two words joined": "Bearer KEY,OTHER",
    "a word with a comma": "KEY,OTHER",
    "tab": "Bearer\tKEY",
    "tab after": "Bearer KEY\t",
    "tab before": "\tBearer KEY",
    "folded": "Bearer KEY\r\n junk",
    "zero byte": "Bearer KEY\x00junk",
    "delete": "Bearer KEY\x7f",
    "separator that str.split knows": "Bearer KEY\x1fjunk",
    "no-break space": b"Bearer KEY\xa0junk",
    "no-break space in UTF-8": "Bearer KEY\u00a0junk",
    "wide space in UTF-8": "Bearer KEY\u2003junk",
    "next line": b"Bearer KEY\x85junk",
    "signed, scheme within": "AWS4-HMAC-SHA256 Credential=Bearer  KEY/20250830/x",
    "signed, not well formed": "AWS4-HMAC-SHA256 Credential=KEY",
    "signed in one word": "AWS4-HMAC-SHA256-7Credential=KEY",
    "signed, in another case": SIGNED.format("AKIDEXAMPLE").replace("AWS4", "aws4"),
    "signed twice": f"{SIGNED.format('AKIDEXAMPLE')}, Credential=OTHER",
    "Basic with spare bits": "Basic " + PAIR[:-3] + chr(ord(PAIR[-3]) + 1) + "==",
    "Basic without its padding": f"Basic {PAIR.rstrip('=')}",
    "Basic with a letter that is none": f"Basic {PAIR[:4]}~{PAIR[4:]}",
    "Basic, URL-safe": "Basic " + base64.urlsafe_b64encode(b"alice:>>>???").decode(),
}


@pytest.mark.parametrize("value", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_apps_could_read_in_several_ways(value):
    with pytest.raises(AmbiguousTokenError) as refused:
        token_of(scope(("authorization", value)))
    assert "KEY" not in str(refused.value)


@pytest.mark.parametrize("name", sorted(name.decode() for name in TOKEN_HEADERS - {b"authorization"}))
@pytest.mark.parametrize("value", ["two words", "a\tb", "a,b", "Bearer a b", "Bearer Bearer a", "aws4-x"])
def test_a_header_of_keys_holds_one_word(name, value):
    with pytest.raises(AmbiguousTokenError):
        token_of(scope((name, value)))


@pytest.mark.parametrize("query", [b"key=a%20b", b"key=%20a", b"key=a%0a", b"key=a%00", b"key=a%C2%A0b", b"key=a,b"])
def test_so_does_the_query(query):
    with pytest.raises(AmbiguousTokenError):
        token_of(scope(query=query))


ACCEPTED = {
    "Bearer KEY": "KEY",
    "  bearer   KEY  ": "KEY",
    "KEY": "KEY",
    "Basic KEY": "KEY",
    f"Basic {PAIR}": PAIR,
    # No text comes out of it, so no app can take it for a user and a password.
    "Basic sk-proj-3Q": "sk-proj-3Q",
    "Bearer a.b-c_d~e+f/g=:|": "a.b-c_d~e+f/g=:|",
    SIGNED.format("AKIDEXAMPLE"): "AKIDEXAMPLE",
    SIGNED.format("AKIDEXAMPLE").replace(", ", ","): "AKIDEXAMPLE",
    SIGNED.format("Bearer sk-litellm"): "sk-litellm",
    "Digest username=alice, realm=x": "",
    "Negotiate YII=": "",
    "Token KEY": "",
    "": "",
    "   ": "",
    "Bearer": "",
    "basic ": "",
}


@pytest.mark.parametrize(("value", "token"), ACCEPTED.items())
def test_what_every_app_reads_alike(value, token):
    assert token_of(scope(("authorization", value))) == token


@pytest.mark.parametrize("other", [("x-api-key", "KEY"), ("authorization", "Bearer KEY"), ("api-key", "")])
@pytest.mark.parametrize("value", ["Digest username=alice", "Token KEY", SIGNED.format("Bearer KEY")])
def test_another_scheme_stands_alone(value, other):
    request = scope(("authorization", value), other)
    if not other[1]:
        token_of(request)
        return
    with pytest.raises(AmbiguousTokenError, match="a credential and an authorization of another kind"):
        token_of(request)
    with pytest.raises(AmbiguousTokenError):
        token_of(scope(("authorization", value), query=b"key=KEY"))


def test_a_key_that_litellm_prefers_on_routes_that_it_passes_through():
    request = scope(("authorization", "Bearer random"), ("litellm_user_api_key", "KEY"))
    with pytest.raises(AmbiguousTokenError, match="two API keys that differ"):
        token_of(request)


REPEATED = {
    "header:x-team": scope(("x-team", "red"), ("x-team", "blue")),
    "header:x-api-key": scope(("x-api-key", "red"), ("x-api-key", "blue")),
    "query:team": scope(query=b"team=red&team=blue"),
    "query:key": scope(query=b"key=red&key=blue"),
}


@pytest.mark.parametrize(("source", "request_"), REPEATED.items(), ids=REPEATED)
async def test_a_source_that_is_repeated_with_another_value(source, request_):
    """Starlette reads the first header and the last parameter; other frameworks do the opposite."""
    with pytest.raises(AmbiguousTokenError):
        await payers_of(f"team={source}", request_)


@pytest.mark.parametrize("unit", [" ", "a", "a ", "bearer ", "\t", ",", "Basic", "AWS4-HMAC-SHA256 ", "\u00a0", "="])
@pytest.mark.parametrize("end", ["", "\x01", " \t"])
@pytest.mark.parametrize("start", ["", "bearer ", "Digest ", "AWS4-HMAC-SHA256 Credential="])
def test_a_header_of_64_kb_takes_no_time(start, unit, end):
    assert grows_linearly(lambda text: reading_of(scope(("authorization", start + text))), unit, end=end)


def reading_of(request) -> str | None:
    """Our reading; None for a refusal."""
    try:
        return token_of(request)
    except AmbiguousTokenError:
        return None


def fastapi_reading(request) -> str:
    scheme, credential = get_authorization_scheme_param(Request(request).headers.get("authorization"))
    return credential if scheme.lower() == "bearer" else ""


def read_by(read) -> Callable[[Scope], str]:
    return lambda request: read(Request(request).headers.get("authorization", ""))


READERS = {
    "fastapi": fastapi_reading,
    "second word": read_by(lambda value: [*value.split(), "", ""][1]),
    "last word": read_by(lambda value: ["", *value.split()][-1]),
    "no scheme": read_by(lambda value: value.replace("Bearer ", "").strip()),
    "a search": read_by(lambda value: [*re.findall(r"Bearer\s+(\S+)", value), ""][0]),
}
PIECES = st.sampled_from(
    [
        "Bearer",
        "bearer",
        "Basic",
        "KEY",
        "other",
        "Token",
        " ",
        "  ",
        "\t",
        ",",
        "\xa0",
        "\x85",
        "\x1f",
        "=",
        "\u00e9",
        "Credential=",
    ]
)


@given(st.lists(PIECES, max_size=6).map("".join))
@example("Bearer Bearer KEY")
@example("Bearer KEY junk")
@example("Bearer KEY\xa0")
def test_no_app_reads_a_key_where_we_read_another_one(value):
    assert_no_new_key(value.encode("latin-1"))


def assert_no_new_key(authorization: bytes) -> None:
    """If an app would accept KEY, we charge KEY or no key, or refuse the request; we never charge another key."""
    request = scope(("authorization", authorization))
    ours = reading_of(request)
    for name, read in READERS.items():
        if read(request) == "KEY":
            assert ours in ("KEY", "", None), (name, ours)


def handshake(*names, query=b"", **headers):
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    named = [("sec-websocket-protocol", name) for name in names]
    return {**scope(*named, *given, query=query), "type": "websocket"}


class TestHandshakes:
    """What browsers can send: no headers, but subprotocols and a query."""

    @pytest.mark.parametrize(
        "names",
        [
            ["realtime, openai-insecure-api-key.KEY, openai-beta.realtime-v1"],
            ["realtime", "openai-insecure-api-key.KEY"],
            ["openai-insecure-api-key.KEY,realtime,openai-insecure-api-key.KEY"],
        ],
        ids=["listed", "in headers of their own", "twice"],
    )
    def test_a_key_among_the_subprotocols(self, names):
        assert token_of(handshake(*names)) == "KEY"

    def test_a_key_that_the_server_has_taken_out_of_the_headers(self):
        request = {**handshake(), "subprotocols": ["realtime", "openai-insecure-api-key.KEY"]}
        assert token_of(request) == "KEY"
        with pytest.raises(AmbiguousTokenError, match="two API keys that differ"):
            token_of({**request, **handshake(authorization="Bearer OTHER"), "subprotocols": request["subprotocols"]})

    def test_a_key_in_the_query_of_azure(self):
        assert token_of(handshake(query=b"api-version=1&api-key=KEY")) == "KEY"

    def test_one_key_in_several_places(self):
        request = handshake("openai-insecure-api-key.KEY", query=b"api-key=KEY", authorization="Bearer KEY")
        assert token_of(request) == "KEY"

    @pytest.mark.parametrize("name", ["realtime", "openai-insecure-api-key.", "x-openai-insecure-api-key.KEY"])
    def test_no_key_among_the_subprotocols(self, name):
        assert token_of(handshake(name)) == ""

    @pytest.mark.parametrize(
        "request_",
        [
            handshake("openai-insecure-api-key.KEY", authorization="Bearer OTHER"),
            handshake("openai-insecure-api-key.KEY, openai-insecure-api-key.OTHER"),
            handshake("openai-insecure-api-key.KEY", query=b"api-key=OTHER"),
            handshake(query=b"api-key=KEY&api-key=OTHER"),
            handshake("openai-insecure-api-key.KEY", query=b"key=OTHER"),
        ],
        ids=["and a header", "two", "and the query", "two in the query", "and Google's query"],
    )
    def test_two_keys_that_differ(self, request_):
        with pytest.raises(AmbiguousTokenError, match="two API keys that differ"):
            token_of(request_)

    @pytest.mark.parametrize("query", [b"api-key=KEY%20junk", b"api-key=KEY,OTHER"])
    def test_more_than_a_word_in_the_query(self, query):
        with pytest.raises(AmbiguousTokenError, match="the query parameter api-key must hold one API key"):
            token_of(handshake(query=query))

    def test_requests_have_no_keys_there(self):
        """No app reads these places of a request, and a stranger could have one refused by them."""
        request = handshake("openai-insecure-api-key.OTHER", query=b"api-key=OTHER", authorization="Bearer KEY")
        assert token_of({**request, "type": "http"}) == "KEY"
