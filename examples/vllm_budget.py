"""vLLM's OpenAI server with a budget in front: vLLM imports this module and puts the class around its own app.

    export PYTHONPATH=. BUDGET_STORE_URL=redis://localhost:6379/0 BUDGET_LIMITS='key=10/day'
    vllm serve Qwen/Qwen3-8B --served-model-name chat --middleware vllm_budget.Budget

With `BUDGET_PRICES` in the environment, `--middleware budget_middleware.BudgetMiddleware` needs no file at all. Here
every model that this server has costs the same: what an hour of its GPUs costs, over the tokens of that hour.
"""

from starlette.types import ASGIApp

from budget_middleware import BudgetMiddleware

USD_PER_MILLION_TOKENS = "0.10/0.40"


class Budget(BudgetMiddleware):
    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, unknown_model=USD_PER_MILLION_TOKENS)
