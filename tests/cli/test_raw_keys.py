"""F60: a token that an operator types where its hash belongs. No command takes it, shows it or stores it."""

import re

import pytest
import redis.asyncio

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.windows import Period
from budget_middleware.stores.redis import RedisStore, key_prefix
from tests.cli.conftest import RunCli

TOKEN = "sk-proj-T0kenCanary0123456789abcdef"
KEY = "1f3a9c0b2d4e5f60"
REASON = ("--reason", "x")
# What the part of an account looks like that an operator takes for the subject of a key.
SUBJECTS = [
    TOKEN,
    TOKEN.lower(),
    TOKEN.replace("-", "%2D"),
    TOKEN.replace("s", "%73", 1),
    f"{TOKEN}=",
    KEY[:-1],
    f"{KEY}0",
    "~" + KEY * 2,
    "%2D",
    "",
]


def told_nothing(text: str) -> bool:
    return not re.search("canary|proj|kenCan", text, re.IGNORECASE)


async def test_f60_no_command_takes_a_raw_token_for_a_key(
    cli: RunCli, store: RedisStore, server_url: str, namespace: str
):
    commands = [
        ("limit", "set", "{}", "10/day"),
        ("limit", "clear", "{}"),
        ("adjust", "{}", "1", *REASON),
        ("transfer", "{}", "global", "1", *REASON),
        ("transfer", "global", "{}", "1", *REASON),
        ("status", "{}"),
        ("journal", "{}"),
        ("explain", "{}"),
    ]
    for command in commands:
        for subject in SUBJECTS:
            for account in (f"key:{subject}", f"key+model:{subject}+gpt-4o", f"model+key:gpt-4o+{subject}"):
                ran = cli(*[word.format(account) for word in command])
                assert (ran.code, ran.out) == (2, ""), (command, account)
                assert ran.err.count("\n") == 1
                assert told_nothing(ran.err), ran.err
    async with redis.asyncio.Redis.from_url(server_url) as client:
        assert [key async for key in client.scan_iter(f"*{key_prefix(namespace)}*")] == []


@pytest.mark.parametrize("words", [("limit", "set", f"key:{TOKEN}", "1/day"), ("adjust", f"key:{TOKEN}", "1", *REASON)])
def test_f60_the_answer_names_the_command_that_helps(cli: RunCli, words: tuple[str, ...]):
    helpful = "the subject of a key is 16 hex digits, which `budget-middleware key-id` prints for a token"
    assert helpful in cli(*words).err


@pytest.mark.parametrize(
    "words",
    [
        ("status", TOKEN),
        ("limit", "set", TOKEN, "1/day"),
        ("limit", "set", TOKEN.lower(), "1/day"),
        ("limit", "set", f"Key:{TOKEN}", "1/day"),
        ("limit", "set", f"key={TOKEN}", "1/day"),
        ("limit", "clear", TOKEN.lower()),
        ("adjust", TOKEN, "1", *REASON),
        ("explain", TOKEN),
        ("key-id", TOKEN),
        ("status", f"key:{KEY}", TOKEN),
    ],
)
def test_f60_a_token_at_another_place_is_not_repeated(cli: RunCli, words: tuple[str, ...]):
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert told_nothing(ran.err), ran.err


def test_a_hash_in_upper_case_is_the_same_key(cli: RunCli):
    ran = cli("limit", "set", f"key:{KEY.upper()}", "1/day", "--new", "--json")
    assert (ran.code, ran.json[0]["account"]) == (0, f"key:{KEY}")


def test_what_key_id_tells_is_accepted(cli: RunCli):
    told = cli("key-id", stdin=TOKEN).out.strip()
    assert told == f"key:{key_id(TOKEN)}"
    assert cli("limit", "set", told, "1/day", "--new").code == 0


async def test_limits_that_an_older_version_took_are_hidden_and_can_be_cleared(cli: RunCli, store: RedisStore):
    await store.set_limit(f"key:{TOKEN}", period=Period.DAY, limit_nanos=10**9)
    await store.set_limit("team:search", period=Period.DAY, limit_nanos=10**9)
    for command in (("limit", "list"), ("status",), ("doctor",)):
        ran = cli(*command)
        assert told_nothing(ran.out + ran.err), command
    ran = cli("limit", "clear", "--raw-keys")
    assert (ran.code, ran.out) == (0, "1 limits on keys that are no hash were cleared\n")
    assert (await store.limits()).limits == {("team:search", Period.DAY): 10**9}
