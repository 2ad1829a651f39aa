"""Every setting: what it takes, and the exact line that tells what it does not take."""

import logging
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr, ValidationError

from budget_middleware import settings_loading
from budget_middleware.apis import APIS
from budget_middleware.apis.jobs.realtime_direct import RealtimeDirect, RealtimeGone
from budget_middleware.apis.jobs.webhooks import WEBHOOKS_ACCEPTED, WebhookPath
from budget_middleware.core.alerts.plan import ALERTS_ACCEPTED, AlertPlan
from budget_middleware.core.costs.charges import OnAbort, OnExpire
from budget_middleware.core.costs.estimate import EstimateBy
from budget_middleware.core.costs.usage import TokensCounted
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.payers.sources import parse_sources
from budget_middleware.prices import parse_unknown_model
from budget_middleware.setting_types import (
    LiteLLMPrices,
    Mode,
    OnLimit,
    OnStoreError,
    RouteRule,
    SpansPer,
    StoreCheck,
    TraceContext,
    Unmetered,
    redact_url,
)
from budget_middleware.settings import Settings, SettingsError, setting_docs
from budget_middleware.settings_loading import load
from budget_middleware.stores.sharded.shard_map import SHARD_BY_ACCEPTED, ShardMap

HERE = Path(__file__)

GOOD = [
    ("store_url", "memory://", "memory://"),
    ("store_url", "sqlite:////var/lib/budget.db?synchronous=full", "sqlite:////var/lib/budget.db?synchronous=full"),
    ("store_url", "redis://localhost", "redis://localhost"),
    ("store_url", "rediss://user:secret@[::1]:6380/2", "rediss://user:secret@[::1]:6380/2"),
    ("store_url", "unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=1"),
    ("namespace", "prod:eu-1", "prod:eu-1"),
    ("shard_by", "team", ShardMap("team", 16)),
    ("shard_by", "team/64", ShardMap("team", 64)),
    ("store_timeout_s", "0.25", 0.25),
    ("replicas", "2", 2),
    ("on_store_error", "closed", OnStoreError.CLOSED),
    ("on_store_error", "local", OnStoreError.LOCAL),
    ("store_check", "fail", StoreCheck.FAIL),
    ("max_waiting", "1", 1),
    ("wait_s", "15", 15.0),
    ("clamp", "on", True),
    ("last_cent", "on", True),
    ("on_limit", "pass", OnLimit.PASS),
    ("tokens", "uncached", TokensCounted.UNCACHED),
    ("wait_s", "3600", 3600.0),
    ("wait_max", "1", 1),
    ("priority", "header:X-Priority", "x-priority"),
    ("limits", "key=10/day; team:search=5/month", parse_limits("key=10/day; team:search=5/month")),
    ("accounts", "key=token; team=header:x-team", parse_sources("key=token; team=header:x-team")),
    ("accounts_file", str(HERE), HERE),
    ("known_keys_only", "1", True),
    ("known_keys_only", "false", False),
    ("mode", "shadow", Mode.SHADOW),
    ("mode", "off", Mode.OFF),
    ("timezone", "Europe/Berlin", ZoneInfo("Europe/Berlin")),
    ("prices", str(HERE), HERE),
    ("unknown_model", "2.5/10", parse_unknown_model("2.5/10")),
    ("estimate", "worst", EstimateBy.WORST),
    ("estimate", "learned", EstimateBy.LEARNED),
    ("estimate_spread", "1.5", 1.5),
    ("default_output_tokens", "1", 1),
    ("spool_max", "1", 1),
    ("spool_path", "/tmp", Path("/tmp")),
    ("drain_timeout_s", "0", 0.0),
    ("max_hold_s", "3600", 3600.0),
    ("idle_hold_s", "0.5", 0.5),
    ("lease_s", "0.5", 0.5),
    ("lease_s", "360", 360.0),
    ("remember_s", "600", 600),
    ("retention_days", "1", 1),
    ("journal_max", "1", 1),
    ("history_url", "sqlite:///var/history.db", "sqlite:///var/history.db"),
    ("history_url", "postgresql://me@db/budget", "postgresql://me@db/budget"),
    ("history_days", "1", 1),
    ("on_abort", "drain", OnAbort.DRAIN),
    ("job_estimate_usd", "0.5", 0.5),
    ("job_deadline_s", "86400", 86_400),
    ("on_expire", "estimate", OnExpire.ESTIMATE),
    ("trace_url", "http://jaeger/trace/{trace_id}", "http://jaeger/trace/{trace_id}"),
    ("trace_context", "link", TraceContext.LINK),
    ("trace_context", "ignore", TraceContext.IGNORE),
    ("spans", "verb", SpansPer.VERB),
    ("litellm_prices", "auto", LiteLLMPrices.AUTO),
    ("litellm_prices", "installed", LiteLLMPrices.INSTALLED),
    ("litellm_prices", "off", LiteLLMPrices.OFF),
    ("unmetered", "refuse", Unmetered.REFUSE),
    ("realtime_direct", "hold", RealtimeDirect.HOLD),
    ("realtime_direct_s", "1800", 1_800),
    ("realtime_gone", "ended", RealtimeGone.ENDED),
    ("cost_header", "X-Cost", "x-cost"),
    (
        "routes",
        "/v1/ask=openai-chat; -/beta/chat/completions",
        (RouteRule("/v1/ask", "openai-chat"), RouteRule("/beta/chat/completions", None)),
    ),
    ("max_body_bytes", "1000000000", 1_000_000_000),
    ("max_bodies_bytes", "64000000", 64_000_000),
    ("body_timeout_s", "7.5", 7.5),
    ("exhausted_status", "402", 402),
    ("headers", "off", False),
    ("hash_secret", "any text", SecretStr("any text")),
    ("alerts", "log; thresholds=80,100; hold=30m; audit=off", AlertPlan((), (80, 100), True, 1_800_000, None)),
    ("webhooks", f"/h=whsec_{'a2tr' * 6}", (WebhookPath("/h", b"kkk" * 6),)),
    ("admin_token", "s3cret!", SecretStr("s3cret!")),
    ("admin_read_token", "s3cret?", SecretStr("s3cret?")),
    ("admin_path", "/ops/budget", "/ops/budget"),
]

URLS = (
    "sqlite:///PATH, memory://, postgresql://USER:PASSWORD@HOST:PORT/NAME, redis://HOST:PORT/DB,"
    " redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB,"
    " redis+cluster://HOST:PORT,HOST:PORT, unix:///PATH; with TLS rediss in place of redis"
)
SQLITE_FORM = "accepted: sqlite:///PATH below the working directory, or sqlite:////PATH from the root"
NAMES = "1 to 64 characters of A-Z a-z 0-9 . _ : / ~ -"
TRACE_URL = "an http(s) address with {trace_id} in it, and {span_id} if wanted"
API_NAMES = f"{', '.join(api.name for api in APIS)}, mcp, a2a"
ROUTES = f"/PATH/SUFFIX=API for one more, -/PATH/SUFFIX for one less, by ';'; API: {API_NAMES}"
ZONES = "a name of the IANA time zone database, such as Europe/Berlin"

BAD = [
    ("store_url", "mysql://db", f"BUDGET_STORE_URL='mysql://db': accepted: {URLS}"),
    ("store_url", "memory://x", f"BUDGET_STORE_URL='memory://x': accepted: {URLS}"),
    ("store_url", "sqlite://b.db", f"BUDGET_STORE_URL='sqlite://b.db': {SQLITE_FORM}"),
    (
        "store_url",
        "sqlite:///b.db?mode=ro",
        "BUDGET_STORE_URL='sqlite:///b.db?mode=ro': the option 'mode' is not known; accepted is synchronous",
    ),
    ("store_url", "redis://h:6379/zero", f"BUDGET_STORE_URL='redis://h:6379/zero': accepted: {URLS}"),
    ("store_url", "redis://h:0", f"BUDGET_STORE_URL='redis://h:0': accepted: {URLS}"),
    ("store_url", "redis://:hunter2", f"BUDGET_STORE_URL='redis://:***': accepted: {URLS}"),
    ("store_url", "http://me:hunter2@h/1", f"BUDGET_STORE_URL='http://***@h/1': accepted: {URLS}"),
    ("store_url", "unix://sock", f"BUDGET_STORE_URL='unix://sock': accepted: {URLS}"),
    ("namespace", "a{b}", f"BUDGET_NAMESPACE='a{{b}}': accepted: {NAMES}"),
    ("namespace", "a b\n", f"BUDGET_NAMESPACE='a b\\n': accepted: {NAMES}"),
    ("namespace", "x" * 200, f"BUDGET_NAMESPACE='{'x' * 80}'…: accepted: {NAMES}"),
    ("shard_by", "Team", f"BUDGET_SHARD_BY='Team': accepted: {SHARD_BY_ACCEPTED}"),
    ("shard_by", "team/0", f"BUDGET_SHARD_BY='team/0': accepted: {SHARD_BY_ACCEPTED}"),
    ("shard_by", "team/1001", f"BUDGET_SHARD_BY='team/1001': accepted: {SHARD_BY_ACCEPTED}"),
    (
        "shard_by",
        "model",
        "BUDGET_SHARD_BY='model': accepted: a kind that not all requests share, and model is one that they do",
    ),
    ("replicas", "-1", "BUDGET_REPLICAS='-1': accepted: replicas from 0 to 10"),
    ("store_timeout_s", "0", "BUDGET_STORE_TIMEOUT_S='0': accepted: seconds from 0.001 to 60"),
    ("store_timeout_s", "nan", "BUDGET_STORE_TIMEOUT_S='nan': accepted: seconds from 0.001 to 60"),
    ("store_check", "maybe", "BUDGET_STORE_CHECK='maybe': accepted: warn, fail, off"),
    ("max_waiting", "0", "BUDGET_MAX_WAITING='0': accepted: requests from 1 to 10000000"),
    ("clamp", "1", "BUDGET_CLAMP='1': accepted: on, off"),
    ("last_cent", "yes", "BUDGET_LAST_CENT='yes': accepted: on, off"),
    ("on_limit", "cut", "BUDGET_ON_LIMIT='cut': accepted: pass, stop"),
    ("tokens", "cached", "BUDGET_TOKENS='cached': accepted: all, uncached"),
    ("wait_s", "-1", "BUDGET_WAIT_S='-1': accepted: seconds from 0 to 3600"),
    ("wait_s", "3601", "BUDGET_WAIT_S='3601': accepted: seconds from 0 to 3600"),
    ("wait_s", "inf", "BUDGET_WAIT_S='inf': accepted: seconds from 0 to 3600"),
    ("wait_max", "0", "BUDGET_WAIT_MAX='0': accepted: requests from 1 to 1000000"),
    ("priority", "x-priority", "BUDGET_PRIORITY='x-priority': accepted: header:NAME"),
    ("priority", "header:x y", "BUDGET_PRIORITY='header:x y': accepted: header:NAME"),
    ("on_store_error", "shut", "BUDGET_ON_STORE_ERROR='shut': accepted: local, open, closed"),
    ("limits", "@/nowhere", "BUDGET_LIMITS='@/nowhere': cannot read the file: No such file or directory"),
    (
        "accounts_file",
        "/nowhere",
        "BUDGET_ACCOUNTS_FILE='/nowhere': there is no such file; accepted: the path of a file",
    ),
    ("known_keys_only", "2", "BUDGET_KNOWN_KEYS_ONLY='2': accepted: 0, 1"),
    ("mode", "Shadow", "BUDGET_MODE='Shadow': accepted: enforce, shadow, off"),
    ("prices", "/", "BUDGET_PRICES='/': it is no file; accepted: the path of a file"),
    (
        "default_output_tokens",
        "0",
        "BUDGET_DEFAULT_OUTPUT_TOKENS='0': accepted: tokens from 1 to 10000000",
    ),
    (
        "history_url",
        "mysql://me:hunter2@db/x",
        "BUDGET_HISTORY_URL='mysql://***@db/x': accepted: sqlite:///PATH, postgresql://USER:PASSWORD@HOST:PORT/NAME",
    ),
    ("history_url", "sqlite:///x/", "BUDGET_HISTORY_URL='sqlite:///x/': a file is accepted, not a folder"),
    ("history_days", "0", "BUDGET_HISTORY_DAYS='0': accepted: days from 1 to 36500"),
    ("spool_max", "0", "BUDGET_SPOOL_MAX='0': accepted: endings from 1 to 10000000"),
    ("spool_path", "/dev/null", "BUDGET_SPOOL_PATH='/dev/null': it is no folder; accepted: the path of a folder"),
    ("drain_timeout_s", "-1", "BUDGET_DRAIN_TIMEOUT_S='-1': accepted: seconds from 0 to 3600"),
    ("max_hold_s", "0", "BUDGET_MAX_HOLD_S='0': accepted: seconds from 0.1 to 2592000"),
    ("idle_hold_s", "never", "BUDGET_IDLE_HOLD_S='never': accepted: seconds from 0.1 to 2592000"),
    ("lease_s", "soon", "BUDGET_LEASE_S='soon': accepted: seconds from 0.1 to 86400"),
    ("lease_s", "inf", "BUDGET_LEASE_S='inf': accepted: seconds from 0.1 to 86400"),
    (
        "lease_s",
        "361",
        "BUDGET_REMEMBER_S='3600': accepted: at least ten leases of BUDGET_LEASE_S='361', 3610 or more",
    ),
    (
        "remember_s",
        "599",
        "BUDGET_REMEMBER_S='599': accepted: at least ten leases of BUDGET_LEASE_S='60', 600 or more",
    ),
    ("remember_s", "-1", "BUDGET_REMEMBER_S='-1': accepted: seconds, at least ten leases, from 1 to 2592000"),
    ("retention_days", "35.5", "BUDGET_RETENTION_DAYS='35.5': accepted: days from 1 to 3650"),
    ("journal_max", "all", "BUDGET_JOURNAL_MAX='all': accepted: entries from 1 to 100000000"),
    ("estimate", "best", "BUDGET_ESTIMATE='best': accepted: learned, expected, worst"),
    ("estimate_spread", "-1", "BUDGET_ESTIMATE_SPREAD='-1': accepted: spreads from 0 to 10"),
    ("estimate_spread", "nan", "BUDGET_ESTIMATE_SPREAD='nan': accepted: spreads from 0 to 10"),
    ("on_abort", "free", "BUDGET_ON_ABORT='free': accepted: partial, input, full, release, drain"),
    ("job_estimate_usd", "0", "BUDGET_JOB_ESTIMATE_USD='0': accepted: USD from 1e-06 to 1000000"),
    ("job_deadline_s", "59", "BUDGET_JOB_DEADLINE_S='59': accepted: seconds from 60 to 5184000"),
    ("on_expire", "0", "BUDGET_ON_EXPIRE='0': accepted: release, input, estimate"),
    ("litellm_prices", "on", "BUDGET_LITELLM_PRICES='on': accepted: auto, installed, off"),
    ("trace_context", "child", "BUDGET_TRACE_CONTEXT='child': accepted: parent, link, ignore"),
    ("spans", "request", "BUDGET_SPANS='request': accepted: counter, verb"),
    ("unmetered", "block", "BUDGET_UNMETERED='block': accepted: pass, refuse"),
    ("realtime_direct", "pass", "BUDGET_REALTIME_DIRECT='pass': accepted: refuse, hold"),
    ("realtime_direct_s", "0", "BUDGET_REALTIME_DIRECT_S='0': accepted: seconds from 1 to 86400"),
    ("realtime_gone", "404", "BUDGET_REALTIME_GONE='404': accepted: unproven, ended"),
    ("routes", "-/*", "BUDGET_ROUTES='-/*': '-/*': accepted is a path with a segment besides *"),
    ("trace_url", "http://jaeger/trace", f"BUDGET_TRACE_URL='http://jaeger/trace': accepted: {TRACE_URL}"),
    ("trace_url", "jaeger/{trace_id}", f"BUDGET_TRACE_URL='jaeger/{{trace_id}}': accepted: {TRACE_URL}"),
    ("cost_header", "x cost", "BUDGET_COST_HEADER='x cost': accepted: a header name"),
    ("routes", "/v1/ask", f"BUDGET_ROUTES='/v1/ask': '/v1/ask': accepted: {ROUTES}"),
    (
        "routes",
        "-/a; /b=cohere",
        f"BUDGET_ROUTES='-/a; /b=cohere': '/b=cohere': there is no API 'cohere'; accepted: {API_NAMES}",
    ),
    ("max_body_bytes", "10MB", "BUDGET_MAX_BODY_BYTES='10MB': accepted: bytes from 1 to 1000000000"),
    ("max_bodies_bytes", "0", "BUDGET_MAX_BODIES_BYTES='0': accepted: bytes from 1 to 100000000000"),
    ("body_timeout_s", "never", "BUDGET_BODY_TIMEOUT_S='never': accepted: seconds from 0.1 to 86400"),
    ("exhausted_status", "503", "BUDGET_EXHAUSTED_STATUS='503': accepted: 429, 402"),
    ("headers", "maybe", "BUDGET_HEADERS='maybe': accepted: on, off"),
    (
        "alerts",
        "log; https://h/x; ftp://t0ken@h/",
        "BUDGET_ALERTS='***': entry 3, which is not repeated here since it may hold a secret: accepted: "
        + ALERTS_ACCEPTED,
    ),
    ("alerts", "thresholds=0", f"BUDGET_ALERTS='***': entry 1, thresholds: accepted: {ALERTS_ACCEPTED}"),
    ("alerts", "@/nowhere", "BUDGET_ALERTS='@/nowhere': cannot read the file: No such file or directory"),
    *[
        (
            "webhooks",
            f"/a=whsec_{'a2tr' * 6}; {entry}",
            f"BUDGET_WEBHOOKS='***': entry 2, which may hold a secret: accepted: {WEBHOOKS_ACCEPTED}",
        )
        for entry in ("/b", "/b=whsec_a2tr", "/b=a2tra2tra2tra2tra2tra2tr", "/b=whsec_!", f"b=whsec_{'a2tr' * 6}")
    ],
    ("webhooks", "@/nowhere", "BUDGET_WEBHOOKS='@/nowhere': cannot read the file: No such file or directory"),
    ("admin_token", "two words", "BUDGET_ADMIN_TOKEN: accepted: visible ASCII characters, no spaces"),
    ("admin_read_token", "tøken", "BUDGET_ADMIN_READ_TOKEN: accepted: visible ASCII characters, no spaces"),
    (
        "admin_path",
        "/budget/",
        "BUDGET_ADMIN_PATH='/budget/': accepted: a path such as /budget, without a trailing slash",
    ),
    ("timezone", "Mars/Olympus", f"BUDGET_TIMEZONE='Mars/Olympus': accepted: {ZONES}"),
    ("timezone", "Europe", f"BUDGET_TIMEZONE='Europe': accepted: {ZONES}"),
    ("timezone", "../UTC", f"BUDGET_TIMEZONE='../UTC': accepted: {ZONES}"),
]


def name_of(value: object) -> str | None:
    return value[:24] if isinstance(value, str) else ""


def test_the_case_of_a_variable_makes_no_difference(monkeypatch):
    monkeypatch.setenv("budget_namespace", "prod")
    assert load().namespace == "prod"


@pytest.mark.parametrize(("name", "text", "value"), GOOD, ids=name_of)
def test_a_value_is_read_alike_from_variable_and_keyword(name, text, value, monkeypatch):
    assert getattr(load(**{name: text}), name) == value
    monkeypatch.setenv(f"BUDGET_{name.upper()}", text)
    assert getattr(load(), name) == value


@pytest.mark.parametrize(("name", "text", "line"), BAD, ids=name_of)
def test_a_wrong_value_is_told_in_one_line(name, text, line, monkeypatch):
    monkeypatch.setenv(f"BUDGET_{name.upper()}", text)
    with pytest.raises(SettingsError) as told:
        load()
    assert str(told.value) == line


BAD_PARTS = [("limits", "key=10/fortnight"), ("accounts", "key=cookie"), ("unknown_model", "cheap")]


@pytest.mark.parametrize(("name", "text"), BAD_PARTS)
def test_the_parser_of_a_text_with_parts_says_what_is_accepted(name, text):
    with pytest.raises(SettingsError) as told:
        load(**{name: text})
    line = str(told.value)
    assert line.startswith(f"BUDGET_{name.upper()}='{text}': ")
    assert "accepted" in line
    assert "\n" not in line


def test_good_and_bad_values_of_every_setting_are_tried():
    names = set(Settings.model_fields)
    assert {name for name, *_ in GOOD} == names
    assert {name for name, *_ in BAD} | {"accounts", "unknown_model"} == names - {"hash_secret"}


def test_the_defaults_of_the_contract():
    assert {doc.variable: doc.default for doc in setting_docs()} == {
        "BUDGET_STORE_URL": "sqlite:///budget.db",
        "BUDGET_NAMESPACE": "budget",
        "BUDGET_SHARD_BY": "",
        "BUDGET_STORE_TIMEOUT_S": "0.5",
        "BUDGET_REPLICAS": "0",
        "BUDGET_ON_STORE_ERROR": "local",
        "BUDGET_STORE_CHECK": "warn",
        "BUDGET_MAX_WAITING": "10000",
        "BUDGET_WAIT_S": "0",
        "BUDGET_CLAMP": "off",
        "BUDGET_LAST_CENT": "off",
        "BUDGET_ON_LIMIT": "pass",
        "BUDGET_WAIT_MAX": "1000",
        "BUDGET_PRIORITY": "",
        "BUDGET_SPOOL_MAX": "10000",
        "BUDGET_SPOOL_PATH": "",
        "BUDGET_DRAIN_TIMEOUT_S": "10",
        "BUDGET_MAX_HOLD_S": "21600",
        "BUDGET_IDLE_HOLD_S": "600",
        "BUDGET_LIMITS": "",
        "BUDGET_ACCOUNTS": "key=token",
        "BUDGET_ACCOUNTS_FILE": "",
        "BUDGET_KNOWN_KEYS_ONLY": "0",
        "BUDGET_MODE": "enforce",
        "BUDGET_TIMEZONE": "UTC",
        "BUDGET_PRICES": "",
        "BUDGET_UNKNOWN_MODEL": "reject",
        "BUDGET_ESTIMATE": "learned",
        "BUDGET_ESTIMATE_SPREAD": "2",
        "BUDGET_DEFAULT_OUTPUT_TOKENS": "1024",
        "BUDGET_TOKENS": "all",
        "BUDGET_LEASE_S": "60",
        "BUDGET_REMEMBER_S": "3600",
        "BUDGET_RETENTION_DAYS": "35",
        "BUDGET_JOURNAL_MAX": "100000",
        "BUDGET_HISTORY_URL": "",
        "BUDGET_HISTORY_DAYS": "400",
        "BUDGET_ON_ABORT": "partial",
        "BUDGET_JOB_ESTIMATE_USD": "1",
        "BUDGET_JOB_DEADLINE_S": "172800",
        "BUDGET_WEBHOOKS": "",
        "BUDGET_ON_EXPIRE": "release",
        "BUDGET_COST_HEADER": "x-litellm-response-cost",
        "BUDGET_ROUTES": "",
        "BUDGET_MAX_BODY_BYTES": "10000000",
        "BUDGET_MAX_BODIES_BYTES": "256000000",
        "BUDGET_BODY_TIMEOUT_S": "60",
        "BUDGET_EXHAUSTED_STATUS": "429",
        "BUDGET_HEADERS": "on",
        "BUDGET_HASH_SECRET": "",
        "BUDGET_TRACE_URL": "",
        "BUDGET_TRACE_CONTEXT": "parent",
        "BUDGET_SPANS": "counter",
        "BUDGET_LITELLM_PRICES": "auto",
        "BUDGET_UNMETERED": "pass",
        "BUDGET_REALTIME_DIRECT": "refuse",
        "BUDGET_REALTIME_DIRECT_S": "3600",
        "BUDGET_REALTIME_GONE": "unproven",
        "BUDGET_ALERTS": "",
        "BUDGET_ADMIN_TOKEN": "",
        "BUDGET_ADMIN_READ_TOKEN": "",
        "BUDGET_ADMIN_PATH": "/budget",
    }
    assert all(doc.accepted and doc.meaning for doc in setting_docs())


def test_defaults_are_parsed_too(monkeypatch):
    monkeypatch.delenv("BUDGET_ESTIMATE")
    plain = load()
    assert (plain.estimate, plain.estimate_spread) == (EstimateBy.LEARNED, 2.0)
    assert plain.limits == ()
    assert plain.accounts_file is None
    assert plain.timezone == ZoneInfo("UTC")
    assert plain.headers is True
    assert plain.unknown_model.rejects
    assert not plain.admin_token.get_secret_value()
    assert plain.lease_ms == 60_000


def test_a_keyword_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("BUDGET_LEASE_S", "30")
    assert load(lease_s=7).lease_s == 7.0
    monkeypatch.setenv("BUDGET_LEASE_S", "never")
    assert load(lease_s=7).lease_s == 7.0


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("BUDGET_LEASE_S", "")
    assert load().lease_s == 60.0


def test_limits_are_read_from_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Path("limits")
    file.write_text("# production\nkey=10/day\n\nteam=é\n", encoding="latin-1")
    with pytest.raises(SettingsError, match=r"BUDGET_LIMITS='@limits': the file is not UTF-8 text"):
        load(limits=f"@{file}")
    file.write_text("# production\nkey=10/day\n\nkey=100/month\n", encoding="utf-8")
    assert load(limits=f"@{file}").limits == parse_limits("key=10/day; key=100/month")


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        load().lease_s = 1


def test_several_wrong_values_are_counted():
    with pytest.raises(SettingsError, match=r"^BUDGET_MODE='x': accepted: .* \(and 2 more\)$"):
        load(mode="x", lease_s="y", headers="z")


def test_a_keyword_of_another_type_is_told():
    with pytest.raises(SettingsError) as told:
        load(limits=10)
    assert str(told.value) == "BUDGET_LIMITS='10': accepted: the text that the variable would hold"


@pytest.mark.parametrize(
    ("keyword", "line"),
    [
        ("limts", "limts: no such setting; closest: limits, on_limit"),
        ("BUDGET_MODE", "BUDGET_MODE: no such setting; none is close to it"),
        ("_env_prefix", "_env_prefix: no such setting; none is close to it"),
    ],
)
def test_an_unknown_keyword_is_an_error(keyword, line):
    with pytest.raises(SettingsError) as told:
        load(**{keyword: "key=10/day"})
    assert str(told.value) == line


def test_an_unknown_variable_is_warned_of_once(monkeypatch, caplog):
    settings_loading._warn_of_unknown.cache_clear()
    monkeypatch.setenv("BUDGET_LIMTS", "key=10/day")
    monkeypatch.setenv("BUDGET_XYZZY", "1")
    with caplog.at_level(logging.WARNING, logger="budget_middleware"):
        load()
        load()
    assert sorted(caplog.messages) == [
        "BUDGET_LIMTS is set, but there is no such setting; closest: BUDGET_LIMITS, BUDGET_ON_LIMIT",
        "BUDGET_XYZZY is set, but there is no such setting; none is close to it",
    ]


def test_no_secret_is_printed():
    secretive = load(store_url="redis://u:hunter2@h/0?password=hunter2", hash_secret="hunter2", admin_token="hunter2")
    assert "hunter2" not in repr(secretive) + str(secretive)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://me:p@ss/w:rd@h:6379/0", "redis://***@h:6379/0"),
        ("redis://:secret@h", "redis://***@h"),
        ("redis://:secret", "redis://:***"),
        ("redis://h:6379secret/0", "redis://h:***"),
        ("me:secret@h:6379", "***@h:6379"),
        ("unix:///s.sock?db=1&password=secret&x=2", "unix:///s.sock?db=1&password=***&x=2"),
        ("redis://h/?sentinel_password=secret", "redis://h/?sentinel_password=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert redact_url(url) == shown


def test_streams_are_stopped_only_where_their_holds_grow():
    with pytest.raises(
        SettingsError, match=r"^BUDGET_ON_LIMIT='stop': accepted: with BUDGET_ESTIMATE=learned, or worst"
    ):
        load(on_limit="stop", estimate="expected")
    assert load(on_limit="stop", estimate="learned").on_limit is OnLimit.STOP
