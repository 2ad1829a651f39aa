"""A body whose content type names a charset: some servers decode it by that before they parse it."""

import json
from encodings.aliases import aliases

import pytest

from budget_middleware.apis.bodies.charsets import is_read_as_utf8
from budget_middleware.testing import ScriptedApp, call
from tests.request.bench import Bench
from tests.request.wire import ask, bearer, completion

# To who reads UTF-8 the first name is a text.
UTF_7 = b'{"model": "gift", "max_tokens": 9, "x": "+ACIALAAi-model+ACIAOgAi-talk"}'


def with_charset(name: str) -> dict[str, str]:
    return {**bearer(), "content-type": f"application/json; charset={name}"}


def test_the_text_is_two_in_one():
    assert json.loads(UTF_7)["model"] == "gift"
    assert json.loads(UTF_7.decode("utf-7"))["model"] == "talk"


@pytest.mark.parametrize("charset", ["utf-7", '"UTF7"', "'utf-7'", "unicode-1-1-utf-7"])
async def test_what_others_may_decode_otherwise_is_refused(bench: Bench, charset: str):
    app = ScriptedApp(*completion(0))
    played = await call(bench.guard(app), UTF_7, headers=with_charset(charset))
    assert (played.status, app.scopes) == (400, [])
    assert b"charset" in played.body
    assert await bench.figures() == ("0.00", "0.00")


@pytest.mark.parametrize(
    "charset",
    [
        *("iso-2022-kr", "unicode_escape", "hz", "iso-2022-jp", "cp037", "utf-8; charset=utf-7", "x"),
        *(" utf-7", "utf-8; CHARSET*=utf-8''utf-7", "punycode"),
    ],
)
async def test_so_is_any_other_charset(memory: Bench, charset: str):
    app = ScriptedApp(*completion(0))
    played = await call(memory.guard(app), ask(1), headers=with_charset(charset))
    assert (played.status, app.scopes) == (400, [])


@pytest.mark.parametrize(
    "charset",
    [
        *("utf-8", "UTF8", '"utf-8"', "utf_8", "us-ascii", "ISO-8859-1", "iso8859_1", "latin1", "gbk", "Shift_JIS", ""),
        # What a POSIX locale without a language is called, and how Windows and Java name theirs.
        *("ANSI_X3.4-1968", "windows-31j", "cp932", "cp949", "ks_c_5601-1987", "windows-874", "tis-620", "macintosh"),
        *("utf8mb4", "eucjp", "unicode-1-1-utf-8"),
    ],
)
async def test_one_in_which_ascii_is_ascii_is_served(memory: Bench, charset: str):
    played = await call(memory.guard(ScriptedApp(*completion(0))), ask(400), headers=with_charset(charset))
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.40")


async def test_utf_16_is_read_as_what_it_is(memory: Bench):
    text = json.dumps(ask(400)).encode("utf-16")
    played = await call(memory.guard(ScriptedApp(*completion(0))), text, headers=with_charset("utf-16"))
    assert (played.status, played.headers["x-budget-estimate-usd"]) == (200, "0.40")


async def test_shadow_mode_lets_it_pass(memory: Bench):
    app = ScriptedApp(*completion(0))
    played = await call(memory.guard(app, mode="shadow"), UTF_7, headers=with_charset("utf-7"))
    assert (played.status, app.bodies) == (200, [UTF_7])


@pytest.mark.parametrize("name", sorted({*aliases, *aliases.values()}))
def test_of_all_that_python_knows_only_those_are_let_through(name: str):
    ascii_bytes = bytes(range(128))
    try:
        is_ascii = ascii_bytes.decode(name) == ascii_bytes.decode("ascii")
    except (LookupError, ValueError):
        is_ascii = False
    if is_read_as_utf8(b"application/json; charset=" + name.encode()):
        # These two are told apart from UTF-8 by their bytes.
        assert is_ascii or name.startswith(("utf_16", "utf_32", "utf16", "utf32"))
