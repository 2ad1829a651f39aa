"""Facts that gateways find again: which reservation pays for a job, what a file holds."""

import asyncio

from budget_middleware.stores.base import Store
from budget_middleware.stores.notes import Topic


async def test_the_first_text_of_a_name_stays(store: Store):
    assert await store.keep_fact("job1", '{"id": "r1"}', keep_ms=60_000) == '{"id": "r1"}'
    assert await store.keep_fact("job1", '{"id": "r2"}', keep_ms=60_000) == '{"id": "r1"}'
    assert await store.kept_facts(["job1", "job2"]) == {"job1": '{"id": "r1"}'}
    assert await store.kept_facts([]) == {}


async def test_of_many_that_come_together_one_is_kept(store: Store):
    texts = await asyncio.gather(*(store.keep_fact("job1", f"text {n}", keep_ms=60_000) for n in range(8)))
    assert len(set(texts)) == 1
    assert await store.kept_facts(["job1"]) == {"job1": texts[0]}


async def test_facts_are_read_in_pages(store: Store):
    names = [f"job{n}" for n in range(700)]
    for name in names[::100]:
        await store.keep_fact(name, name.upper(), keep_ms=60_000)
    assert await store.kept_facts(names) == {name: name.upper() for name in names[::100]}


async def test_all_facts_are_read_with_the_time_that_they_are_kept(store: Store):
    assert await store.all_facts() == []
    for n in range(300):
        await store.keep_fact(f"job{n}", f"text {n}", keep_ms=60_000 + n * 1_000)
    await store.add_note(Topic.JOBS, "no fact")
    found = {fact.name: fact for fact in await store.all_facts()}
    assert {name: fact.text for name, fact in found.items()} == {f"job{n}": f"text {n}" for n in range(300)}
    assert 50_000 < found["job0"].left_ms <= 60_000
    assert 349_000 < found["job299"].left_ms <= 359_000


async def test_a_fact_is_no_damage(store: Store):
    await store.keep_fact("job1", "text", keep_ms=60_000)
    assert await store.damage() == []
