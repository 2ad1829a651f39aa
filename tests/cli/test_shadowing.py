"""`shadow`: what shadow limits would have refused, for people and for scripts."""

import pytest

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.shadow import ShadowLimit, ShadowSum, day_of, days_between
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period
from budget_middleware.stores import base
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.redis import store as redis_store
from tests.cli.conftest import RunCli

DAY_MS = 86_400_000
KEY = ShadowLimit("key:1f3a9c0b2d4e5f60", Period.DAY, Unit.USD, 5_000_000_000, LimitMode.SHADOW)
TOKENS = ShadowLimit("team:search", Period.HOUR, Unit.TOKENS, 2_000, LimitMode.ENFORCE)


def sum_at(time_ms: int, *, requests: int, enough: int, estimates: int = 1_000_000) -> ShadowSum:
    return ShadowSum(requests, estimates, enough, time_ms, time_ms + 1_000)


async def two_days(store: RedisStore) -> list[str]:
    """Adds to today and to the day before yesterday; the days of the week that ends today."""
    now_ms = (await store.head()).now_ms
    today, earlier = now_ms, now_ms - 2 * DAY_MS
    await store.add_shadow_sums(
        day_of(earlier), {KEY: sum_at(earlier, requests=8, enough=7_250_000_000, estimates=9 * 10**8)}
    )
    await store.add_shadow_sums(
        day_of(today),
        {KEY: sum_at(today, requests=2, enough=5_100_000_000), TOKENS: sum_at(today, requests=1, enough=2_048)},
    )
    return days_between(day_of(now_ms - 6 * DAY_MS), day_of(now_ms))


async def test_a_limit_is_one_row_over_its_days(cli: RunCli, store: RedisStore):
    week = await two_days(store)
    ran = cli("shadow")
    assert (ran.code, ran.err) == (0, "")
    head, key, team, summary = ran.out.splitlines()
    assert head.split() == [
        *("account", "period", "mode", "limit_usd", "requests", "estimates_usd", "enough_usd"),
        *("first_at", "last_at", "by_day", "limit_tokens", "estimates_tokens", "enough_tokens"),
    ]
    assert key.split()[:7] == ["key:1f3a9c0b2d4e5f60", "day", "shadow", "5.00", "10", "0.901", "7.25"]
    assert key.split()[9] == "....█.▂"
    assert team.split()[:3] == ["team:search", "hour", "enforce"]
    assert team.split()[-3:] == ["2000", "1000000", "2048"]
    assert summary == f"{week[0]} to {week[-1]} (UTC): 2 limits would have refused 11 requests"


async def test_scripts_get_all_of_it(cli: RunCli, store: RedisStore):
    week = await two_days(store)
    told = cli("shadow", "--json").json
    assert (told["since"], told["until"], told["left_out"]) == (week[0], week[-1], 0)
    of_key, of_team = told["limits"]
    assert (of_key["limit_usd"], of_key["enough_usd"], of_key["estimates_usd"]) == ("5.00", "7.25", "0.901")
    assert of_key["by_day"] == {**dict.fromkeys(week, 0), week[4]: 8, week[6]: 2}
    assert of_key["first_at"] < of_key["last_at"]
    assert (of_team["mode"], of_team["enough_tokens"], of_team["requests"]) == ("enforce", "2048", 1)


async def test_of_fewer_days_less_is_told(cli: RunCli, store: RedisStore):
    await two_days(store)
    (of_key, _) = cli("shadow", "--since", "1d", "--json").json["limits"]
    assert (of_key["requests"], of_key["enough_usd"]) == (2, "5.10")


def test_where_nothing_would_have_been_refused(cli: RunCli):
    ran = cli("shadow", "--since", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(" (UTC): nothing would have been refused\n")


async def test_what_a_day_had_no_room_for_is_told(cli: RunCli, store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    for module in (base, redis_store):
        monkeypatch.setattr(module, "SHADOW_LIMITS_MAX", 1)
    await two_days(store)
    assert cli("shadow", "--json").json["left_out"] == 1
    ran = cli("shadow")
    assert ran.code == 0
    assert ran.err == "budget-middleware: warning: 1 request more, by limits for which a day had no room\n"


@pytest.mark.parametrize("since", ["0", "7h", "d", "-1", "99999", "1.5d"])
def test_a_slip_gets_one_line(cli: RunCli, since: str):
    ran = cli("shadow", "--since", since)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1


async def test_explain_names_limits_that_refuse_nothing(cli: RunCli):
    limits = f"{KEY.account}=9/day; {KEY.account}=5/day!shadow; {KEY.account}=8/day!soft"
    (line,) = cli("explain", KEY.account, BUDGET_LIMITS=limits).out.splitlines()[:1]
    assert ", limit $9.00, available $9.00, soft limit $8.00, shadow limit $5.00, resets" in line
