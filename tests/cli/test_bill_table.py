"""`explain RESERVATION_ID` prints the bill of what was booked, as the gateway has left it in the store."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.core.model import Target
from budget_middleware.stores.redis import RedisStore
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.cli.conftest import RunCli
from tests.request.test_background import ASK, PATH, QUEUED, done
from tests.request.test_handle import Adding
from tests.request.wire import LAST, PRICES, STREAM_START, TALK, ask, bearer, completion, words
from tests.stores.verbs import finalize, reserve

Guard = Callable[..., BudgetMiddleware]
USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 333,
    "prompt_tokens_details": {"cached_tokens": 900},
    "completion_tokens_details": {"reasoning_tokens": 33},
}


@pytest.fixture
async def guard(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Guard]:
    """Makes gateways on the server that the command line reads."""
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    opened: list[BudgetMiddleware] = []

    def make(app: Any, **settings: Any) -> BudgetMiddleware:
        url, namespace = environment["BUDGET_STORE_URL"], environment["BUDGET_NAMESPACE"]
        given = {"prices": str(prices), "store_timeout_s": "10", **settings}
        opened.append(BudgetMiddleware(app, store_url=url, namespace=namespace, **given))
        return opened[-1]

    yield make
    for each in opened:
        await each.ledger.drain()


async def served(guard: BudgetMiddleware, body: dict[str, Any], **options: Any) -> str:
    """The reservation of a call that has ended."""
    played = await call(guard, body, headers=bearer(), **options)
    await guard.ledger.drain()
    return played.headers["x-budget-reservation-id"]


def bill_in(out: str) -> list[str]:
    """The paragraph of the bill."""
    return next(part for part in out.split("\n\n") if part.startswith(("Bill", "No itemized"))).splitlines()


def adds_up(told: Any) -> bool:
    """Whether the parts of a bill come to what was booked, to the last decimal."""
    bill = told["bill"]
    lines = [line["usd"] for line in bill["lines"] if line["usd"] is not None]
    parts = [*lines, *(amount["usd"] for amount in bill["amounts"]), bill["omitted"]["usd"], bill["rounding_usd"]]
    return sum(map(Decimal, parts)) == Decimal(bill["cost_usd"])


async def test_the_bill_line_by_line(cli: RunCli, guard: Guard):
    app = ScriptedApp(*json_answer({"model": "gpt-4o-2024-08-06", "choices": [], "usage": USAGE}))
    id_ = await served(guard(app), {"model": "gpt-4o", "messages": []})
    ran = cli("explain", id_)
    assert (ran.code, ran.err) == (0, "")
    assert bill_in(ran.out) == [
        "Bill: gpt-4o",
        "unit          count  rate_usd  per             usd  source",
        "input           100      2.50  1M tokens  0.00025   genai-prices",
        "cached_input    900      1.25  1M tokens  0.001125  genai-prices",
        "output          300     10.00  1M tokens  0.003     genai-prices",
        "reasoning        33     10.00  1M tokens  0.00033   genai-prices",
        "sum                                       0.004705",
    ]
    told = cli("explain", id_, "--json").json
    assert (told["booked_usd"], told["bill"]["cost_usd"], told["bill"]["note"]) == ("0.004705", "0.004705", None)
    assert told["bill"]["booked_by"] == id_
    assert adds_up(told)


async def test_what_is_less_than_a_nano_dollar_is_a_line_of_its_own(cli: RunCli, guard: Guard):
    entry = {"input_cost_per_token": 0.0000000000015, "output_cost_per_token": 0.0000000000015}
    usage = {"prompt_tokens": 1_001, "completion_tokens": 0}
    app = ScriptedApp(*json_answer({"model": "tiny", "choices": [], "usage": usage}))
    id_ = await served(guard(app, price_source=lambda _: entry), {"model": "tiny", "messages": []})
    lines = bill_in(cli("explain", id_).out)
    assert lines[-2].split() == ["rounding", "0.0000000004985"]
    assert lines[-1].split() == ["sum", "0.000000002"]
    assert adds_up(cli("explain", id_, "--json").json)


async def test_an_estimate_says_so(cli: RunCli, guard: Guard):
    """Of an answer that nobody could read."""
    app = ScriptedApp(STREAM_START, {"type": "http.response.body", "body": b"\xff\xfe\n\n", "more_body": True}, LAST)
    id_ = await served(guard(app), TALK)
    assert bill_in(cli("explain", id_).out) == [
        "Bill: no model",
        "unit      count  rate_usd  per   usd  source",
        "estimate                        0.65",
        "sum                             0.65",
        "Booked at the estimate: no usage was seen.",
    ]


async def test_what_was_read_of_an_answer_that_was_left_says_so(cli: RunCli, guard: Guard):
    id_ = await served(guard(ScriptedApp(STREAM_START, *words())), TALK)
    lines = bill_in(cli("explain", id_).out)
    assert lines[-2].split() == ["sum", "0.17"]
    assert lines[-1] == "No usage was seen: booked at the input and the output that were read."


async def test_what_the_app_told_says_so(cli: RunCli, guard: Guard):
    id_ = await served(guard(Adding(*completion(100))), ask(100))
    lines = bill_in(cli("explain", id_).out)
    assert lines[-3].split() == ["app_told", "0.05"]
    assert lines[-2].split() == ["sum", "0.15"]
    assert "Of this, $0.05 was added by the app through its handle." in lines[-1]


async def test_a_response_in_the_background_is_followed_from_its_ticket_to_its_bill(cli: RunCli, guard: Guard):
    id_ = await served(guard(ScriptedApp(*json_answer(QUEUED))), ASK, path=PATH)
    assert "for the job resp_1 (openai-responses)" in cli("explain", id_).out
    (held,) = cli("holds", "--json").json
    assert (held["id"], held["job"], held["amount_usd"]) == (id_, "openai-responses resp_1", "0.60")
    assert held["deadline"]
    reader = guard(ScriptedApp(*json_answer(done(100))))
    await call(reader, path=f"{PATH}/resp_1", method="GET", headers=bearer())
    await reader.ledger.drain()
    assert cli("holds", "--json").json == []
    ran = cli("explain", id_)
    assert "finalized (usage, job resp_1)" in ran.out
    assert bill_in(ran.out)[-1].split() == ["sum", "0.10"]
    assert adds_up(cli("explain", id_, "--json").json)


async def test_a_ticket_is_released_like_any_hold(cli: RunCli, guard: Guard):
    id_ = await served(guard(ScriptedApp(*json_answer(QUEUED))), ASK, path=PATH)
    assert cli("release", id_, "--reason", "it will never end").code == 0
    assert cli("holds", "--json").json == []


async def test_a_booking_of_the_version_before_has_no_bill(cli: RunCli, store: RedisStore, month: Target):
    id_ = "a" * 32
    await store.reserve(reserve(id_, "0.10", month))
    await store.finalize(replace(finalize(id_, "0.04"), reason="usage"))
    ran = cli("explain", id_)
    assert bill_in(ran.out) == ["No itemized bill is stored for it, or none that this version can read."]
    assert cli("explain", id_, "--json").json["bill"] is None


async def test_a_bill_steers_no_terminal_and_is_no_traceback(cli: RunCli, store: RedisStore, month: Target):
    for digit, bill in (("b", '{"v":1,"nanos":1,"amounts":[["\\u001b[2J",1]]}'), ("c", "{"), ("d", '{"nanos":[]}')):
        await store.reserve(reserve(digit * 32, "0.10", month))
        await store.finalize(replace(finalize(digit * 32, "0.04"), bill=bill))
        ran = cli("explain", digit * 32)
        assert (ran.code, ran.err) == (0, "")
        assert "\x1b" not in ran.out


async def test_what_was_given_back_has_no_bill(cli: RunCli, guard: Guard):
    id_ = await served(guard(ScriptedApp(*json_answer({"error": {}}, status=503))), ask())
    ran = cli("explain", id_)
    assert "Bill" not in ran.out
    assert cli("explain", id_, "--json").json["bill"] is None
