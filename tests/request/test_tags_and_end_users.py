"""Requests with several tags, and end users whom the APIs' own fields name, through the middleware on each store."""

import pytest

from budget_middleware.core.windows import Period
from budget_middleware.testing import ScriptedApp, call
from tests.request.wire import KEY, ask, bearer, completion

TAGGED = {"accounts": "key=token; tag=header:x-tags|body:metadata.tags"}


def tagged(tags):
    return {**bearer(), "x-tags": tags}


async def test_a_request_is_charged_to_each_of_its_tags(bench):
    guard = bench.guard(ScriptedApp(*completion(300)), limits="tag=1/month", **TAGGED)
    assert (await call(guard, ask(600), headers=tagged("b, a,, b"))).status == 200
    assert await bench.figures("tag:a") == await bench.figures("tag:b") == await bench.figures() == ("0.30", "0.00")
    assert await bench.accounts() == {KEY, "tag:a", "tag:b"}


async def test_sixteen_tags_with_ninety_six_counters(bench):
    limits = "tag=1/day; tag=1/month; tag=1/year; key+tag=1/day; key+tag=1/month; key+tag=1/total"
    guard = bench.guard(ScriptedApp(*completion(600)), limits=limits, **TAGGED)
    tags = [f"t{number:02}" for number in range(16)]
    assert (await call(guard, ask(600, metadata={"tags": tags}), headers=bearer())).status == 200
    await bench.settle()
    of_tags = [view for view in await bench.reader.counters() if "tag" in view.counter.account]
    assert [view.balance.spent for view in of_tags] == [600_000_000] * 16 * 6
    assert (await call(guard, ask(600), headers=tagged("new,t07"))).status == 429
    assert "tag:new" not in await bench.accounts()


async def test_one_tag_that_refuses_refuses_all(bench):
    guard = bench.guard(ScriptedApp(*completion(600)), limits="tag=1/month; tag:small=0.50/month", **TAGGED)
    body = ask(600, metadata={"tags": ["big", "small"]})
    refused = await call(guard, body, headers=bearer())
    assert (refused.status, refused.json()["error"]["code"]) == (429, "budget_exhausted")
    assert (
        await bench.figures("tag:big") == await bench.figures("tag:small") == await bench.figures() == ("0.00", "0.00")
    )
    (refusal,) = await bench.reader.refusals()
    assert refusal.accounts == (KEY, "tag:big", "tag:small")
    assert refusal.rejection.target.account == "tag:small"


async def test_a_runtime_limit_on_one_of_the_tags_binds_at_the_next_request(bench):
    guard = bench.guard(ScriptedApp(*completion(100)), limits="", **TAGGED)
    assert (await call(guard, ask(100), headers=tagged("a,b"))).status == 200
    await bench.reader.set_limit("key+tag:*+b", period=Period.MONTH, limit_nanos=0)
    assert (await call(guard, ask(100), headers=tagged("b,a"))).status == 429
    assert (await call(guard, ask(100), headers=tagged("a"))).status == 200


async def test_who_leaves_tags_out_shares_an_account_where_a_default_binds(memory):
    guard = memory.guard(ScriptedApp(*completion(600)), limits="tag=1/month", **TAGGED)
    assert (await call(guard, ask(600), headers=tagged(" , "))).status == 200
    assert (await call(guard, ask(600), headers=bearer())).status == 429
    assert await memory.accounts() == {KEY, "tag:-"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_too_many_tags_are_a_bad_request(memory, path):
    guard = memory.guard(ScriptedApp(*completion(600)), limits="tag=1/month", **TAGGED)
    refused = await call(guard, ask(600), path=path, headers=tagged(",".join(map(str, range(17)))))
    assert refused.status == 400
    assert "17 different tags are too many; one request may have 16" in refused.json()["error"]["message"]
    assert await memory.accounts() == set()


async def test_in_shadow_mode_the_first_of_too_many_tags_are_charged(memory):
    guard = memory.guard(ScriptedApp(*completion(300)), limits="key=1/month; tag=1/month", mode="shadow", **TAGGED)
    names = [f"t{number:02}" for number in reversed(range(17))]
    assert (await call(guard, ask(600), headers=tagged(",".join(names)))).status == 200
    assert await memory.accounts() == {KEY, *[f"tag:{name}" for name in names[:16]]}
    assert await memory.figures() == ("0.30", "0.00")


END_USERS = {
    "accounts": "key=token; user=body:safety_identifier|body:user|body:metadata.user_id",
    "limits": "user=1/month",
}


@pytest.mark.parametrize(
    ("path", "fields"),
    {
        "/v1/chat/completions": {"safety_identifier": "alice"},
        "/v1/completions": {"user": "alice", "prompt": "x"},
        "/v1/responses": {"user": "alice", "input": "x", "max_output_tokens": 600},
        "/v1/messages": {"metadata": {"user_id": "alice"}},
    }.items(),
)
async def test_each_end_user_has_the_default_limit(memory, path, fields):
    guard = memory.guard(ScriptedApp(*completion(600)), **END_USERS)

    async def asked(**named):
        return await call(guard, ask(600, **fields | named), path=path, headers=bearer())

    assert (await asked()).status == 200
    refused = await asked()
    assert refused.status == 429
    # The user is only claimed, so nobody is told the figures.
    assert "alice" not in refused.json()["error"]["message"]
    assert (await asked(safety_identifier="bob")).status == 200
    assert await memory.accounts() == {KEY, "user:alice", "user:bob"}


async def test_who_names_no_end_user_shares_one_account(memory):
    guard = memory.guard(ScriptedApp(*completion(600)), **END_USERS)
    assert [(await call(guard, ask(600), headers=bearer())).status for _ in range(2)] == [200, 429]
    assert await memory.accounts() == {KEY, "user:-"}
