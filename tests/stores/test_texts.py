"""Texts that gateways keep for each other: put by compare and swap, in every store."""

import asyncio

KEEP_MS = 60_000


async def test_a_text_is_put_only_where_the_expected_one_is(store):
    assert await store.swap_text("shelf", "name", before=None, after="one", keep_ms=KEEP_MS)
    assert not await store.swap_text("shelf", "name", before=None, after="two", keep_ms=KEEP_MS)
    assert not await store.swap_text("shelf", "name", before="two", after="three", keep_ms=KEEP_MS)
    assert await store.swap_text("shelf", "name", before="one", after="two", keep_ms=KEEP_MS)
    assert await store.texts("shelf") == {"name": "two"}
    assert await store.texts("another shelf") == {}


async def test_a_text_is_taken_away_only_where_it_is_the_expected_one(store):
    await store.swap_text("shelf", "name", before=None, after="", keep_ms=KEEP_MS)
    assert not await store.swap_text("shelf", "name", before="other", after=None, keep_ms=KEEP_MS)
    assert await store.texts("shelf") == {"name": ""}
    assert await store.swap_text("shelf", "name", before="", after=None, keep_ms=KEEP_MS)
    assert await store.texts("shelf") == {}
    assert await store.swap_text("shelf", "name", before=None, after=None, keep_ms=KEEP_MS)


async def test_any_text_comes_back_as_it_was(store):
    hostile = 'a "b" \n\u202e | é \U0001f4b8'
    await store.swap_text("shelf:2026-11-30", "key:ab|day", before=None, after=hostile, keep_ms=KEEP_MS)
    assert await store.texts("shelf:2026-11-30") == {"key:ab|day": hostile}
    assert await store.swap_text("shelf:2026-11-30", "key:ab|day", before=hostile, after="x", keep_ms=KEEP_MS)


async def test_one_of_many_who_ask_at_once_puts_its_text(store):
    asked = [store.swap_text("s", "lease", before=None, after=str(each), keep_ms=KEEP_MS) for each in range(20)]
    assert sum(await asyncio.gather(*asked)) == 1


async def test_texts_of_a_ledger_are_no_damage(store):
    await store.swap_text("s", "name", before=None, after="1", keep_ms=KEEP_MS)
    assert await store.damage() == []
