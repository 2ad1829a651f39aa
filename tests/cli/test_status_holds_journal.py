"""`status`, `holds`, `journal`: exact keys and amounts, on a real server."""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from budget_middleware.core.model import Target
from budget_middleware.core.windows import Period, window_at
from budget_middleware.stores.redis import RedisStore
from budget_middleware.testing import MovableClock
from tests.cli.conftest import COMMAND, RunCli
from tests.stores.verbs import adjust, finalize, reserve, target

KEY = "key:abcabc0000000000"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TOKYO = ZoneInfo("Asia/Tokyo")


async def test_status_tells_the_terms_of_limits(cli: RunCli, store: RedisStore, month: Target):
    await store.adjust(adjust("a1", "3", month))
    limits = "key=10/month!alert=50,80; key=2/month!soft; key=1/month!shadow; team:a=5tokens/day!soft!alert=50"
    rows = cli("status", "--json", BUDGET_LIMITS=limits).json
    assert [row["terms"] for row in rows] == ["10.00/month!alert=50,80", "5tokens/day!soft!alert=50"]
    cli("limit", "set", KEY, "+5/month", "--until", "2999-01-01", BUDGET_LIMITS=limits)
    (row,) = cli("status", KEY, "--json", BUDGET_LIMITS=limits).json
    increased = "10.00/month!alert=50,80 +5.00 until 2999-01-01T00:00+00:00"
    assert (row["limit_usd"], row["available_usd"], row["terms"]) == ("15.00", "12.00", increased)
    assert (
        f"limit $15.00, available $12.00, soft limit $2.00, shadow limit $1.00 ({increased})"
        in cli("explain", KEY, BUDGET_LIMITS=limits).out
    )


async def test_status(cli: RunCli, store: RedisStore, month: Target, now_ms: int):
    await store.reserve(reserve("r1", "0.60", month))
    await store.finalize(finalize("r1", "0.123456789", month))
    await store.reserve(reserve("r2", "0.25", month))
    limits = "key=1/month; team:search=5/total; key:efefef0000000000=none"

    ran = cli("status", "--json", BUDGET_LIMITS=limits)
    assert (ran.code, ran.err) == (0, "")
    assert ran.json == [
        {
            "account": "key:abcabc0000000000",
            "period": "month",
            "window": month.window.id,
            "unit": "usd",
            "limit_usd": "1.00",
            "spent_usd": "0.123456789",
            "reserved_usd": "0.25",
            "available_usd": "0.626543211",
            "resets_at": datetime.fromtimestamp(month.window.ends_ms // 1000, UTC).isoformat(),
            "limit_pattern": "key:*",
        },
        {
            "account": "team:search",
            "period": "total",
            "window": "total",
            "unit": "usd",
            "limit_usd": "5.00",
            "spent_usd": "0.00",
            "reserved_usd": "0.00",
            "available_usd": "5.00",
            "resets_at": None,
        },
    ]

    heads, *lines = cli("status", BUDGET_LIMITS=limits).out.splitlines()
    assert heads.split() == [name for name in ran.json[0] if name != "unit"]
    assert [line.split()[:2] for line in lines] == [["key:abcabc0000000000", "month"], ["team:search", "total"]]
    assert lines[0].index(".00") == lines[1].index(".00"), "limits stand on their decimal point"


async def test_status_without_a_limit_and_over_it(cli: RunCli, store: RedisStore, month: Target):
    await store.adjust(adjust("a1", "3", month))
    (row,) = cli("status", "key:abcabc0000000000", "--json").json
    assert (row["limit_usd"], row["available_usd"]) == (None, None)
    await store.set_limit("key:*", period=Period.MONTH, limit_nanos=1_000_000_000)
    (row,) = cli("status", "key:abcabc0000000000", "--json", BUDGET_LIMITS="key:abcabc0000000000=9/month").json
    assert (row["limit_usd"], row["available_usd"]) == ("1.00", "-2.00")


async def test_status_of_one_account_shows_what_limits_it(cli: RunCli, store: RedisStore, month: Target):
    await store.adjust(adjust("a1", "3", month))
    rows = cli("status", "key:fefefe0000000000", "--json", BUDGET_LIMITS="key=9/day; key=20/month; team:a=1/day").json
    assert [(row["account"], row["period"], row["available_usd"]) for row in rows] == [
        ("key:fefefe0000000000", "day", "9.00"),
        ("key:fefefe0000000000", "month", "20.00"),
    ]
    nobody = cli("status", "key:badbad0000000000")
    assert (nobody.code, nobody.out) == (0, "no counters\n")


async def test_status_of_past_windows_and_of_another_timezone(cli: RunCli, store: RedisStore, now_ms: int):
    past = target("key:abcabc0000000000", period=Period.HOUR, at_ms=now_ms - 7_200_000)
    await store.adjust(adjust("a1", "1", past, any_window=True))
    assert cli("status", "--json").json == []
    (row,) = cli("status", "--all", "--json").json
    ends_at = datetime.fromtimestamp(past.window.ends_ms // 1000, UTC).isoformat()
    assert (row["window"], row["resets_at"]) == (past.window.id, ends_at)
    (row,) = cli("status", "--all", "--json", BUDGET_TIMEZONE="Asia/Tokyo").json
    assert (row["window"], row["resets_at"]) == (past.window.id, None)

    tokyo = window_at(Period.DAY, time_ms=now_ms, timezone=TOKYO)
    (row,) = cli("status", "--json", BUDGET_TIMEZONE="Asia/Tokyo", BUDGET_LIMITS="global=1/day").json
    assert (row["window"], row["resets_at"][-6:]) == (tokyo.id, "+09:00")


async def test_holds_are_told_oldest_first(
    cli: RunCli, store: RedisStore, month: Target, clock: MovableClock, now_ms: int
):
    day = target("key:abcabc0000000000", period=Period.DAY, at_ms=now_ms)
    team = target("team:search", at_ms=now_ms)
    await store.reserve(reserve("zz", "0.60", month, day, team, lease_s=600, trace=TRACE))
    clock.advance(ms=1)
    await store.reserve(reserve("aa", "0.25", month, lease_s=600))

    ran = cli("holds", "--json")
    first, second = ran.json
    age_s, expires_in_s = first.pop("age_s"), first.pop("expires_in_s")
    assert 0 <= age_s < 60
    assert age_s + expires_in_s == 600
    assert first == {
        "id": "zz",
        "accounts": ["key:abcabc0000000000", "team:search"],
        "amount_usd": "0.60",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert (second["id"], second["trace_id"]) == ("aa", None)
    assert "key:abcabc0000000000 team:search" in cli("holds").out


async def test_journal(cli: RunCli, store: RedisStore, month: Target, now_ms: int):
    team = target("team:search", at_ms=now_ms)
    await store.reserve(reserve("r1", "0.60", month, team, trace=TRACE))
    booked = await store.finalize(finalize("r1", "0.10"))

    lines = [json.loads(line) for line in cli("journal", "--json").out.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert lines[0] == {
        "seq": 1,
        "time": lines[0]["time"],
        "op": "reserve",
        "reservation_id": "r1",
        "account": "key:abcabc0000000000",
        "period": "month",
        "window": month.window.id,
        "unit": "usd",
        "spent_delta_usd": "0.00",
        "reserved_delta_usd": "0.60",
        "spent_usd": "0.00",
        "reserved_usd": "0.60",
        "status": "reserved",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "reason": "",
    }
    told = datetime.fromtimestamp(booked.now_ms // 1000, UTC).replace(microsecond=booked.now_ms % 1000 * 1000)
    assert lines[3]["time"] == told.isoformat(timespec="milliseconds")
    assert (lines[3]["reserved_delta_usd"], lines[3]["spent_usd"]) == ("-0.60", "0.10")
    assert (lines[3]["trace_id"], lines[3]["span_id"]) == (None, None)

    (last,) = cli("journal", "team:search", "--limit", "1", "--json").out.splitlines()
    assert json.loads(last) == lines[3]
    heads, *rows = cli("journal").out.splitlines()
    assert heads.split()[:4] == ["seq", "time", "status", "account"]
    assert [row.split()[2] for row in rows] == ["reserved", "reserved", "finalized", "finalized"]


async def test_the_journal_links_to_traces(cli: RunCli, store: RedisStore, month: Target):
    await store.reserve(reserve("r1", "0.60", month, trace=TRACE))
    await store.adjust(adjust("a1", "1", month))
    trace_id, span_id = TRACE.split("-")[1:3]

    by_setting = cli("journal", "--json", BUDGET_TRACE_URL="http://jaeger:16686/trace/{trace_id}?uiFind={span_id}")
    links = [json.loads(line)["trace_url"] for line in by_setting.out.splitlines()]
    assert links == [f"http://jaeger:16686/trace/{trace_id}?uiFind={span_id}", None]

    option = ("--trace-url-template", "https://here/{trace_id}")
    heads, first, _ = cli("journal", *option, BUDGET_TRACE_URL="https://there/{trace_id}").out.splitlines()
    assert (heads.split()[-1], first.split()[-1]) == ("trace_url", f"https://here/{trace_id}")


def test_a_template_without_the_trace_is_refused(cli: RunCli):
    ran = cli("journal", "--trace-url-template", "http://jaeger/trace")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "'http://jaeger/trace': accepted: an http(s) address with {trace_id} in it" in ran.err


async def test_the_journal_steers_no_terminal(cli: RunCli, store: RedisStore, month: Target):
    verb = adjust("a1", "1", month)
    await store.adjust(type(verb)(verb.id, verb.targets, verb.amount, reason="\x1b[2Jgone"))
    assert "?[2Jgone" in cli("journal").out


async def test_following_the_journal(environment: dict[str, str], store: RedisStore, month: Target, now_ms: int):
    other = target("key:efefef0000000000", at_ms=now_ms)
    await store.adjust(adjust("a1", "1", month))
    follower = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("journal", "key:abcabc0000000000", "--follow", "--json"),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert follower.stdout is not None

    async def next_seq() -> int:
        assert follower.stdout is not None
        line = await asyncio.wait_for(follower.stdout.readline(), timeout=30)
        seq: int = json.loads(line)["seq"]
        return seq

    assert await next_seq() == 1
    await store.adjust(adjust("a2", "1", other))
    await store.adjust(adjust("a3", "1", month))
    assert await next_seq() == 3
    follower.send_signal(signal.SIGINT)
    _, told = await asyncio.wait_for(follower.communicate(), timeout=30)
    assert (follower.returncode, told) == (130, b"")
