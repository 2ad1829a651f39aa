"""`limit`, `adjust`, `release`: what is so afterwards, and what is told of it."""

import getpass
from zoneinfo import ZoneInfo

import pytest

from budget_middleware.core.limits.limits import Increase, Slot, Terms
from budget_middleware.core.model import Balance, Target
from budget_middleware.core.statuses import Status
from budget_middleware.core.windows import Period
from budget_middleware.ledger import Ledger
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.records.limit_fields import STORED_PERIODS
from budget_middleware.stores.redis import RedisStore
from budget_middleware.stores.runtime_limits import MORE
from tests.cli.conftest import RunCli
from tests.stores.verbs import adjust, figures, finalize, reserve, target

WHO = getpass.getuser()
KEY = "key:1f3a9c0b2d4e5f60"
USED = "key:abcabc0000000000"


def in_json(account: str, period: str, limit: str | None, *, layer: str = "runtime") -> dict[str, str | None]:
    """The row of an enforced limit in USD."""
    text = f"{limit or 'none'}/{period}"
    row = {"account": account, "period": period, "limit_usd": limit, "layer": layer}
    return {**row, "unit": "usd", "mode": "enforce", "text": text}


async def test_setting_and_clearing_a_limit(cli: RunCli, store: RedisStore):
    environment = {"BUDGET_LIMITS": "key=10/day; key=100/month"}
    ran = cli("limit", "set", KEY, "20/day", "none/month", "0.5/hour", "--new", **environment)
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["account", "limit", "layer", "left"],
        [KEY, "0.50/hour", "runtime", "0.50"],
        [KEY, "20.00/day", "runtime", "20.00"],
        [KEY, "none/month", "runtime", "-"],
    ]
    limits = (await store.limits()).limits
    assert limits == {
        (KEY, Period.HOUR): 500_000_000,
        (KEY, Period.DAY): 20_000_000_000,
        (KEY, Period.MONTH): None,
    }

    ran = cli("limit", "clear", KEY, "day", "--json", **environment)
    row = in_json(KEY, "day", "10.00", layer="environment")
    assert ran.json[1] == {**row, "pattern": "key:*", "available_usd": "10.00"}
    ran = cli("limit", "clear", KEY)
    assert (ran.code, ran.out) == (0, f"nothing limits {KEY}\n")
    ran = cli("limit", "clear", KEY)
    assert (ran.code, ran.err) == (1, f"budget-middleware: not cleared: {KEY} has no runtime limit\n")


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[1:]]


def test_limits_of_every_unit_and_mode(cli: RunCli):
    words = ("10/day!alert=50,80", "5/day!shadow", "200000 tokens/minute", "8inflight; 9/month@15!carry=50%")
    ran = cli("limit", "set", KEY, *words, "--new")
    assert (ran.code, ran.err) == (0, "")
    assert lines(ran.out) == [
        [KEY, "200000tokens/minute", "runtime", "200000"],
        [KEY, "10.00/day!alert=50,80", "runtime", "10.00"],
        [KEY, "5.00/day!shadow", "runtime", "5.00"],
        [KEY, "9.00/month@15!carry=50%", "runtime", "13.50"],
        [KEY, "8inflight", "runtime", "8"],
    ]
    row = cli("limit", "list", "--json").json[1]
    assert row == in_json(KEY, "day", "10.00") | {"alert_percents": [50, 80], "text": "10.00/day!alert=50,80"}
    for which, left in (("10/day!shadow", 4), ("inflight", 3), ("tokens/minute", 2), ("month@15", 1)):
        assert len(lines(cli("limit", "clear", KEY, which).out)) == left
    ran = cli("limit", "clear", KEY, "!soft")
    assert (ran.code, ran.err) == (1, f"budget-middleware: not cleared: {KEY} has no runtime limit !soft\n")


def test_from_shadow_to_enforced(cli: RunCli):
    cli("limit", "set", KEY, "10/day", "5/day!shadow", "--new")
    assert [row[1] for row in lines(cli("limit", "set", KEY, "5/day").out)] == ["5.00/day", "5.00/day!shadow"]
    assert [row[1] for row in lines(cli("limit", "clear", KEY, "!shadow").out)] == ["5.00/day"]


def test_none_lifts_all_until_it_is_cleared(cli: RunCli):
    environment = {"BUDGET_LIMITS": "key=10/day; key=8inflight!soft"}
    ran = cli("limit", "set", KEY, "none", "--new", **environment)
    assert "none/day" in ran.out
    assert "none inflight!soft" in ran.out
    ran = cli("limit", "clear", KEY, "day", **environment)
    assert ran.err == f"budget-middleware: warning: `none` still lifts all other limits of {KEY}\n"
    ran = cli("limit", "clear", KEY, **environment)
    assert [row[1:3] for row in lines(ran.out)] == [["10.00/day", "environment"], ["8inflight!soft", "environment"]]


async def test_what_is_left_is_shown_and_a_limit_below_what_is_spent_is_warned_of(
    cli: RunCli, store: RedisStore, month: Target
):
    await store.adjust(adjust("a1", "3", month))
    ran = cli("limit", "set", USED, "5/month", "2/month!soft")
    assert (ran.err, [row[1:] for row in lines(ran.out)]) == (
        "",
        [["5.00/month", "runtime", "2.00"], ["2.00/month!soft", "runtime", "-1.00"]],
    )
    ran = cli("limit", "set", USED, "2/month")
    assert lines(ran.out)[0] == [USED, "2.00/month", "runtime", "-1.00"]
    assert ran.err.startswith(
        f"budget-middleware: warning: {USED} is beyond 2.00/month (spent $3.00, reserved $0.00):"
        " what costs something is not admitted before 20"
    )


async def test_temporary_increases_add_up_and_lapse(cli: RunCli, store: RedisStore, now_ms: int):
    environment = {"BUDGET_LIMITS": "key=10/month", "BUDGET_TIMEZONE": "Europe/Berlin"}
    await store.adjust(adjust("a1", "3", target(USED, at_ms=now_ms, timezone=ZoneInfo("Europe/Berlin"))))
    ran = cli("limit", "set", USED, "+5/day", "--until", "2999-01-01", **environment)
    assert ran.code == 2
    assert ran.err == f"budget-middleware: {USED} has no limit of day to be raised: set one, or name one that it has\n"
    ran = cli("limit", "set", USED, "+5/month", "--until", "2020-01-01", "08:30", **environment)
    assert (ran.code, ran.err) == (2, "budget-middleware: 2020-01-01T08:30+01:00 is over already\n")
    cli("limit", "set", USED, "+5/month", "--until", "2999-01-01", **environment)
    ran = cli("limit", "set", USED, "+7/month", "--until", "2999-07-01", "08:30", "--json", **environment)
    assert ran.json[0]["available_usd"] == "19.00"
    assert (ran.json[0]["limit_usd"], ran.json[0]["layer"]) == ("10.00", "runtime")
    assert ran.json[0]["increases"] == [
        {"amount_usd": "5.00", "unit": "usd", "until": "2998-12-31T23:00:00.000+00:00"},
        {"amount_usd": "7.00", "unit": "usd", "until": "2999-07-01T06:30:00.000+00:00"},
    ]
    lapsed = Terms(10 * 10**9, increases=(Increase(10**9, 1),))
    await store.change_limits(USED, {Slot(Period.MONTH): lapsed})
    ran = cli("limit", "set", USED, "+5/month", "--until", "2999-01-01", "--json", **environment)
    assert [each["amount_usd"] for each in ran.json[0]["increases"]] == ["5.00"]
    assert ran.json[0]["available_usd"] == "12.00"
    status = cli("status", USED, "--json", **environment).json
    assert [(row["limit_usd"], row["available_usd"]) for row in status] == [("15.00", "12.00")]


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        (("key", "1/day"), {("key:*", Period.DAY): 10**9}),
        (("key:*", "1/day"), {("key:*", Period.DAY): 10**9}),
        (("model+key:gpt-4o+*", "2/day"), {("key+model:*+gpt-4o", Period.DAY): 2 * 10**9}),
        (("global", "0/total"), {("global", Period.TOTAL): 0}),
        (
            ("key:%61bcabc0000000000", "none"),
            {("key:abcabc0000000000", period): None for period in STORED_PERIODS}
            | {("key:abcabc0000000000", MORE): "all=-"},
        ),
    ],
)
async def test_patterns_are_stored_as_the_gateway_reads_them(
    cli: RunCli, store: RedisStore, words: tuple[str, ...], stored: dict
):
    assert cli("limit", "set", *words, "--new").code == 0
    assert (await store.limits()).limits == stored


async def test_listing_limits(cli: RunCli, store: RedisStore):
    assert cli("limit", "list").out == "no runtime limits\n"
    await store.set_limit("key:bbbbbb0000000000", period=Period.MONTH, limit_nanos=1)
    await store.set_limit("key:bbbbbb0000000000", period=Period.DAY, limit_nanos=None)
    await store.set_limit("global", period=Period.TOTAL, limit_nanos=0)
    assert cli("limit", "list", "--json").json == [
        in_json("global", "total", "0.00"),
        in_json("key:bbbbbb0000000000", "day", None),
        in_json("key:bbbbbb0000000000", "month", "0.000000001"),
    ]


def test_a_limit_that_no_request_meets_gets_a_warning(cli: RunCli):
    ran = cli("limit", "set", "taem:search", "1/day", "--new")
    assert ran.code == 0
    assert ran.err == (
        "budget-middleware: warning: neither BUDGET_ACCOUNTS nor BUDGET_ACCOUNTS_FILE has a source for taem;"
        " unless accounts_source names it, no request has this account\n"
    )


def test_a_limit_on_a_model_by_a_name_of_its_own_gets_a_warning(cli: RunCli):
    ran = cli("limit", "set", "model:openai/gpt-4o", "1/day", "--new")
    assert ran.code == 0
    assert ran.err == (
        "budget-middleware: warning: model:openai/gpt-4o is no account of requests for that model: they are charged to"
        " model:gpt-4o\n"
    )
    assert cli("limit", "set", "model:gpt-4o", "1/day", "--new").err == ""
    ran = cli("doctor", "--json")
    assert "they are charged to model:gpt-4o" in next(row["message"] for row in ran.json if row["check"] == "limits")


@pytest.mark.parametrize("words", [("-5", "--yes"), ("-5.00", "--yes", "--window", "month")])
async def test_a_credit(cli: RunCli, store: RedisStore, month: Target, words: tuple[str, ...]):
    await store.adjust(adjust("a1", "3", month))
    ran = cli("adjust", "key:abcabc0000000000", *words, "--reason", "refund\nof -3", "--json")
    assert ran.code == 0
    assert ran.json == [
        {
            "seq": 2,
            "account": "key:abcabc0000000000",
            "period": "month",
            "window": month.window.id,
            "unit": "usd",
            "spent_before_usd": "3.00",
            "spent_usd": "-2.00",
        }
    ]
    (entry,) = await store.latest(count=1)
    assert (entry.status, entry.reason) == (Status.ADJUSTED, f"by {WHO}: refund of -3")


async def test_an_adjustment_reaches_every_period_in_use(cli: RunCli, store: RedisStore, month: Target, now_ms: int):
    year, day = (target("key:abcabc0000000000", period=period, at_ms=now_ms) for period in (Period.YEAR, Period.DAY))
    past = target("key:abcabc0000000000", period=Period.HOUR, at_ms=now_ms - 7_200_000)
    await store.adjust(adjust("a1", "1", month))
    await store.adjust(adjust("a2", "1", year))
    await store.adjust(adjust("a3", "1", past, any_window=True))
    ran = cli("adjust", "key:abcabc0000000000", "-1e-3", "--reason", "x", BUDGET_LIMITS="key=10/day; key=none/week")
    assert [line.split()[2:] for line in ran.out.splitlines()[1:]] == [
        ["day", day.window.id, "0.00", "-0.001"],
        ["month", month.window.id, "1.00", "0.999"],
        ["year", year.window.id, "1.00", "0.999"],
    ]
    entries = await store.latest(count=3)
    assert [entry.limit for entry in entries] == [10 * 10**9, None, None]


async def test_an_adjustment_of_a_named_window(cli: RunCli, store: RedisStore, now_ms: int):
    past = target("key:abcabc0000000000", period=Period.HOUR, at_ms=now_ms - 7_200_000)
    ran = cli("adjust", "key:abcabc0000000000", "+.5", "--reason", "x", "--new", "--window", f"hour:{past.window.id}")
    assert ran.code == 0
    assert await figures(store, past) == ("0.50", "0.00")
    assert len(await store.counters()) == 1


async def test_an_account_that_nobody_knows_is_adjusted_by_the_month(cli: RunCli, store: RedisStore, month: Target):
    assert cli("adjust", "key:abcabc0000000000", "-.5", "--reason", "x", "--new").code == 0
    assert await figures(store, month) == ("-0.50", "0.00")


def test_an_adjustment_of_unknown_fate(cli: RunCli, monkeypatch: pytest.MonkeyPatch):
    async def lost(*_: object, **__: object) -> None:
        raise StoreUnavailable("no answer within 5 s")

    monkeypatch.setattr(Ledger, "adjust", lost)
    ran = cli("adjust", "key:-", "-5", "--reason", "x", "--new")
    assert ran.code == 2
    assert "before you repeat it, look in `journal key:-` whether it was booked" in ran.err


async def test_release(cli: RunCli, store: RedisStore, month: Target):
    await store.reserve(reserve("r1", "0.60", month))
    ran = cli("release", "r1", "--reason", "stuck", "--json")
    assert ran.code == 0
    assert ran.json == [
        {
            "seq": 2,
            "account": "key:abcabc0000000000",
            "period": "month",
            "window": month.window.id,
            "unit": "usd",
            "reserved_before_usd": "0.60",
            "reserved_usd": "0.00",
        }
    ]
    (entry,) = await store.latest(count=1)
    assert (entry.status, entry.reason) == (Status.EXPIRED, f"by {WHO}: stuck")

    again = cli("release", "r1", "--reason", "stuck")
    assert (again.code, again.out) == (1, "")
    assert again.err == "budget-middleware: not released: its lease is over, it holds nothing any more\n"
    assert (await store.finalize(finalize("r1", "0.10", month))).balances == (Balance(100_000_000, 0),)
    late = cli("release", "r1", "--reason", "stuck")
    assert (late.code, late.err) == (1, "budget-middleware: not released: its cost is booked already\n")


def test_releasing_an_unknown_id(cli: RunCli):
    ran = cli("release", "r9", "--reason", "x")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "budget-middleware: not released: no reservation has that id\n"


async def test_a_limit_of_one_account_is_changed_without_reading_all(cli: RunCli, store: RedisStore):
    """There may be 100,000 others; whoever reads this one complains of it."""
    await store.set_limit(KEY, period=Period.DAY, limit_nanos=10**9)
    await store.set_limit("key", period=Period.MONTH, limit_nanos=10**10)
    await store._client().hset(f"{store._prefix}limits", "key:other|day", "many")
    assert "cannot be read" in cli("limit", "list").err
    ran = cli("limit", "set", KEY, "5/day")
    assert (ran.code, ran.err) == (0, "")
    assert "5.00/day" in ran.out
    ran = cli("limit", "clear", KEY, "day")
    assert (ran.code, ran.err) == (0, "")
    assert "10.00/month" in ran.out


async def test_a_transfer(cli: RunCli, store: RedisStore, now_ms: int):
    giver, getter = (target(f"team:{name}", at_ms=now_ms) for name in ("a", "b"))
    await store.adjust(adjust("a1", "1", giver, getter))
    settings = {"BUDGET_LIMITS": "team=10/month", "BUDGET_ACCOUNTS": "team=header:x-team"}
    ran = cli("transfer", "team:a", "team:b", "2.5", "--reason", "they need it", **settings)
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["3", "team:a", "month", giver.window.id, "1.00", "3.50"],
        ["4", "team:b", "month", giver.window.id, "1.00", "-1.50"],
    ]
    entries = await store.latest(count=2)
    assert {(entry.status, entry.reason) for entry in entries} == {(Status.TRANSFERRED, f"by {WHO}: they need it")}
    ran = cli("transfer", "team:a", "team:b", "7", "--reason", "more", **settings)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"budget-middleware: not transferred: team:a month {giver.window.id} has $6.50 available:"
        " limit $10.00, spent $3.50, reserved $0.00\n"
    )
    ran = cli("transfer", "team:b", "team:a", "0.5", "--reason", "back", "--json", **settings)
    assert [(row["account"], row["spent_usd"]) for row in ran.json] == [("team:b", "-1.00"), ("team:a", "3.00")]

    story = cli("explain", "team:a", **settings).out
    assert "  2 transfers: $2.50 to team:b, $0.50 from team:b." in story
    told = cli("explain", entries[0].reservation_id, **settings).out
    assert "an operator's transfer of $2.50: team:a to team:b." in told
    assert cli("audit", **settings).code == 0


@pytest.mark.parametrize("amount", ["many", "5 apples", "1.5tokens", "2inflight", "tokens"])
def test_no_amount_to_transfer(cli: RunCli, amount: str):
    ran = cli("transfer", "team:a", "team:b", amount, "--reason", "x")
    assert (ran.code, ran.out) == (2, "")
    assert f"argument AMOUNT: {amount!r} is not an amount; accepted are 0.25 (USD), 200000tokens, 60requests" in ran.err


def test_a_transfer_of_unknown_fate(cli: RunCli, monkeypatch: pytest.MonkeyPatch):
    async def lost(*_: object, **__: object) -> None:
        raise StoreUnavailable("no answer within 5 s")

    monkeypatch.setattr(Ledger, "transfer", lost)
    ran = cli("transfer", "team:a", "team:b", "5", "--reason", "x", "--new", BUDGET_LIMITS="team=10/month")
    assert ran.code == 2
    assert "before you repeat it, look in `journal team:a` whether it was booked" in ran.err
