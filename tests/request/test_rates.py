"""Refusals by rates: when they may be tried again, in each API's own words, and the headers of who has such limits."""

import asyncio
from typing import Any

import pytest

from budget_middleware.ledger.waiting import lines as waiting_lines
from budget_middleware.request.headers.limit_headers import duration
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.bench import Bench
from tests.request.test_units_of_requests import LONG, used
from tests.request.wire import KEY, OTHER_TOKEN, TOKEN, ask, bearer, completion, stream

# The clock of the bench stands at 14:30:00; 46 seconds later, 14 seconds of the minute are left.
LATER_S = 46
A_REQUEST = "key=1requests/minute; key=1/month"
TOKENS = "key=700tokens/minute; key=1/month"

MESSAGES = {"model": "plain", "max_tokens": 600, "messages": [{"role": "user", "content": "x"}]}
CONTENTS = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 100}}
CALLS: dict[str, dict[str, Any]] = {
    "openai": {"body": ask(600), "headers": bearer()},
    "anthropic": {"body": MESSAGES, "path": "/v1/messages", "headers": {"x-api-key": TOKEN}},
    "gemini": {
        "body": CONTENTS,
        "path": "/v1beta/models/plain:generateContent",
        "headers": {"x-goog-api-key": TOKEN},
    },
}


async def refused_after_one(memory: Bench, limits: str = A_REQUEST, api: str = "openai", **settings: str):
    guard = memory.guard(ScriptedApp(*completion(100)), limits=limits, **settings)
    memory.clock.advance(s=LATER_S)
    assert (await call(guard, **CALLS[api])).status == 200
    refused = await call(guard, **CALLS[api])
    assert refused.status == 429
    return refused


async def test_the_window_says_when_to_come_again(memory: Bench):
    refused = await refused_after_one(memory)
    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("14", "true")
    assert refused.json()["error"] == {
        "message": f"1 request a minute of {KEY} are used up; the next minute begins in 14 s.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }


async def test_then_it_is_admitted(bench: Bench):
    guard = bench.guard(ScriptedApp(*completion(100)), limits=A_REQUEST)
    statuses = []
    for _ in range(3):
        statuses.append((await call(guard, ask(100), headers=bearer())).status)
        statuses.append((await call(guard, ask(100), headers=bearer())).status)
        bench.clock.advance(s=60)
    assert statuses == [200, 429] * 3


async def test_of_tokens_some_may_be_left(memory: Bench):
    refused = await refused_after_one(memory, TOKENS)
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
    assert error["message"] == (
        f"700 tokens a minute of {KEY} are used up but for 586, too few for this request,"
        " which takes about 614 tokens; the next minute begins in 14 s."
    )


async def test_what_no_minute_has_room_for_is_not_to_be_tried_again(memory: Bench):
    guard = memory.guard(ScriptedApp(*completion(100)), limits="key=600tokens/minute; key=1/month")
    refused = await call(guard, ask(600), headers=bearer())
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert refused.json()["error"]["message"] == (
        f"600 tokens a minute of {KEY} are too few for this request, which takes about 614 tokens."
    )


@pytest.mark.parametrize(
    ("period", "retry"),
    [("hour", ("1754", "false")), ("1h", ("14", "true"))],
)
async def test_longer_rates(memory: Bench, period: str, retry: tuple[str, str]):
    """Of a rate that looks back, a bucket of a minute ends; an SDK does not wait for more than a minute."""
    refused = await refused_after_one(memory, f"key=1requests/{period}; key=1/month")
    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == retry


async def test_a_day_is_no_rate(memory: Bench):
    refused = await refused_after_one(memory, "key=1requests/day", exhausted_status="429")
    assert refused.json()["error"]["code"] == "budget_exhausted"
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert "x-ratelimit-limit-requests" not in refused.headers


async def test_a_rate_is_no_matter_of_payment(memory: Bench):
    assert (await refused_after_one(memory, exhausted_status="402")).status == 429


async def test_how_many_are_in_flight_is_no_matter_of_payment_either(memory: Bench):
    async def asks_again(*_: object) -> None:
        inner.append(await call(guard, ask(100), headers=bearer()))

    inner: list[Any] = []
    guard = memory.guard(
        ScriptedApp(asks_again, *completion(100)), limits="key=1inflight; key=1/month", exhausted_status="402"
    )
    assert (await call(guard, ask(100), headers=bearer())).status == 200
    (refused,) = inner
    assert (refused.status, refused.headers["x-should-retry"], refused.headers["retry-after"]) == (429, "true", "1")
    assert refused.json()["error"]["message"] == f"{KEY} has 1 requests in flight, and may have 1."
    assert '"key-inflight";q=1;qu="concurrent-requests"' in refused.headers["ratelimit-policy"]
    assert refused.headers["ratelimit"] == '"key-inflight";r=0'


async def test_as_openai_tells_it(memory: Bench):
    refused = await refused_after_one(memory)
    assert {name: value for name, value in refused.headers.items() if "ratelimit" in name} == {
        "x-ratelimit-limit-requests": "1",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "14s",
        "ratelimit-policy": '"key-minute-requests";q=1;qu="requests";w=60',
        "ratelimit": '"key-minute-requests";r=0;t=14',
    }


async def test_as_anthropic_tells_it(memory: Bench):
    refused = await refused_after_one(memory, api="anthropic")
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert {name: value for name, value in refused.headers.items() if name.startswith("anthropic")} == {
        "anthropic-ratelimit-requests-limit": "1",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-18T14:31:00Z",
    }


async def test_as_google_tells_it(memory: Bench):
    error = (await refused_after_one(memory, api="gemini")).json()["error"]
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "14s"}]


@pytest.mark.parametrize("streams", [False, True])
async def test_answers_tell_them_too(memory: Bench, streams: bool):
    limits = "key=60requests/minute; key=100requests/hour; key=1000tokens/minute; key=1/month"
    guard = memory.guard(ScriptedApp(*(stream(100) if streams else used(100, 40))), limits=limits)
    memory.clock.advance(s=LATER_S)
    played = await call(guard, {**LONG, "stream": streams}, headers=bearer())
    told = {name: value for name, value in played.headers.items() if name.startswith("x-ratelimit")}
    assert told == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "14s",
        "x-ratelimit-limit-tokens": "1000",
        # Of a stream what was held when it began.
        "x-ratelimit-remaining-tokens": "350" if streams else "860",
        "x-ratelimit-reset-tokens": "14s",
    }
    assert played.headers["x-budget-remaining-usd"] == ("0.40" if streams else "0.90")


async def test_those_of_the_app_make_way(memory: Bench):
    theirs: dict[str, Any] = {"X-RateLimit-Limit-Requests": "9000", "x-ratelimit-limit-tokens": "7"}
    app = ScriptedApp(*json_answer({"choices": [], "usage": {}}, **theirs))
    played = await call(memory.guard(app, limits="key=60requests/minute"), ask(10), headers=bearer())
    pairs = [(name.lower(), value) for name, value in played.messages[0]["headers"]]
    assert [value for name, value in pairs if name == b"x-ratelimit-limit-requests"] == [b"60"]
    assert [value for name, value in pairs if name == b"x-ratelimit-limit-tokens"] == [b"7"]


@pytest.mark.parametrize("status", [401, 403])
async def test_none_for_whom_the_app_does_not_let_in(memory: Bench, status: int):
    guard = memory.guard(ScriptedApp(*json_answer({}, status=status)), limits="key=60requests/minute")
    played = await call(guard, ask(10), headers=bearer())
    assert not [name for name in played.headers if "ratelimit" in name]


@pytest.mark.parametrize(
    ("limits", "accounts", "message"),
    [
        ("global=1requests/minute", "key=token", "The requests a minute of global are used up"),
        ("team=1requests/minute", "team=header:x-team", "The requests a minute of team are used up"),
        ("team=600tokens/minute", "team=header:x-team", "The tokens a minute of team are too few for this request."),
    ],
)
async def test_no_figures_of_what_is_not_the_callers_own(memory: Bench, limits: str, accounts: str, message: str):
    guard = memory.guard(ScriptedApp(*completion(100)), limits=limits, accounts=accounts)
    headers = {**bearer(), "x-team": "search"}
    await call(guard, ask(600), headers=headers)
    refused = await call(guard, ask(600), headers=headers)
    assert refused.json()["error"]["message"].startswith(message)
    assert not [name for name in refused.headers if "ratelimit" in name]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0ms"),
        (120, "120ms"),
        (1_000, "1s"),
        (13_001, "14s"),
        (59_001, "1m0s"),
        (360_000, "6m0s"),
        (3_600_000, "1h0m0s"),
    ],
)
def test_durations_as_openai_writes_them(ms: int, text: str):
    assert duration(ms) == text


class TestWaiting:
    @pytest.fixture(autouse=True)
    def _nobody_asks_unwoken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waiting_lines, "RETRY_S", 3600)

    async def test_for_the_end_of_the_window(self, memory: Bench):
        guard = memory.guard(ScriptedApp(*completion(100)), limits="key=1requests/minute", wait_s="3600")
        # A hundredth of a second before the minute ends.
        memory.clock.advance(ms=59_990)
        assert (await call(guard, ask(10), headers=bearer())).status == 200
        waiting = asyncio.create_task(call(guard, ask(10), headers=bearer()))
        async with asyncio.timeout(30):
            while guard.ledger.n_waiting < 1:
                await asyncio.sleep(0)
            memory.clock.advance(ms=20)
            assert (await waiting).status == 200

    async def test_not_where_it_is_too_far_off(self, memory: Bench):
        guard = memory.guard(ScriptedApp(*completion(100)), limits="key=1requests/minute", wait_s="30")
        assert (await call(guard, ask(10), headers=bearer())).status == 200
        refused = asyncio.create_task(call(guard, ask(10), headers=bearer()))
        while not refused.done():
            assert guard.ledger.n_waiting == 0
            await asyncio.sleep(0)
        assert (await refused).status == 429

    async def test_not_for_what_no_window_has_room_for(self, memory: Bench):
        guard = memory.guard(ScriptedApp(*completion(100)), limits="key=600tokens/minute", wait_s="3600")
        assert (await call(guard, ask(600), headers=bearer())).status == 429

    async def test_for_who_is_in_flight(self, bench: Bench):
        """One by one, in the order in which they came."""
        running: list[int] = []
        most: list[int] = []

        async def run(*_: object) -> None:
            running.append(1)
            most.append(len(running))
            await asyncio.sleep(0)
            running.pop()

        guard = bench.guard(ScriptedApp(run, *completion(10)), limits="key=2inflight; key=1/month", wait_s="3600")
        played = await asyncio.gather(*[call(guard, ask(10), headers=bearer()) for _ in range(9)])
        assert [each.status for each in played] == [200] * 9
        assert max(most) <= 2
        other = await call(guard, ask(10), headers=bearer(OTHER_TOKEN))
        assert other.status == 200
