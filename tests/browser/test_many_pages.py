"""A thousand pages open at once at a real server: each is sent what changes, and the gateway goes on."""

import asyncio
import resource
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from tests.admin.admin_gateway import WRITE
from tests.browser.callers import call

pytestmark = pytest.mark.browser

PAGES = 1_000


async def _listen(url: str, cookie: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET /budget/events HTTP/1.1\r\nhost: gateway\r\ncookie: {cookie}\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    await reader.readuntil(b"retry: ")
    return reader, writer


def test_a_thousand_pages_see_one_request(gateway_url: str):
    # In a thread: Playwright, which other tests here drive, has an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _see_one_request(gateway_url)).result()


async def _see_one_request(gateway_url: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if 0 < most < 65_536 else 65_536, most))
    async with httpx.AsyncClient(base_url=gateway_url) as client, asyncio.timeout(120):
        signed_in = await client.post("/budget/sign-in", data={"token": WRITE})
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        pages = [await _listen(gateway_url, cookie) for _ in range(PAGES)]
        try:
            answer = await asyncio.to_thread(call, gateway_url, team="many-pages", max_tokens=100)
            assert answer.status_code == 200
            await asyncio.gather(*(reader.readuntil(b"team:many-pages") for reader, _ in pages))
            assert (await client.get("/budget/sign-in")).status_code == 200
        finally:
            for _, writer in pages:
                writer.close()
