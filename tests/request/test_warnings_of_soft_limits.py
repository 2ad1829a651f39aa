"""`x-budget-warning`: what a caller reads of soft limits that its request went over, and what nobody else may."""

import pytest

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.modes import Passed
from budget_middleware.core.model import Balance, Rejection, Target
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period, window_at
from budget_middleware.request.headers.soft_limits import MAX_ACCOUNT_CHARS, MAX_WARNINGS, warning_headers
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import KEY, ask, bearer, completion, stream
from tests.stores.verbs import START_MS, UTC, target

WARNING = "x-budget-warning"
LIMITS = "key=0.50/day!soft; key=2/day"


async def test_the_answer_says_how_far_over_the_limit_its_request_went(bench):
    guard = bench.guard(ScriptedApp(*completion(250)), limits=LIMITS)
    played = [await call(guard, ask(400), headers=bearer()) for _ in range(2)]
    assert WARNING not in played[0].headers
    assert played[1].headers[WARNING] == f"{KEY} $0.65 of $0.50/day (soft)"


async def test_a_stream_says_so_too(memory):
    guard = memory.guard(ScriptedApp(*stream(250)), limits=LIMITS)
    played = await call(guard, ask(600, stream=True), headers=bearer())
    assert played.headers[WARNING] == f"{KEY} $0.60 of $0.50/day (soft)"


@pytest.mark.parametrize("status", [401, 403])
async def test_nobody_who_is_not_let_in_reads_figures(memory, status):
    guard = memory.guard(ScriptedApp(*json_answer({"error": "no"}, status=status)), limits=LIMITS)
    assert WARNING not in (await call(guard, ask(600), headers=bearer())).headers


@pytest.mark.parametrize("limits", ["global=0.50/day!soft", "model=0.50/day!soft", "key=0.50/day!shadow"])
async def test_limits_of_others_and_shadow_limits_are_not_named(memory, limits):
    guard = memory.guard(ScriptedApp(*completion(250)), limits=limits)
    played = await call(guard, ask(600), headers=bearer())
    assert played.status == 200
    assert WARNING not in played.headers


@pytest.mark.parametrize("settings", [{"headers": "off"}, {"mode": "off"}])
async def test_off_means_off(memory, settings):
    guard = memory.guard(ScriptedApp(*completion(250)), limits=LIMITS, **settings)
    assert WARNING not in (await call(guard, ask(600), headers=bearer())).headers


@pytest.mark.parametrize(
    ("limit", "warning"),
    [
        ("100tokens/day", "614 tokens of 100 tokens/day"),
        ("0requests/total", "1 request of 0 requests/total"),
        ("0inflight", "1 of 0 in flight"),
    ],
)
async def test_limits_of_other_units_warn_too(bench, limit, warning):
    guard = bench.guard(ScriptedApp(*completion(250)), limits=f"key={limit}!soft")
    played = await call(guard, ask(600), headers=bearer())
    assert played.headers[WARNING] == f"{KEY} {warning} (soft)"


async def test_a_request_that_is_refused_has_no_warning(memory):
    guard = memory.guard(ScriptedApp(*completion(250)), limits="key=0.50/day!soft; key=0.55/day")
    refused = await call(guard, ask(600), headers=bearer())
    assert refused.status == 429
    assert WARNING not in refused.headers


def passed(of: Target, used: int, mode: LimitMode = LimitMode.SOFT) -> Passed:
    return Passed(mode, Rejection(of, Balance(used - 1, 0), 1))


def test_other_units_are_named_as_they_are():
    in_flight = Target("key:a", window_at(Period.TOTAL, time_ms=START_MS, timezone=UTC), 8, Unit.INFLIGHT)
    tokens = target("team:b", "2000", period=Period.DAY, unit=Unit.TOKENS)
    assert warning_headers([passed(in_flight, 9), passed(tokens, 2_048)]) == [
        (b"x-budget-warning", b"key:a 9 of 8 in flight (soft), team:b 2048 tokens of 2000 tokens/day (soft)")
    ]


def test_however_many_they_are_and_however_long_the_line_is_bounded():
    many = [passed(target(f"key:{n}{'x' * 300}", "1.00"), 2 * 10**9) for n in range(20)]
    ((_, value),) = warning_headers(many)
    assert value.count(b"(soft)") == MAX_WARNINGS
    assert len(value) < MAX_WARNINGS * (MAX_ACCOUNT_CHARS + 60)
    assert warning_headers([passed(target("key:a", "1.00"), 2 * 10**9, LimitMode.SHADOW)]) == []
