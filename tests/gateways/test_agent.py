"""The FastAPI example's agent: two calls for one request, of which the answer shows one."""

import httpx
import pytest

from tests.gateways.running import account_of, running

pytestmark = pytest.mark.gateways


async def test_both_calls_are_booked(upstream, books, prices, token, tmp_path):
    env = {
        **books.env,
        "UPSTREAM_URL": upstream,
        "BUDGET_PRICES": str(prices),
        "BUDGET_LIMITS": "key=2/day",
        "BUDGET_ROUTES": "/agents/review=openai-chat",
    }
    asked = {"model": "talk", "messages": [{"role": "user", "content": "two words"}], "max_tokens": 20}
    with running("fastapi_gateway:app", env=env, log=tmp_path / "log") as address:
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=30) as client:
            answer = await client.post(f"{address}/agents/review", json=asked)
    assert answer.json()["usage"] == {"prompt_tokens": 21, "completion_tokens": 20, "total_tokens": 41}
    # The draft: 2 words at .001 and 20 at .01; its review: 21 and 20.
    assert answer.headers["x-budget-cost-usd"] == "0.423"
    assert await books.of(account_of(token)) == ("0.423", "0.00")
    assert (await books.last_entry(account_of(token))).reason == "usage+added"
