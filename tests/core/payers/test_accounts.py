import hashlib
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budget_middleware.core.payers.accounts import (
    ABSENT,
    account_of,
    canonical_pattern,
    compound_of,
    encode_subject,
    key_id,
    kind_of,
    parse_account,
    parse_pattern,
    parts_of,
)

any_text = st.text(st.characters(), min_size=1, max_size=300)  # with lone surrogates
HASH = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        ("gpt-4o", "gpt-4o"),
        ("A-Za-z0-9._~/@:-", "A-Za-z0-9._~/@:-"),
        ("a+b;c=d*e%f", "a%2Bb%3Bc%3Dd%2Ae%25f"),
        ("search team", "search%20team"),
        ("Zoë", "Zo%C3%AB"),
        ("\ud800", "%ED%A0%80"),
        ("a\x00\n", "a%00%0A"),
        ("*", "%2A"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "~" + hashlib.sha256(b"x" * 257).hexdigest()[:32]),
        ("ë" * 43, "~" + hashlib.sha256("ë".encode() * 43).hexdigest()[:32]),
        # Texts that have a meaning of their own are not for clients to name.
        ("-", "%2D"),
        ("--", "--"),
        (f"~{HASH}", f"%7E{HASH}"),
        (f"~{HASH}0", f"~{HASH}0"),
        (f"~{HASH.upper()}", f"~{HASH.upper()}"),
    ],
)
def test_a_subject_is_percent_encoded_or_hashed(raw: str, subject: str) -> None:
    assert encode_subject(raw) == subject


def test_the_empty_text_is_no_subject() -> None:
    with pytest.raises(ValueError, match="not the subject"):
        encode_subject("")


@given(any_text)
@example("-")
@example(f"~{HASH}")
@example("%2D")
def test_a_subject_stands_for_one_raw_text_only(raw: str) -> None:
    subject = encode_subject(raw)
    assert re.fullmatch(r"([A-Za-z0-9._~/@:-]|%[0-9A-F]{2}){1,256}", subject)
    assert subject != ABSENT
    if not re.fullmatch(r"~[0-9a-f]{32}", subject):
        assert unquote_to_bytes(subject) == raw.encode("utf-8", "surrogatepass")
    else:
        assert len(raw.encode("utf-8", "surrogatepass")) * 3 > 256


@given(any_text, any_text)
def test_an_account_comes_apart_as_it_was_put_together(one: str, two: str) -> None:
    subjects = {"model": encode_subject(two), "key": encode_subject(one)}
    account = compound_of(subjects)
    assert kind_of(account) == "key+model"
    assert parts_of(account) == (("key", subjects["key"]), ("model", subjects["model"]))
    assert parse_account(account) == account


def test_accounts_of_one_kind() -> None:
    assert account_of("team", "search") == compound_of({"team": "search"}) == "team:search"
    assert parts_of("user:a:b") == (("user", "a:b"),)
    assert parts_of("global") == (("global", ""),)
    assert kind_of("global") == account_of("global", "") == "global"


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("team:search", "team:search"),
        ("global", "global"),
        ("key:-", "key:-"),
        (f"team:~{HASH}", f"team:~{HASH}"),
        (f"team:%7e{HASH}", f"team:%7E{HASH}"),
        ("team:%2d", "team:%2D"),
        ("team:%41%c3%ab", "team:A%C3%AB"),
        ("model+key:gpt-4o+1f3a", "key+model:1f3a+gpt-4o"),
        ("user:https://idp/alice@x", "user:https://idp/alice@x"),
        ("team:%ff", "team:%FF"),
        ("user:" + "x" * 300, "user:" + encode_subject("x" * 300)),
    ],
)
def test_an_operator_names_an_account(text: str, account: str) -> None:
    assert parse_account(text) == parse_account(account) == account


@pytest.mark.parametrize(
    "text",
    [
        *[
            ":",
            "team",
            "team:",
            ":x",
            "Team:x",
            "1:x",
            "*:x",
            "téam:x",
            "team:é",
            "team:a%2",
            "team:a%zz",
            "team:a*",
            "team:a/*",
            "team:*/a",
            "team:a/*/b",
            "team:a/b*",
            "team:a/**",
            "team:*",
            "team:a=b",
        ],
        *["a+b:x", "a:x+y", "a+a:x+y", "a+:x+y", "a+b:x+", "a+global:x+y", "global:x", "global:"],
        *["", "team:x\n", " team:x", "te am:x"],
    ],
)
def test_what_is_no_account_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"accepted (is|are)") as error:
        parse_account(text)
    assert "\n" not in str(error.value)


def test_in_a_pattern_a_star_stands_for_a_whole_part() -> None:
    assert parse_pattern("key") == (("key", "*"),)
    assert parse_pattern("model+key") == (("key", "*"), ("model", "*"))
    assert parse_pattern("model+key:gpt-4o+*") == (("key", "*"), ("model", "gpt-4o"))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("team:search/*", "team:search/*"),
        ("team:/*", "team:/*"),
        ("team:a/b/c/d/*", "team:a/b/c/d/*"),
        ("team:a%2fb/*", "team:a/b/*"),
        ("team:%C3%ab%20x/*", "team:%C3%AB%20x/*"),
        ("team+model:search/*+gpt-5", "model+team:gpt-5+search/*"),
        ("team:-/*", "team:-/*"),
        ("team:" + "x" * 255 + "/*", "team:" + "x" * 255 + "/*"),
    ],
)
def test_in_a_pattern_a_star_behind_a_slash_stands_for_the_rest(text: str, canonical: str) -> None:
    assert canonical_pattern(text) == canonical_pattern(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("team:a*", "search/* for those that begin with search/"),
        ("team:a/b*", "search/* for those that begin with search/"),
        ("team:*/a", "search/* for those that begin with search/"),
        ("team:a/*/b", "search/* for those that begin with search/"),
        ("team:a/b/c/d/e/*", "'a/b/c/d/e/*' has too many segments; accepted are 4 before the star"),
        ("team:" + "x" * 256 + "/*", "is too long; accepted are 256 bytes before the star"),
        ("key:sk-1*", "'***' is not the subject"),
    ],
)
def test_a_star_elsewhere_is_refused_in_one_line(text: str, accepted: str) -> None:
    with pytest.raises(ValueError, match=re.escape(accepted)) as error:
        parse_pattern(text)
    assert "\n" not in str(error.value)
    assert "sk-1" not in str(error.value)


def test_a_token_is_known_by_its_hash() -> None:
    assert key_id("sk-1") == hashlib.sha256(b"sk-1").hexdigest()[:16]
    assert key_id("sk-1", secret="pepper") != key_id("sk-1")
    # RFC 4231, test case 2.
    assert key_id("what do ya want for nothing?", secret="Jefe") == "5bdcc146bf60754e"
    assert re.fullmatch("[0-9a-f]{16}", key_id("\ud800", secret="\udfff"))
