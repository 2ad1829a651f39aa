"""`report`: as a table, as CSV that no spreadsheet runs, as lines of JSON."""

import csv
import io
import json
from dataclasses import replace

import pytest

from budget_middleware.cli.report_table import inert
from budget_middleware.core.costs.bill_packing import PricedCall, pack
from budget_middleware.core.costs.pricing import Line, Rates, UsageClass
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.stores.redis import RedisStore
from tests.cli.conftest import RunCli
from tests.stores.verbs import adjust, finalize, target

FORMULA = '=HYPERLINK("http://x","y")'


def bill_of(nanos: int, model: str) -> str:
    rates = Rates(model=model, provider="openai", source="genai-prices", by_unit={})
    lines = [Line(UsageClass.INPUT, 1_000, 1_000_000), Line(UsageClass.OUTPUT, 20, 1_000_000)]
    return pack(nanos=nanos, calls=[PricedCall(rates, lines)])


async def traffic(store: RedisStore) -> str:
    """Three requests of two teams, a credit, and a refusal of what a client named; the month in which they are."""
    now_ms = (await store.head()).now_ms
    search, ads = (target(account, at_ms=now_ms) for account in ("team:search", "team:ads"))
    for id_, usd, nanos, of in [("r1", "0.25", 25, search), ("r2", "0.5", 50, search), ("r3", "1.5", 150, ads)]:
        await store.finalize(replace(finalize(id_, usd, of), bill=bill_of(nanos * 10**7, "gpt-4o")))
    await store.adjust(adjust("a1", "-0.125", ads))
    rejection = Rejection(replace(ads, limit=5), Balance(5), 9)
    await store.log_refusals([LoggedRefusal(now_ms, "r4", ("team:ads",), rejection, FORMULA, times=3)])
    return ads.window.id


async def test_a_table_with_bars_and_a_total(cli: RunCli, store: RedisStore):
    month = await traffic(store)
    ran = cli("report", "--by", "team", "--per", "month")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[:4] == [
        "window   team         requests  refusals  input  output  cost_usd  adjusted_usd",
        f"{month}  team:ads            1         3   1000      20     1.375        -0.125  ████████████",
        f"{month}  team:search         2         0   2000      40     0.75              -  ██████▋",
        "total    -                   3         3   3000      60     2.125        -0.125",
    ]
    assert ran.out.splitlines()[4].startswith(f"since {month}-01T00:00:00+00:00, until now; from the ")


async def test_csv_that_no_spreadsheet_runs(cli: RunCli, store: RedisStore):
    month = await traffic(store)
    ran = cli("report", "--by", "team,model", "--per", "month", "--csv")
    assert (ran.code, ran.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["window"], row["team"], row["model"], row["cost_usd"], row["refusals"]) for row in rows] == [
        (month, "team:ads", "gpt-4o", "1.50", "0"),
        (month, "team:search", "gpt-4o", "0.75", "0"),
        (month, "team:ads", f"'{FORMULA}", "0.00", "3"),
        (month, "team:ads", "", "-0.125", "0"),
    ]
    assert (rows[1]["input"], rows[1]["output"], rows[1]["cached_input"], rows[1]["finalized_unreserved"]) == (
        "2000",
        "40",
        "0",
        "2",
    )
    assert (rows[3]["adjusted"], rows[3]["adjusted_usd"]) == ("1", "-0.125")
    assert cli("report", "--csv", "--since", "2020-01", "--until", "2020-01").out.count("\n") == 1, "a header alone"


async def test_lines_of_json(cli: RunCli, store: RedisStore):
    await traffic(store)
    *rows, last = map(json.loads, cli("report", "--by", "model", "--json").out.splitlines())
    assert [(row["by"], row["cost_usd"], row["refusals"]) for row in rows] == [
        ({"model": "gpt-4o"}, "2.25", 0),
        ({"model": FORMULA}, "0.00", 3),
        ({"model": None}, "-0.125", 0),
    ]
    assert (last["total"]["requests"], last["total"]["cost_usd"], last["missing"]) == (3, "2.125", [])


def test_nothing_yet(cli: RunCli):
    ran = cli("report", "--by", "teem")
    assert ran.out.splitlines()[0] == "nothing was booked or refused"
    assert (ran.code, ran.err) == (0, "")


async def test_a_kind_that_nobody_has(cli: RunCli, store: RedisStore):
    await traffic(store)
    ran = cli("report", "--by", "teem")
    assert ran.err == "budget-middleware: warning: nothing was booked on an account of kind teem\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--by", "team;model"), "'team;model' is nothing to report by; accepted are model, provider and kinds"),
        (("--by", ",".join("abcdefg")), "7 dimensions are too many; accepted are 6"),
        (("--per", "minute"), "'minute' is nothing to report per; accepted are hour, day, week, month, year"),
        (("--per", "24h"), "'24h' is nothing to report per"),
        (("--per", "dya"), "'dya' is not a period; accepted are minute, hour"),
        (("--since", "yesterday"), "'yesterday' is no time; accepted are 2026-11 (a month)"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "nothing is since 2026-11-02 and until 2026-11-01"),
        (("--csv", "--json"), "--csv and --json are two formats: choose one"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_no_report(cli: RunCli, words: tuple[str, ...], why: str):
    ran = cli("report", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert why in ran.err


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'a", "\uff1d1"])
def test_what_a_spreadsheet_might_run_is_quoted_and_can_be_had_back(text: str):
    assert inert(text) == f"'{text}"
    assert inert(f"a{text}") == f"a{text}"
