"""Containers of OpenAI: a session is held by the memory that is asked for, and booked by what the answer says."""

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import bearer

MADE = {"id": "cntr_1", "object": "container", "status": "running"}


async def create(bench, body, answer=MADE, *, path="/v1/containers", status=200, **settings):
    guard = bench.guard(ScriptedApp(*json_answer(answer, status=status)), **{"limits": "key=9/month", **settings})
    return await call(guard, body, path=path, headers=bearer())


@pytest.mark.parametrize(
    ("body", "answer", "spent"),
    [
        ({"name": "x"}, MADE, "0.03"),
        ({"name": "x", "memory_limit": "1g"}, MADE, "0.03"),
        ({"name": "x", "memory_limit": "4g"}, MADE, "0.12"),
        ({"name": "x", "memory_limit": "16G"}, MADE, "0.48"),
        ({"name": "x", "memory_limit": "64g"}, MADE, "1.92"),
        ({"name": "x", "memory_limit": "64g"}, {**MADE, "memory_limit": "4g"}, "0.12"),
        ({"name": "x"}, {**MADE, "memory_limit": "16g"}, "0.48"),
        # What is not understood is taken for the largest.
        ({"name": "x", "memory_limit": "2048g"}, MADE, "1.92"),
        ({"name": "x", "memory_limit": ["1g"]}, MADE, "1.92"),
        (b"{", MADE, "1.92"),
        ({"name": "x"}, {"object": "what"}, "0.03"),
        ({"name": "x"}, {"error": {"message": "no"}}, "0.00"),
    ],
)
async def test_a_container_is_booked_by_its_memory(memory, body, answer, spent):
    assert (await create(memory, body, answer)).status == 200
    assert await memory.figures() == (spent, "0.00")


async def test_one_beyond_the_budget_is_refused(bench):
    assert (await create(bench, {"name": "x", "memory_limit": "64g"}, limits="key=1/month")).status == 429
    assert await bench.figures() == ("0.00", "0.00")


async def test_one_that_is_not_made_costs_nothing(memory):
    assert (await create(memory, {"name": "x"}, {"error": {"message": "no"}}, status=400)).status == 400
    assert await memory.figures() == ("0.00", "0.00")


@pytest.mark.parametrize(
    ("body", "spent"), [({"image": "nginx"}, "0.00"), ({"name": "x"}, "0.00"), ({"memory_limit": "4g"}, "0.12")]
)
async def test_the_containers_of_others_are_not_ours(memory, body, spent):
    assert (await create(memory, body, path="/cluster/containers")).status == 200
    assert await memory.figures() == (spent, "0.00")


async def test_the_operators_own_price_counts(memory, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[models."openai/container"]\ninput = 0\noutput = 0\ncode_container = 0.5\n')
    await create(memory, {"name": "x"}, prices=str(path))
    assert await memory.figures() == ("0.50", "0.00")
