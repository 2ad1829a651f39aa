"""docs/records.md held against what the store writes: each key, and an example of each that is word for word true."""

import re
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from budget_middleware.core.costs.learning import AnswerGroup, Sums
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.limits.shadow import ShadowLimit, ShadowSum, day_of
from budget_middleware.core.model import Balance, Rejection, Target
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.windows import Period, window_at
from budget_middleware.ledger.endings.spool_lines import SpooledEnding, to_line
from budget_middleware.ledger.jobs.tickets import Job, JobTicket
from budget_middleware.stores.notes import Topic
from budget_middleware.stores.redis import keys
from budget_middleware.testing import MovableClock
from tests.stores.clocked import ClockedRedisStore
from tests.stores.conftest import OpenStore
from tests.stores.verbs import adjust, finalize, grow, release, reserve, target

on_server = pytest.mark.parametrize("make_store", ["server"], indirect=True)

PAGE = (Path(__file__).parents[2] / "docs" / "records.md").read_text("utf-8")
KEY = target(f"key:{'1f3a5b7c' * 2}", "10.00", period=Period.DAY)
TEAM = target("team:search", period=Period.MONTH)
TOKENS = Target("team:search", TEAM.window, 2_000_000, Unit.TOKENS)
TRACE = f"00-{'4bf92f35' * 4}-{'00f067aa' * 2}-01"
HELD, ENDED, FREED = "7d3e" * 8, "0b5c" * 8, "c2a9" * 8
BILL = (
    '{"v":1,"nanos":380,"calls":[{"model":"gpt-4o-mini","provider":"openai","source":"genai-prices",'
    '"lines":[["output",1,380000000]]}]}'
)


@pytest.fixture
async def shown(open_store: OpenStore, clock: MovableClock) -> dict[str, str]:
    """What every key of a small story shows, by its name."""
    store = open_store()
    assert isinstance(store, ClockedRedisStore)
    await store.reserve(reserve(ENDED, "0.0012", KEY, TEAM, trace=TRACE))
    clock.advance(ms=812)
    await store.finalize(replace(finalize(ENDED, "0.00000038"), reason="usage", bill=BILL, trace=TRACE))
    await store.reserve(reserve(FREED, "0.0007", KEY, TEAM))
    await store.release(replace(release(FREED), reason="error"))
    await store.adjust(replace(adjust("5e8f" * 8, "-0.0000001", KEY), reason="goodwill\nticket 7"))
    held = reserve(HELD, "0.0012", KEY, TEAM, TOKENS, charge="0.0003", trace=TRACE)
    await store.reserve(replace(held, asked=Amounts(usd=held.asked.usd, tokens=812)))
    grown = grow(HELD, "0.0026", trace=TRACE)
    await store.grow(replace(grown, reason="outgrown: 1431 tokens shown, holds 2860"))
    bucket = window_at(Period("24h"), time_ms=clock.now_ms, timezone=ZoneInfo("UTC"))
    rolling = Target(KEY.account, bucket, 10_000_000_000)
    await store.finalize(finalize("24ab" * 8, "0.00000038", rolling))
    await store.set_limit("team:search", period=Period.MONTH, limit_nanos=250_000_000_000)
    rejection = Rejection(KEY, Balance(280, 1_200_000), 10_000_000_000)
    refused = LoggedRefusal(clock.now_ms, "91d0" * 8, (KEY.account, TEAM.account), rejection, "gpt-4o", TRACE)
    await store.log_refusals([refused])
    limit = ShadowLimit(KEY.account, Period.DAY, Unit.USD, 5_000_000_000, LimitMode.SHADOW)
    shadow = ShadowSum(3, 1_200_000, 7_250_000_000, clock.now_ms - 812, clock.now_ms)
    await store.add_shadow_sums(day_of(clock.now_ms), {limit: shadow})
    await store.add_note(Topic.UNPRICED, "my-model")
    job = Job("openai-responses", "resp_1")
    await store.keep_fact(job.fact_name, JobTicket(ENDED, job.api, job.id, {}).packed(), keep_ms=86_400_000)
    lease = f'{{"owner":"7d3e7d3e","until_ms":{clock.now_ms + 15_000}}}'
    await store.swap_text("alerts:follower", "lease", before=None, after=lease, keep_ms=60_000)
    sums = Sums(2.0, 1_220.0, 1_080_200.0, 24.5, 300.0, 375.0, 468.75)
    await store.learn({AnswerGroup("gpt-4o-mini", KEY.account): sums})
    await store._call("claim_homes", "", str(36 * 86_400_000), KEY.account, "03")
    client, prefix = store._client(), store._prefix
    generation = await client.hget(f"{prefix}meta", "generation")
    found: dict[str, str] = {}
    async for key in client.scan_iter(match=f"{prefix}*", count=1000):
        name = key.replace(prefix, "{budget}:")
        found[name] = "\n".join(await lines_of(store, key)).replace(generation, "f8b43c1b2a90d7e6")
    return found


async def lines_of(store: ClockedRedisStore, key: str) -> list[str]:
    client = store._client()
    match await client.type(key):
        case "string":
            return [await client.get(key)]
        case "hash":
            return [f"{name} {value}" for name, value in sorted((await client.hgetall(key)).items())]
        case "zset":
            members = await client.zrange(key, 0, -1, withscores=True)
            return [f"{score:.0f} {member}" for member, score in members]
        case _:
            return [f"{name} {value}" for _, fields in await client.xrange(key) for name, value in fields.items()]


def blocks() -> dict[str, str]:
    fenced = re.findall(r"^```\n(\{budget\}:\S+)\n(.*?)\n```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    return dict(fenced)


@on_server
async def test_each_example_is_what_the_store_writes(shown: dict[str, str]):
    told = blocks()
    assert {name: shown.get(name) for name in told} == told


@on_server
async def test_each_kind_of_key_is_told_and_has_an_example(shown: dict[str, str]):
    table = dict(re.findall(r"^\| `\{budget\}:([a-z_]+)[^`]*` \| (\w+) \|", PAGE, flags=re.MULTILINE))
    previous = {keys.PREVIOUS_HOLDS, keys.PREVIOUS_HELD_ON}
    assert table == {name: kind for name, kind in keys.TYPES.items() if name not in previous}
    exemplified = {name.removeprefix("{budget}:").partition(":")[0] for name in blocks()}
    # The last is written only where a store has lost limits.
    assert exemplified == set(table) - {keys.LIMITS_WRITTEN_BACK}
    assert all(f"`{name}" in PAGE for name in previous)


def test_the_spool_line_is_what_a_ledger_writes():
    ending = replace(finalize(ENDED, "0.00000038", KEY, TEAM), reason="usage")
    line = to_line(SpooledEnding(ending, 1_795_012_200_812, TRACE)).strip()
    assert f"```json\n{line}\n```" in PAGE
