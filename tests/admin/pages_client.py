"""A browser of few words: it signs in, and reads forms."""

import re

import httpx


async def signed_in(client: httpx.AsyncClient, token: str) -> httpx.AsyncClient:
    answer = await client.post("/budget/sign-in", data={"token": token})
    assert answer.status_code == 303, answer.text
    return client


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found is not None, page.text
    return found[1]
