"""Pages that look at what is live: one reader for all of them, nothing missed in silence, nothing left running."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from budget_middleware.admin.pages import feed as feeds
from budget_middleware.admin.pages.feed import Feed, Message
from budget_middleware.operations.errors import StoreUnavailable


class Looked:
    """What the store has to say next; an exception is raised."""

    def __init__(self) -> None:
        self.looks = 0
        self.next: asyncio.Queue[Sequence[Message] | Exception] = asyncio.Queue()

    async def look(self) -> Sequence[Message]:
        self.looks += 1
        found = await self.next.get()
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def looked() -> Looked:
    return Looked()


@pytest.fixture
def feed(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(feeds, "_AWAY_EVERY_S", 0)
    return Feed(looked.look, every_s=0)


def events(chunk: bytes) -> list[tuple[str, str]]:
    said = [each.split("\n") for each in chunk.decode().strip().split("\n\n")]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))["key"]) for event, data in said]


async def test_one_look_is_sent_to_every_page(feed: Feed, looked: Looked):
    pages = [feed.listen(may_stay=lambda: True) for _ in range(1_000)]
    async with asyncio.timeout(60):
        for page in pages:
            assert (await anext(page)).startswith(b"retry")
        waiting = [asyncio.ensure_future(anext(page)) for page in pages]
        await asyncio.sleep(0)
        looked.next.put_nowait([Message("counter", "a"), Message("counter", "b")])
        chunks = await asyncio.gather(*waiting)
    assert set(chunks) == {chunks[0]}
    assert events(chunks[0]) == [("counter", "a"), ("counter", "b")]
    assert looked.looks <= 2
    for page in pages:
        await page.aclose()
    assert feed.listeners == 0


async def test_nobody_looks_at_the_store_where_no_page_listens(feed: Feed, looked: Looked):
    page = feed.listen(may_stay=lambda: True)
    await anext(page)
    await page.aclose()
    looks = looked.looks
    looked.next.put_nowait([Message("counter", "a")])
    await asyncio.sleep(0)
    assert looked.looks == looks


async def test_a_page_that_falls_behind_is_loaded_again(feed: Feed, looked: Looked):
    page = feed.listen(may_stay=lambda: True)
    await anext(page)
    async with asyncio.timeout(60):
        looked.next.put_nowait([Message("counter", str(number)) for number in range(1_000)])
        assert events(await anext(page)) == [("reload", "")]
        looked.next.put_nowait([Message("counter", "after")])
        assert events(await anext(page)) == [("counter", "after")]
    await page.aclose()


async def test_a_store_that_is_away_is_said_once_and_its_return_too(feed: Feed, looked: Looked):
    page = feed.listen(may_stay=lambda: True)
    await anext(page)
    async with asyncio.timeout(60):
        looked.next.put_nowait(StoreUnavailable("away"))
        assert events(await anext(page)) == [("away", "")]
        looked.next.put_nowait(StoreUnavailable("away"))
        looked.next.put_nowait([Message("counter", "a")])
        assert events(await anext(page)) == [("back", ""), ("counter", "a")]
    await page.aclose()


async def test_a_mistake_of_ours_ends_no_page(feed: Feed, looked: Looked, caplog: pytest.LogCaptureFixture):
    page = feed.listen(may_stay=lambda: True)
    await anext(page)
    async with asyncio.timeout(60):
        looked.next.put_nowait(KeyError("ours"))
        looked.next.put_nowait([Message("counter", "a")])
        assert events(await anext(page)) == [("counter", "a")]
    assert "live figures" in caplog.text
    await page.aclose()


async def test_a_session_that_ends_ends_its_events(feed: Feed, looked: Looked):
    may_stay = True
    page = feed.listen(may_stay=lambda: may_stay)
    await anext(page)
    looked.next.put_nowait([Message("counter", "a")])
    async with asyncio.timeout(60):
        await anext(page)
        may_stay = False
        assert events(await anext(page)) == [("signed-out", "")]
    with pytest.raises(StopAsyncIteration):
        await anext(page)


def test_a_part_of_a_page_cannot_end_its_event():
    packed = Message("counter", "a\n\ndata: x", "<tr>\n\nevent: away\n").packed()
    assert packed.count(b"\n\n") == 1
    assert events(packed) == [("counter", "a\n\ndata: x")]
