"""A key, its team and the organisation above bind at once, at a real server on a real store."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from budget_middleware.core.payers.accounts import key_id
from tests.gateways.running import Books, account_of, running

pytestmark = pytest.mark.processes

ACCOUNTS_FILE = f"""
[keys."{key_id("filed")}"]
team = "search"

[teams."search"]
org = "acme"
"""
LIMITS = "key=1/day; team=1/day; org=1/day; tag=1/day"


@pytest.fixture
def books(server_url: str, namespace: str) -> Books:
    return Books(server_url, namespace)


@pytest.fixture
def gateway(books: Books, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "prices.toml").write_text("[models.plain]\ninput = 0\noutput = 1000\n")
    (tmp_path / "accounts.toml").write_text(ACCOUNTS_FILE)
    env = {
        **books.env,
        "BUDGET_PRICES": str(tmp_path / "prices.toml"),
        "BUDGET_ACCOUNTS": "key=token; team=header:x-team; org=header:x-org; tag=header:x-tags",
        "BUDGET_ACCOUNTS_FILE": str(tmp_path / "accounts.toml"),
        "BUDGET_LIMITS": LIMITS,
    }
    with running("tests.e2e.reading:app", env=env, log=tmp_path / "log") as address:
        yield address


async def test_key_team_organisation_and_tags_bind_at_once(gateway: str, books: Books):
    async with httpx.AsyncClient(base_url=gateway, timeout=60) as client:

        async def status(token: str, **headers: str) -> int:
            """Of a request that is estimated and booked at .60; tags are sent in a header each."""
            named = [(f"x-{kind}", subject) for kind, subject in headers.items() if kind != "tags"]
            tags = [("x-tags", each) for each in headers.get("tags", "").split(" ")]
            answer = await client.post(
                "/v1/chat/completions",
                json={"model": "plain", "max_tokens": 600, "messages": []},
                headers=[("authorization", f"Bearer {token}"), *named, *tags],
            )
            return answer.status_code

        # The file names the team, and the team's organisation: what the request says of itself counts for nothing.
        assert await status("filed", org="other", tags="a, b c") == 200
        for account in (account_of("filed"), "team:search", "org:acme", "tag:a", "tag:b", "tag:c"):
            assert await books.of(account) == ("0.60", "0.00"), account
        assert await status("one", team="ads", org="acme", tags="d") == 429, "the organisation's is spent"
        assert await status("one", team="search", org="beta", tags="d") == 429, "the team's is spent"
        assert await status("one", team="ads", org="beta", tags="d c") == 429, "a tag's is spent"
        assert await status("one", team="ads", org="beta", tags="d") == 200, "those that were refused took nothing"
        assert await status("one", team="new", org="new", tags="e") == 429, "the key's is spent"
