"""A batch job that spends from the budgets of the gateway: the same store, limits and prices, and no HTTP server.

export UPSTREAM_URL=https://api.openai.com BUDGET_STORE_URL=redis://localhost:6379/0 BUDGET_LIMITS='team=100/day'
python batch_job.py "first prompt" "second prompt"
"""

import asyncio
import os
import sys
from collections.abc import Sequence

import httpx

from budget_middleware import BudgetRejected, Ledger, open_ledger

MODEL = "gpt-4o"


async def run(ledger: Ledger, prompts: Sequence[str]) -> None:
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM_URL"], timeout=600) as upstream:
        for prompt in prompts:
            async with ledger.reservation({"team": "batch"}, estimate_usd="0.01", model=MODEL) as reservation:
                asked = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": 900}
                answer = await upstream.post("/v1/chat/completions", json=asked)
                used = answer.raise_for_status().json()["usage"]
                reservation.add_usage(
                    MODEL, input_tokens=used["prompt_tokens"], output_tokens=used["completion_tokens"]
                )
            print(f"{prompt}: {used['completion_tokens']} tokens")


async def main(prompts: Sequence[str]) -> None:
    ledger = open_ledger()
    try:
        await run(ledger, prompts)
    except BudgetRejected as refused:
        sys.exit(f"no budget: {refused}")
    finally:
        await ledger.drain()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
