"""Who pays: every place of a subject, what is hashed, and what the accounts file and source add."""

import asyncio
import os
from types import SimpleNamespace

import pytest

from budget_middleware.core.payers.accounts import encode_subject, key_id
from budget_middleware.core.payers.sources import parse_sources
from budget_middleware.headers import HeaderTable
from budget_middleware.payers import accounts_file
from budget_middleware.payers.accounts_file import AccountsFile, accounts_in, accounts_of
from budget_middleware.payers.credentials import TOKEN_HEADERS, AmbiguousTokenError
from budget_middleware.payers.payers import AccountsSourceError, Payers
from budget_middleware.payers.places import token_of
from budget_middleware.testing import MovableClock

TOKEN = "sk-canary"
KEY = key_id(TOKEN)


def scope(*headers, query=b"", **fields):
    raw = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers]
    return {"type": "http", "headers": raw, "query_string": query, **fields}


async def payers_of(sources, scope, body=None, **options):
    return await ask(Payers(parse_sources(sources), **options), scope, body)


async def ask(payers, scope, body=None):
    return await payers.payers_of(scope, HeaderTable(scope["headers"]), body)


class TestTokens:
    @pytest.mark.parametrize("name", sorted(name.decode() for name in TOKEN_HEADERS))
    @pytest.mark.parametrize("value", [TOKEN, f"Bearer {TOKEN}", f"bearer   {TOKEN} ", f"BASIC {TOKEN}"])
    def test_every_header_in_every_form(self, name, value):
        assert token_of(scope((name, value))) == TOKEN
        assert token_of(scope((name.upper(), value))) == TOKEN

    @pytest.mark.parametrize("query", [b"key=sk-canary", b"a=b&key=sk%2Dcanary&c", b"key=&key=sk-canary"])
    def test_query(self, query):
        assert token_of(scope(query=query)) == TOKEN

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [("authorization", "")],
            [("authorization", "Bearer")],
            [("authorization", "Bearer ")],
            # Such schemes sign each request anew, and name no payer.
            [("authorization", "Digest username=x")],
            [("cookie", "key=sk-canary")],
        ],
        ids=str,
    )
    def test_none(self, headers):
        assert token_of(scope(*headers)) == ""

    @pytest.mark.parametrize(
        "request_",
        [
            scope(("authorization", "Bearer a"), ("x-api-key", "b")),
            scope(("authorization", "Bearer a"), ("authorization", "Bearer b")),
            scope(("x-api-key", "a"), query=b"key=b"),
            # A gateway may read the last of them.
            scope(query=b"key=a&key=b"),
            scope(query=b"key=%fe&key=%ff"),
        ],
        ids=lambda request_: str(request_["headers"]),
    )
    async def test_two_that_differ(self, request_):
        with pytest.raises(AmbiguousTokenError, match="two API keys that differ"):
            await payers_of("key=token", request_)

    def test_the_same_twice(self):
        assert token_of(scope(("authorization", "Bearer a"), ("api-key", "a"), query=b"key=a&key=a")) == "a"

    def test_bytes_of_any_alphabet(self):
        assert token_of(scope(("x-api-key", "é".encode()))) == "é"
        assert token_of(scope(("x-api-key", "é".encode("latin-1")))) == "é"


PLACES = {
    "token": (scope(("x-api-key", TOKEN)), None),
    "header:x-api-key": (scope(("x-api-key", f"Bearer {TOKEN}")), None),
    "query:key": (scope(query=b"key=sk-canary"), None),
}
OPEN_PLACES = {
    "header:x-team": (scope(("X-Team", " red ")), None),
    "header:X-Team": (scope(("x-team", ""), ("x-team", "red")), None),
    "query:team": (scope(query=b"team=red"), None),
    "body:team": (scope(), {"team": "red"}),
    "body:metadata.team": (scope(), {"metadata": {"team": "red"}}),
    "state:team": (scope(state={"team": "red"}), None),
    "user": (scope(user=SimpleNamespace(identity="red")), None),
    "header:x-team|body:team": (scope(), {"team": "red"}),
}


class Unauthenticated:
    @property
    def identity(self):
        raise NotImplementedError


class TestPlaces:
    @pytest.mark.parametrize(("place", "request_"), PLACES.items(), ids=PLACES)
    @pytest.mark.parametrize("kind", ["key", "team"])
    async def test_a_token_is_hashed_in_every_kind(self, kind, place, request_):
        assert await payers_of(f"{kind}={place}", *request_) == {kind: KEY}

    @pytest.mark.parametrize(("place", "request_"), OPEN_PLACES.items(), ids=OPEN_PLACES)
    async def test_other_places_are_shown_but_for_keys(self, place, request_):
        assert await payers_of(f"team={place}; key={place}", *request_) == {"team": "red", "key": key_id("red")}

    async def test_hashed_with_the_secret(self):
        told = await payers_of("key=token", *PLACES["token"], hash_secret="pepper")
        assert told == {"key": key_id(TOKEN, secret="pepper")}
        assert told != {"key": KEY}

    @pytest.mark.parametrize(
        ("place", "request_"),
        [
            ("token", (scope(), None)),
            ("header:x-team", (scope(("x-team", " ")), None)),
            ("query:team", (scope(query=b"team="), None)),
            ("body:a.b", (scope(), {"a": "b"})),
            ("body:a.b", (scope(), {"a": {"b": {"c": 1}}})),
            ("body:a", (scope(), {"a": True})),
            ("body:a", (scope(), [1])),
            ("state:team", (scope(), None)),
            ("state:team", (scope(state={"team": None}), None)),
            ("user", (scope(), None)),
            pytest.param("user", (scope(user=object()), None), id="user-of another kind"),
            pytest.param("user", (scope(user=Unauthenticated()), None), id="user-unauthenticated"),
        ],
        ids=str,
    )
    async def test_none(self, place, request_):
        assert await payers_of(f"team={place}", *request_) == {"team": None}

    async def test_numbers_are_names_too(self):
        assert await payers_of("team=body:team", scope(), {"team": 7}) == {"team": "7"}

    async def test_the_first_alternative_that_is_there_decides(self):
        request_ = scope(("x-team", "red"), ("x-old-team", "blue"))
        assert await payers_of("team=header:x-none|header:x-old-team|header:x-team", request_) == {"team": "blue"}

    @pytest.mark.parametrize("name", ["-", "a+b", "a;b=c*", "日本", "\ud800", "x" * 300, "~" + "0" * 32])
    async def test_odd_names(self, name):
        assert await payers_of("team=body:team", scope(), {"team": name}) == {"team": encode_subject(name)}


FILE = f'[keys."{KEY}"]\nteam = "search"\nuser = "Ann B"\n[keys."0000000000000000"]\norg = "acme"\n'


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "accounts.toml"
    path.write_text(FILE)
    return path


KNOWN = {"key": KEY, "team": "search", "user": "Ann%20B", "org": None}


class TestAccountsFile:
    async def test_a_known_key(self, path):
        assert await payers_of("key=token", *PLACES["token"], directory=AccountsFile(path)) == KNOWN

    async def test_it_wins_over_what_the_request_says_of_itself(self, path):
        request_ = scope(("x-api-key", TOKEN), ("x-team", "red"), ("x-org", "own"))
        sources = "key=token; team=header:x-team; org=header:x-org"
        told = await payers_of(sources, request_, directory=AccountsFile(path))
        assert told == KNOWN | {"org": "own"}

    @pytest.mark.parametrize(("known_keys_only", "key"), [(False, key_id("other")), (True, "-")])
    async def test_an_unknown_key(self, path, known_keys_only, key):
        request_ = scope(("x-api-key", "other"))
        told = await payers_of("key=token", request_, directory=AccountsFile(path), known_keys_only=known_keys_only)
        assert told == {"key": key, "team": None, "user": None, "org": None}

    async def test_no_key(self, path):
        told = await payers_of("key=token", scope(), directory=AccountsFile(path), known_keys_only=True)
        assert told == dict.fromkeys(KNOWN)

    async def test_reread_when_it_has_changed_once_a_second_at_most(self, path, monkeypatch):
        monkeypatch.setattr(accounts_file, "_IDLE_S", 0.0)
        clock = MovableClock()
        file = AccountsFile(path, clock_s=lambda: clock() / 1000)
        rewrite(path, FILE.replace("search", "ads"), mtime_s=1)
        clock.advance(ms=999)
        assert await team(file) == "search"
        clock.advance(ms=1)
        assert await team(file) == "ads"

    async def test_the_last_good_one_stays(self, path, caplog, monkeypatch):
        monkeypatch.setattr(accounts_file, "_IDLE_S", 0.0)
        clock = MovableClock()
        file = AccountsFile(path, clock_s=lambda: clock() / 1000)
        for mtime_s, text in enumerate(["[keys", FILE.replace("search", "ads")], start=1):
            rewrite(path, text, mtime_s=mtime_s)
            clock.advance(s=1)
            assert await team(file) == ("search" if mtime_s == 1 else "ads")
        path.unlink()
        clock.advance(s=1)
        assert await team(file) == "ads"
        assert len(caplog.records) == 2
        assert all("the last good one stays" in record.message for record in caplog.records)

    async def test_a_file_that_has_not_changed_is_not_read_again(self, path, monkeypatch):
        clock = MovableClock()
        file = AccountsFile(path, clock_s=lambda: clock() / 1000)
        monkeypatch.setattr(type(path), "read_text", None)
        clock.advance(s=5)
        assert await team(file) == "search"

    async def test_a_key_has_what_its_team_has_unless_its_own_table_says_otherwise(self, path):
        path.write_text(
            '[keys."0000000000000001"]\nteam = "search"\n'
            '[keys."0000000000000002"]\nteam = "search"\norg = "other"\n'
            '[keys."0000000000000003"]\nuser = "u"\n'
            '[teams."search"]\norg = "acme inc"\ntag = ["b", "a"]\n'
            '[teams."ads"]\norg = "acme inc"\n'
        )
        file = AccountsFile(path)
        told = [await file.subjects_of(f"{number:016x}") for number in (1, 2, 3)]
        assert told == [
            {"team": "search", "org": "acme%20inc", "tag": ("a", "b")},
            {"team": "search", "org": "other", "tag": ("a", "b")},
            {"user": "u"},
        ]
        assert {"org:acme%20inc", "org:other", "tag:a"} <= accounts_of(accounts_in(path))
        assert file.kinds == {"team", "org", "tag", "user"}

    async def test_keys_are_hex_digits_in_any_case(self, path):
        path.write_text(FILE.replace(KEY, KEY.upper()))
        assert await team(AccountsFile(path)) == "search"

    @pytest.mark.parametrize(
        "text",
        [
            "keys = 1",
            "[keys",
            "[other]\na = 1",
            '[keys]\n"1f3a9c0b2d4e5f60" = "search"',
            '[keys."1f3a9c0b2d4e5f60"]\nteam = 7',
            '[keys."1f3a9c0b2d4e5f60"]\nteam = ""',
            '[keys."1f3a9c0b2d4e5f60"]\nkey = "other"',
            '[keys."1f3a9c0b2d4e5f60"]\nTeam = "search"',
            '[keys."1f3a9c0b2d4e5f60"]\nmodel = "gpt-4o"',
            '[keys."1f3a9c0b2d4e5f60"]\nglobal = "x"',
            "teams = 1",
            '[teams]\nsearch = "acme"',
            '[teams."search"]\nteam = "other"',
            '[teams."search"]\nkey = "1f3a9c0b2d4e5f60"',
            '[teams.""]\norg = "acme"',
        ],
    )
    def test_a_file_that_cannot_be_used(self, path, text):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"accounts\.toml") as error:
            AccountsFile(path)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("name", [TOKEN, f"key:{KEY}", KEY[:-1], f"{KEY}0", "-", ""])
    def test_what_is_no_hash_of_a_key_never_binds_and_is_not_repeated(self, path, name):
        """It may be the token itself, which nobody is to read in a log."""
        path.write_text(f'{FILE}[keys."{name}"]\nteam = "search"\n')
        with pytest.raises(
            ValueError, match=r"\[keys\], entry 3: .* 16 hex digits .* `budget-middleware key-id`"
        ) as error:
            AccountsFile(path)
        assert TOKEN not in str(error.value)


async def team(file):
    known = await file.subjects_of(KEY)
    return known and known["team"]


def rewrite(path, text, *, mtime_s):
    path.write_text(text)
    os.utime(path, (mtime_s, mtime_s))


class TestAccountsSource:
    async def test_adds_and_wins(self):
        async def source(key):
            assert key == KEY
            return {"team": "a b", "user": ""}

        told = await payers_of("key=token; team=header:x-team", scope(("x-api-key", TOKEN)), accounts_source=source)
        assert told == {"key": KEY, "team": "a%20b"}

    async def test_it_is_asked_once_for_many(self):
        asked, gate = [], asyncio.Event()

        async def source(key):
            asked.append(key)
            await gate.wait()

        payers = Payers(parse_sources("key=token"), accounts_source=source)
        tasks = [asyncio.create_task(ask(payers, *PLACES["token"])) for _ in range(5)]
        gate.set()
        assert await asyncio.gather(*tasks) == [{"key": KEY}] * 5
        assert asked == [KEY]

    @pytest.mark.parametrize(("answer", "key"), [({"team": "search"}, KEY), ({}, KEY), (None, "-")])
    async def test_it_may_say_which_keys_are_known(self, answer, key):
        async def source(_):
            return answer

        told = await payers_of("key=token", *PLACES["token"], accounts_source=source, known_keys_only=True)
        assert told["key"] == key

    @pytest.mark.parametrize(("token", "answer", "key"), [(TOKEN, None, KEY), ("other", {}, key_id("other"))])
    async def test_a_key_is_known_by_the_file_or_by_the_source(self, path, token, answer, key):
        async def source(_):
            return answer

        options = {"directory": AccountsFile(path), "accounts_source": source, "known_keys_only": True}
        assert (await payers_of("key=token", scope(("x-api-key", token)), **options))["key"] == key

    async def test_without_a_key_it_is_not_asked(self):
        assert await payers_of("key=token", scope(), accounts_source=None) == {"key": None}

    @pytest.mark.parametrize("answer", [OSError("down"), {"team": 7}, {"model": "gpt-4o"}, "search"], ids=repr)
    async def test_a_failure_tells_no_token(self, answer):
        async def source(key):
            if isinstance(answer, Exception):
                raise answer
            return answer

        with pytest.raises(AccountsSourceError, match=f"key:{KEY}") as error:
            await payers_of("key=token", *PLACES["token"], accounts_source=source)
        assert TOKEN not in str(error.value)


async def test_nobody():
    assert Payers(parse_sources("key=token; team=header:x-team")).no_payers() == {"key": None, "team": None}
