"""What metered answers and refusals say in their headers, and what nobody may ever read of a token."""

import logging

import pytest

from budget_middleware.testing import ScriptedApp, call, chunk, json_answer, start
from tests.request.wire import KEY, OTHER_TOKEN, STREAM_START, ask, bearer, completion, stream
from tests.stores.verbs import whole_journal

MONTH_S = 30 * 86_400
LEFT_OF_MONTH_S = 12 * 86_400 + 9 * 3600 + 1800
"""From the bench's clock, 2026-11-18 14:30 UTC, to the end of November."""


async def test_of_an_answer_in_one_message(memory):
    guard = memory.guard(ScriptedApp(*completion(250)), limits="key=1/month; key=9/total")
    played = await call(guard, ask(600), headers=bearer())
    ours = {name: value for name, value in played.headers.items() if name != "content-type"}
    assert len(ours.pop("x-budget-reservation-id")) == 32
    assert len(ours.pop("x-budget-ledger")) == 32
    assert ours == {
        "x-budget-estimate-usd": "0.60",
        "x-budget-cost-usd": "0.25",
        "x-budget-usage": "input=14, output=250",
        "x-budget-price-source": "BUDGET_PRICES",
        "x-budget-remaining-usd": "0.75",
        "ratelimit-policy": f'"key-month";q=1000000;qu="usd-micros";w={MONTH_S}, "key-total";q=9000000;qu="usd-micros"',
        "ratelimit": f'"key-month";r=750000;t={LEFT_OF_MONTH_S}, "key-total";r=8750000',
    }


async def test_of_an_error_they_tell_what_is_left_without_it(bench):
    """What it held is given back before its answer is sent, and must not seem to be missing."""
    guard = bench.guard(ScriptedApp(*json_answer({"error": "no"}, status=503)), limits="key=1/month")
    played = await call(guard, ask(600), headers=bearer())
    assert played.headers["x-budget-cost-usd"] == "0.00"
    assert played.headers.keys().isdisjoint({"x-budget-usage", "x-budget-price-source"})
    assert played.headers["x-budget-remaining-usd"] == "1.00"
    assert played.headers["ratelimit"].startswith('"key-month";r=1000000;')


async def test_of_a_stream_they_tell_what_was_left_before_it(memory):
    guard = memory.guard(ScriptedApp(*stream(250)))
    played = await call(guard, ask(600, stream=True), headers=bearer())
    assert played.headers["x-budget-remaining-usd"] == "0.40"
    assert played.headers.keys().isdisjoint({"x-budget-cost-usd", "x-budget-usage", "x-budget-price-source"})


async def test_the_reservation_id_is_that_of_the_journal(memory):
    played = await call(memory.guard(ScriptedApp(*completion(250))), ask(600), headers=bearer())
    journal = await whole_journal(memory.reader)
    assert {entry.reservation_id for entry in journal} == {played.headers["x-budget-reservation-id"]}


async def test_of_a_refusal(memory):
    """Who waits for so many whole seconds does not come back before the window has turned."""
    memory.clock.advance(ms=100)
    guard = memory.guard(ScriptedApp(*completion(900)))
    await call(guard, ask(900), headers=bearer())
    refused = await call(guard, ask(600), headers=bearer())
    assert refused.headers["x-budget-estimate-usd"] == "0.60"
    assert refused.headers["x-budget-remaining-usd"] == "0.10"
    assert refused.headers["ratelimit"] == f'"key-month";r=100000;t={LEFT_OF_MONTH_S}'
    assert "x-budget-cost-usd" not in refused.headers


async def test_off_at_an_untrusted_edge(memory):
    guard = memory.guard(ScriptedApp(*completion(900)), headers="off")
    served = await call(guard, ask(900), headers=bearer())
    refused = await call(guard, ask(600), headers=bearer())
    assert served.headers == {"content-type": "application/json"}
    assert refused.headers.keys() == {"content-type", "content-length", "x-should-retry"}


@pytest.mark.parametrize("account", ["global", "model"])
async def test_of_accounts_that_are_not_the_callers_own(memory, account):
    guard = memory.guard(ScriptedApp(*completion(250)), limits=f"{account}=1/month")
    played = await call(guard, ask(600), headers=bearer())
    assert played.headers.keys().isdisjoint({"x-budget-remaining-usd", "ratelimit", "ratelimit-policy"})


def figures_in(headers):
    """The headers that tell something of an account, or of what a request cost."""
    return {name for name in headers if name.startswith(("x-budget-", "ratelimit"))}


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("streams", [False, True])
async def test_none_on_an_answer_that_lets_nobody_in(memory, status, streams):
    content_type = "text/event-stream" if streams else "application/json"
    refusal = [start(status=status, content_type=content_type), chunk(b"no", is_last=True)]
    played = await call(memory.guard(ScriptedApp(*refusal)), ask(600, stream=streams), headers=bearer())
    assert (played.status, figures_in(played.headers)) == (status, set())
    other = await call(memory.guard(ScriptedApp(*json_answer({}, status=404))), ask(600), headers=bearer())
    assert "x-budget-remaining-usd" in figures_in(other.headers)


CLAIMED = {
    "a header": ("team=header:x-team", {"headers": {"x-team": "search"}}),
    "a header, or what is sure": ("team=state:team|header:x-team", {"headers": {"x-team": "search"}}),
    "the body": ("team=body:metadata.team", {}),
    "the query": ("team=query:team", {"scope": {"query_string": b"team=search"}}),
}
PROVEN = {
    "an authenticating layer": ("team=state:team", {"scope": {"state": {"team": "search"}}}),
    "the token": ("team=token", {"headers": bearer()}),
    "the token in its own header": ("team=header:x-api-key", {"headers": {"x-api-key": "sk-one"}}),
}


def of_search(**fields):
    return ask(600, metadata={"team": "search"}, **fields)


@pytest.mark.parametrize(("accounts", "request_"), CLAIMED.values(), ids=CLAIMED)
async def test_a_refusal_tells_nobody_the_figures_of_an_account_that_he_only_claims(memory, accounts, request_):
    """It comes before the app has looked at anything: whoever names a team may be anybody."""
    guard = memory.guard(ScriptedApp(*completion(600)), accounts=accounts, limits="team=1/month")
    assert (await call(guard, of_search(), **request_)).status == 200
    refused = await call(guard, of_search(), **request_)
    assert refused.status == 429
    assert refused.json()["error"]["message"] == "The budget of team per month cannot cover this request."
    assert figures_in(refused.headers) == {"x-budget-reservation-id", "x-budget-estimate-usd"}


@pytest.mark.parametrize(("accounts", "request_"), PROVEN.values(), ids=PROVEN)
async def test_a_refusal_tells_the_figures_of_an_account_that_is_proven(memory, accounts, request_):
    guard = memory.guard(ScriptedApp(*completion(600)), accounts=accounts, limits="team=1/month")
    assert (await call(guard, of_search(), **request_)).status == 200
    refused = await call(guard, of_search(), **request_)
    assert "spent $0.60" in refused.json()["error"]["message"]
    assert refused.headers["x-budget-remaining-usd"] == "0.40"


async def test_a_compound_with_the_callers_key_is_his_own(memory):
    settings = {"accounts": "key=token; team=header:x-team", "limits": "key+team=1/month"}
    guard = memory.guard(ScriptedApp(*completion(600)), **settings)
    headers = {**bearer(), "x-team": "search"}
    await call(guard, ask(600), headers=headers)
    assert "spent $0.60" in (await call(guard, ask(600), headers=headers)).json()["error"]["message"]


async def test_the_account_of_all_who_have_no_key_is_nobodys_own(memory):
    guard = memory.guard(ScriptedApp(*completion(600)))
    served = await call(guard, ask(600))
    refused = await call(guard, ask(600))
    assert refused.json()["error"]["message"] == "The budget of key per month cannot cover this request."
    for played in (served, refused):
        assert {"x-budget-remaining-usd", "ratelimit"}.isdisjoint(played.headers)


async def test_of_many_limits_the_eight_tightest_are_told(memory):
    """Six periods of two kinds, of which the fourth, day, is the tightest: 12 policies would be a line of 500 bytes."""
    periods = ("hour", "day", "week", "month", "year", "total")
    limits = "; ".join(f"{kind}={n}/{period}" for n, period in enumerate(periods, start=2) for kind in ("key", "user"))
    settings = {"accounts": "key=token; user=state:user", "limits": limits}
    guard = memory.guard(ScriptedApp(*completion(600)), **settings)
    played = await call(guard, ask(600), headers=bearer(), scope={"state": {"user": "ann"}})
    names = [f'"{kind}-{period}"' for kind in ("key", "user") for period in periods[:4]]
    for header in ("ratelimit", "ratelimit-policy"):
        assert sorted(item.partition(";")[0] for item in played.headers[header].split(", ")) == sorted(names)
    assert played.headers["x-budget-remaining-usd"] == "1.40"


async def test_without_a_limit_nothing_is_left_of_anything(memory):
    played = await call(memory.guard(ScriptedApp(*completion(1)), limits=""), ask(1), headers=bearer())
    assert "x-budget-remaining-usd" not in played.headers
    assert await memory.figures(KEY) == ("0.001", "0.00")


async def test_the_apps_own_headers_stay(memory):
    played = await call(memory.guard(ScriptedApp(STREAM_START)), ask(600), headers=bearer())
    assert played.headers["content-type"] == "text/event-stream"


CANARY = "sk-canary-5f2e"
CARRIERS = {
    "authorization": {"headers": {"authorization": f"Bearer {CANARY}"}},
    "two that differ": {"headers": {"authorization": f"Bearer {CANARY}", "x-api-key": OTHER_TOKEN}},
    "query": {"scope": {"query_string": f"key={CANARY}".encode()}},
    "another kind": {"headers": {"api-key": CANARY}},
}


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
async def test_a_raw_token_is_nowhere(bench, caplog, mode, carrier):
    caplog.set_level(logging.DEBUG)

    async def failing(_):
        raise OSError("no directory")

    settings = {"accounts": "key=token; team=token|header:api-key", "limits": "key=1/month; team=2/month", "mode": mode}
    told = []
    for extra in ({}, {"accounts_source": failing}):
        app = ScriptedApp(*completion(600))
        guard = bench.guard(app, **settings, **extra)
        for body in (ask(600), ask(600), ask("many"), ask(model="nobody-knows"), b"no JSON"):
            played = await call(guard, body, **carrier)
            told.append(str(played.messages))
        told.append(str((await call(guard, {}, path="/v1/other", **carrier)).messages))
    await bench.settle()
    told += [str(await bench.reader.counters()), str(await whole_journal(bench.reader)), caplog.text]
    assert CANARY not in "".join(told)
    if hasattr(bench.reader, "_client"):
        assert CANARY not in str([key async for key in bench.reader._client().scan_iter("*")])
