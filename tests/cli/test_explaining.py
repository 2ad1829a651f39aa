"""`explain`: from a number, or a reservation, to its cause; on a real server."""

import asyncio
import json
from dataclasses import replace

import pytest

from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection, Target
from budget_middleware.core.money import nanos_from_usd
from budget_middleware.core.verbs import Expire
from budget_middleware.core.windows import Period
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli
from tests.stores.verbs import adjust, finalize, grow, release, reserve, target

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = TRACE[:-2] + "00"
TRACE_ID = TRACE.split("-")[1]
LIMITS = "key=1/month; team=9/month"

BOOKED, LATE, HELD, FAILED, REFUSED = (digit * 32 for digit in "abcdf")


def refusal(id_: str, of: Target, *, spent: str, reserved: str, estimate: str, at_ms: int) -> LoggedRefusal:
    balance = Balance(nanos_from_usd(spent), nanos_from_usd(reserved))
    rejection = Rejection(of, balance, nanos_from_usd(estimate))
    return LoggedRefusal(at_ms, id_, ("key:abcabc0000000000", "team:search"), rejection, model="gpt-4o", trace=TRACE)


@pytest.fixture
async def team(now_ms: int) -> Target:
    return target("team:search", at_ms=now_ms)


@pytest.fixture
async def story(store: RedisStore, month: Target, team: Target, now_ms: int) -> RedisStore:
    """Something of everything that may have happened to `key:abcabc0000000000`."""
    await store.reserve(reserve(BOOKED, "0.10", month, team, trace=TRACE))
    await store.finalize(replace(finalize(BOOKED, "0.04"), trace=TRACE, reason="usage"))
    await store.reserve(reserve(LATE, "0.20", month, team, charge="0.01"))
    await store.expire(Expire(LATE, reason="by alice: it hangs"))
    await store.finalize(replace(finalize(LATE, "0.05"), reason="aborted_partial"))
    await store.reserve(reserve(FAILED, "0.30", month, team))
    await store.release(replace(release(FAILED), reason="failed"))
    await store.reserve(reserve(HELD, "0.40", month, team, lease_s=600, trace=UNSAMPLED))
    credit = adjust("e" * 32, "-0.02", month)
    await store.adjust(replace(credit, reason="by bob: refund"))
    await store.adjust(replace(credit, id="9" * 32, reason="goodwill"))
    limited, small = replace(month, limit=10**9), replace(team, limit=nanos_from_usd("0.5"))
    await store.log_refusals(
        [
            refusal(REFUSED, limited, spent="0.05", reserved="0.40", estimate="0.70", at_ms=now_ms + 1),
            refusal("1" * 32, limited, spent="0.05", reserved="0.40", estimate="1.20", at_ms=now_ms + 2),
            replace(
                refusal("2" * 32, small, spent="0.09", reserved="0.40", estimate="0.03", at_ms=now_ms + 3),
                is_enforced=False,
                times=5,
            ),
        ]
    )
    return store


async def test_the_story_of_an_account(cli: RunCli, story: RedisStore, month: Target, now_ms: int):
    ran = cli("explain", "key:abcabc0000000000", BUDGET_LIMITS=LIMITS)
    assert (ran.code, ran.err) == (0, "")
    told, _, table = ran.out.partition("\n\n")
    first, *lines = told.splitlines()
    head = f"key:abcabc0000000000 month {month.window.id}: spent $0.05, reserved $0.40, limit $1.00 by key:*, available"
    assert first.startswith(f"{head} $0.55, resets at ")
    pending = lines.pop(6)
    assert pending.startswith("  1 reservation of $0.40 pending, the oldest since 20")
    refusing = f"month {month.window.id}"
    in_shadow = f"the budget of team:search {refusing}"
    assert [line.partition("; the last at ")[0] for line in lines] == [
        "  4 requests came in and reserved $1.00.",
        "  1 finalized: $0.04 was booked.",
        "  1 finalized after the lease had expired: $0.05 was booked late.",
        "  1 released: $0.30 was given back, nothing booked.",
        "  1 lease expired: $0.20 was given back, $0.00 charged.",
        "  2 adjustments: -$0.02 by bob, -$0.02 as 'goodwill'.",
        f"1 request refused: the budget of key:abcabc0000000000 {refusing} was held by other requests",
        f"1 request refused: the budget of key:abcabc0000000000 {refusing} could not cover it",
        f"5 requests served that shadow mode did not refuse: {in_shadow} was held by other requests",
    ]
    heads, *rows = table.splitlines()
    assert heads.split() == ["what", "usd", "time", "window", "other_accounts", "reservation_id", "why", "trace_id"]
    assert ["team:search" in row for row in rows] == [True] * 4 + [False] * 2 + [True] * 3
    assert [(row.split()[0], row.split()[-1]) for row in rows] == [
        ("held", TRACE_ID),
        ("refused:", TRACE_ID),
        ("refused:", TRACE_ID),
        ("refused:", TRACE_ID),
        ("adjusted", "-"),
        ("adjusted", "-"),
        ("expired", "-"),
        ("finalized_late", "-"),
        ("finalized", TRACE_ID),
    ]
    assert [row for row in rows if LATE in row and "by alice: it hangs" in row], "who ended the lease"


async def test_the_story_of_an_account_as_json(cli: RunCli, story: RedisStore, month: Target, now_ms: int):
    ran = cli("explain", "key:abcabc0000000000", "--json", "--limit", "2", BUDGET_LIMITS=LIMITS)
    told = ran.json
    assert told["account"] == "key:abcabc0000000000"
    (counter,) = told["counters"]
    (status,) = cli("status", "key:abcabc0000000000", "--json", BUDGET_LIMITS=LIMITS).json
    assert counter.items() >= status.items()
    assert counter["before"] == {"spent_usd": "0.00", "reserved_usd": "0.00"}
    assert (counter["holds"], counter["unexplained_usd"]) == (1, "0.00")
    assert counter["changes"] == {
        "reserved": {"count": 4, "spent_usd": "0.00", "reserved_usd": "1.00"},
        "finalized": {"count": 1, "spent_usd": "0.04", "reserved_usd": "-0.10"},
        "finalized_late": {"count": 1, "spent_usd": "0.05", "reserved_usd": "0.00"},
        "released": {"count": 1, "spent_usd": "0.00", "reserved_usd": "-0.30"},
        "expired": {"count": 1, "spent_usd": "0.00", "reserved_usd": "-0.20"},
        "adjusted": {"count": 2, "spent_usd": "-0.04", "reserved_usd": "0.00"},
    }
    assert [hold["id"] for hold in told["holds"]] == [HELD]
    biggest, smaller = told["refusals"]
    assert [biggest["estimate_usd"], smaller["estimate_usd"]] == ["1.20", "0.70"]
    del smaller["time"]
    assert smaller == {
        "reservation_id": REFUSED,
        "accounts": ["key:abcabc0000000000", "team:search"],
        "reason": "held",
        "account": "key:abcabc0000000000",
        "period": "month",
        "window": month.window.id,
        "unit": "usd",
        "limit_usd": "1.00",
        "spent_usd": "0.05",
        "reserved_usd": "0.40",
        "estimate_usd": "0.70",
        "model": "gpt-4o",
        "enforced": True,
        "mode": "enforce",
        "times": 1,
        "trace_id": TRACE_ID,
    }
    lines = [json.loads(line) for line in cli("journal", "key:abcabc0000000000", "--json").out.splitlines()]
    assert [change.pop("other_accounts") for change in told["changes"]] == [[]] * 2 + [["team:search"]] * 3
    assert all(change in lines for change in told["changes"])


async def test_lines_lead_to_traces_that_were_sampled(cli: RunCli, story: RedisStore):
    template = ("--trace-url-template", "http://jaeger/trace/{trace_id}")
    told = cli("explain", "key:abcabc0000000000", "--json", *template).json
    assert [hold["trace_url"] for hold in told["holds"]] == [None], "nobody exported it"
    assert {refused["trace_url"] for refused in told["refusals"]} == {f"http://jaeger/trace/{TRACE_ID}"}
    by_setting = cli("explain", BOOKED, BUDGET_TRACE_URL=template[1]).out
    assert by_setting.count(f"http://jaeger/trace/{TRACE_ID}") == 4
    assert "trace_id" not in by_setting


async def test_a_counter_that_nothing_explains(cli: RunCli, story: RedisStore, month: Target):
    key = f"{story._prefix}c:{month.counter.name}"
    await story._client().hincrby(key, "spent", 6_145 * 10**9)
    told = cli("explain", "key:abcabc0000000000").out
    assert "  NOTHING EXPLAINS $6145.00 of what is spent: run `budget-middleware audit`." in told


async def test_a_journal_that_was_trimmed_says_what_was_before(cli: RunCli, story: RedisStore):
    await story._client().zremrangebyscore(f"{story._prefix}entries", 0, 4)
    told = cli("explain", "key:abcabc0000000000").out
    assert "(seq 5): before that $0.04 was spent and $0.00 reserved." in told
    assert "NOTHING" not in told
    await story._client().delete(f"{story._prefix}entries", f"{story._prefix}voided")
    ran = cli("explain", "key:abcabc0000000000")
    assert "  The entries about it are older than those that the journal keeps (BUDGET_JOURNAL_MAX).\n" in ran.out
    assert "NOTHING" not in ran.out


async def test_beside_live_traffic_nothing_is_called_unexplained(cli: RunCli, story: RedisStore, month: Target):
    async def work() -> None:
        number = 0
        while True:
            number += 1
            await story.reserve(reserve(f"{number:032x}", "0.01", month))
            await story.finalize(finalize(f"{number:032x}", "0.005"))

    working = asyncio.create_task(work())
    for _ in range(3):
        told = (await asyncio.to_thread(cli, "explain", "key:abcabc0000000000", "--json")).json
        assert [counter["unexplained_usd"] for counter in told["counters"]] == ["0.00"]
        assert not working.done()
    working.cancel()
    await asyncio.wait({working})


async def test_windows_that_are_over(cli: RunCli, store: RedisStore, now_ms: int):
    past = target("key:abcabc0000000000", period=Period.HOUR, at_ms=now_ms - 7_200_000)
    await store.adjust(adjust("e" * 32, "1", past, any_window=True))
    ran = cli("explain", "key:abcabc0000000000")
    assert (ran.code, ran.out) == (1, "")
    assert (
        f"key:abcabc0000000000 hour {past.window.id}: spent $1.00"
        in cli("explain", "key:abcabc0000000000", "--all").out
    )


async def test_what_only_a_limit_names(cli: RunCli, store: RedisStore):
    ran = cli("explain", "key:abcabc0000000000", BUDGET_LIMITS="key=1/day")
    assert ran.code == 0
    first, second = ran.out.splitlines()
    assert "spent $0.00, reserved $0.00, limit $1.00 by key:*, available $1.00" in first
    assert second == "  No entry of the journal is about it."


# One reservation.


def lines_of(out: str) -> tuple[str, list[str]]:
    """The outcome, and what happened without its times."""
    head, *lines = out.partition("\n\n")[0].splitlines()
    return head.partition(": ")[2], [line.partition(" s) ")[2].partition(" on ")[0] for line in lines]


async def test_the_life_of_a_request(cli: RunCli, story: RedisStore, month: Target):
    outcome, lines = lines_of(cli("explain", BOOKED).out)
    assert outcome == "it is over and has booked $0.04."
    assert lines == ["reserved: reserved +$0.10", "finalized (usage): spent +$0.04, reserved -$0.10"]
    assert (
        f" on key:abcabc0000000000 month {month.window.id}, team:search month {month.window.id}\n"
        in cli("explain", BOOKED).out
    )


async def test_a_late_ending(cli: RunCli, story: RedisStore):
    outcome, lines = lines_of(cli("explain", LATE).out)
    assert outcome == "it is over and has booked $0.05, late: its lease had expired before it ended."
    assert lines == [
        "reserved: reserved +$0.20",
        "expired (by alice: it hangs): reserved -$0.20",
        "finalized_late (aborted_partial): spent +$0.05",
    ]


async def test_what_is_pending(cli: RunCli, story: RedisStore):
    outcome, _ = lines_of(cli("explain", HELD).out)
    assert outcome.startswith("it holds $0.40 since ")
    assert outcome.endswith(" s unless its worker renews it.")
    told = cli("explain", HELD, "--json").json
    assert (told["held_usd"], told["booked_usd"]) == ("0.40", "0.00")
    assert 0 < told["expires_in_s"] <= 600


async def test_what_has_grown(cli: RunCli, story: RedisStore, month: Target):
    assert "asked_usd" not in cli("holds", "--json").json[0]
    await story.grow(replace(grow(HELD, "0.90"), reason="outgrown: 1431 tokens shown, holds 2860"))
    outcome, lines = lines_of(cli("explain", HELD).out)
    assert outcome.startswith("it holds $0.90, grown from $0.40, since ")
    assert lines == [
        "reserved: reserved +$0.40",
        "grown (outgrown: 1431 tokens shown, holds 2860): reserved +$0.50",
    ]
    (held,) = cli("holds", "--json").json
    assert (held["amount_usd"], held["asked_usd"]) == ("0.90", "0.40")
    told = cli("explain", "key:abcabc0000000000").out
    assert "  1 hold grew with the answer: $0.50 more was held.\n" in told
    assert "  1 reservation of $0.90 pending, the oldest since 20" in told
    assert "NOTHING" not in told


async def test_what_was_released_and_what_expired(cli: RunCli, story: RedisStore, month: Target):
    assert lines_of(cli("explain", FAILED).out)[0] == "it is over and has booked $0.00."
    gone = "7" * 32
    await story.reserve(reserve(gone, "0.10", month, charge="0.03", lease_s=0))
    due, _ = lines_of(cli("explain", gone).out)
    assert due == "its lease has expired; the next verb on its counters will release what it held."
    await story.sweep(at_most=9)
    expired, lines = lines_of(cli("explain", gone).out)
    assert expired == "its lease expired, and no ending has come since; it has booked $0.03."
    assert lines[-1] == "expired: spent +$0.03, reserved -$0.10"


async def test_what_was_refused(cli: RunCli, story: RedisStore, month: Target):
    ran = cli("explain", REFUSED)
    outcome, (line,) = lines_of(ran.out)
    assert outcome == "it was refused and changed no counter."
    assert line == (
        f"refused (held): estimate $0.70, key:abcabc0000000000 month {month.window.id}: limit $1.00, spent $0.05,"
        " reserved $0.40, short by $0.15, for gpt-4o"
    )
    told = cli("explain", "2" * 32, "--json").json
    assert told["outcome"] == "it would have been refused."
    assert [refused["times"] for refused in told["refusals"]] == [5]


async def test_an_adjustment_has_an_id_too(cli: RunCli, story: RedisStore):
    outcome, lines = lines_of(cli("explain", "e" * 32).out)
    assert outcome == "an operator's change of -$0.02."
    assert lines == ["adjusted (by bob: refund): spent -$0.02"]


# What cannot be explained.


@pytest.mark.parametrize(
    ("subject", "complaint"),
    [
        ("0" * 32, "no journal entry, hold or refusal has that id; BUDGET_JOURNAL_MAX says how many"),
        ("key:9df37f5e7cbc3c39", "that account has no counter, limit, hold or refusal; `status --all` lists"),
    ],
)
def test_what_is_unknown_is_told_in_a_line(cli: RunCli, subject: str, complaint: str):
    ran = cli("explain", subject)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith(f"budget-middleware: not explained: {complaint}")
    assert "canary" not in ran.err


@pytest.mark.parametrize("subject", ["search", "key:*", "0" * 31, "team:a+b"])
def test_what_is_neither_is_refused(cli: RunCli, subject: str):
    ran = cli("explain", subject)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "or a reservation id of 32 hex digits" in ran.err


async def test_a_story_steers_no_terminal(cli: RunCli, store: RedisStore, month: Target):
    await store.adjust(replace(adjust("e" * 32, "1", month), reason="\x1b[2Jgone"))
    for subject in ("key:abcabc0000000000", "e" * 32):
        assert "\x1b" not in cli("explain", subject).out
