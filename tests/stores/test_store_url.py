"""Store URLs of Sentinels and clusters: which addresses, users and options they name, and what is refused."""

import pytest

from budget_middleware.opening import open_ledger
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import SettingsError
from budget_middleware.stores.redis.store_url import Address, Kind, parse_store_url

NODE = Address("10.0.0.7", 7000)
SIX = Address("fd00::7", 7000)


@pytest.mark.parametrize(
    ("url", "seeds", "server", "seed"),
    [
        ("redis+cluster://a:1,b", ["a:1", "b:6379"], "redis://10.0.0.7:7000/0", "redis://10.0.0.7:7000/0"),
        (
            "rediss+cluster://me:p%40ss@clustercfg.example.com?ssl_check_hostname=no&ssl_ciphers=HIGH:!MD5",
            ["clustercfg.example.com:6379"],
            "rediss://me:p%40ss@10.0.0.7:7000/0?ssl_check_hostname=no&ssl_ciphers=HIGH%3A%21MD5",
            "rediss://me:p%40ss@10.0.0.7:7000/0?ssl_check_hostname=no&ssl_ciphers=HIGH%3A%21MD5",
        ),
        ("redis+sentinel://a,b:7/mine", ["a:26379", "b:7"], "redis://10.0.0.7:7000/0", "redis://10.0.0.7:7000"),
        (
            "redis+sentinel://me:of-servers@a/mine/3?sentinel_username=you&sentinel_password=of/sentinels",
            ["a:26379"],
            "redis://me:of-servers@10.0.0.7:7000/3",
            "redis://you:of%2Fsentinels@10.0.0.7:7000",
        ),
        ("redis+sentinel://[::1]:7/mine/?db=4", ["[::1]:7"], "redis://10.0.0.7:7000/0?db=4", "redis://10.0.0.7:7000"),
    ],
)
def test_a_url_names_whom_to_ask_and_how_to_log_in(url: str, seeds: list[str], server: str, seed: str):
    parsed = parse_store_url(url)
    assert [str(each) for each in parsed.seeds] == seeds
    assert parsed.server_url(NODE) == server
    assert parsed.seed_url(NODE) == seed
    assert parsed.server_url(SIX) == server.replace("10.0.0.7", "[fd00::7]")


def test_other_urls_are_those_of_one_server():
    assert parse_store_url("redis://h/3").kind is Kind.SERVER
    assert parse_store_url("unix:///s.sock").kind is Kind.SERVER


REFUSED = [
    ("redis+sentry://h", "accepted are redis+sentinel:// and redis+cluster://"),
    ("redis+cluster://h/2", "no database but 0"),
    ("redis+cluster://h?db=2", "no database but 0"),
    ("redis+cluster://h,", "HOST:PORT"),
    ("redis+cluster://h:0", "HOST:PORT"),
    ("redis+cluster://h:70000", "HOST:PORT"),
    ("redis+cluster://me:secret@h:secret", "HOST:PORT"),
    ("redis+cluster://h?sentinel_password=secret", "the option 'sentinel_password' is not known"),
    ("redis+cluster://h?colour=red", "the option 'colour' is not known"),
    ("redis+sentinel://me:secret@h", "/SERVICE/DB"),
    ("redis+sentinel://h/mine/x", "/SERVICE/DB"),
    ("redis+sentinel://h/mine?sentinel_username=you", "with sentinel_password"),
    ("rediss+cluster://h?ssl_ca_certs=/no/such/file", "not accepted by the Redis client"),
]


@pytest.mark.parametrize(("url", "why"), REFUSED)
def test_a_url_that_cannot_be_used_is_one_line_without_its_password(url: str, why: str):
    with pytest.raises(SettingsError) as refused:
        open_ledger(store_url=url)
    text = str(refused.value)
    assert text.startswith("BUDGET_STORE_URL=")
    assert why in text
    assert "\n" not in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis+cluster://me:secret@h:1,h2:2", "redis+cluster://***@h:1,h2:2"),
        ("redis+cluster://h:1,h2:secret", "redis+cluster://h:1,h2:***"),
        ("redis+cluster://h:secret,h2:2", "redis+cluster://h:***"),
        (
            "rediss+sentinel://:secret@h:1,h2/mine/0?sentinel_username=you&sentinel_password=secret&x=1",
            "rediss+sentinel://***@h:1,h2/mine/0?sentinel_username=***&sentinel_password=***&x=1",
        ),
    ],
)
def test_a_url_is_shown_with_its_hosts_and_without_its_passwords(url: str, shown: str):
    assert redact_url(url) == shown
