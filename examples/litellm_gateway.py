"""The LiteLLM proxy with a budget in front: one line, and what LiteLLM knows already is asked of LiteLLM.

    export CONFIG_FILE_PATH=litellm_config.yaml LITELLM_MASTER_KEY=sk-...
    export UPSTREAM_V1_URL=https://api.openai.com/v1 UPSTREAM_API_KEY=sk-...
    export BUDGET_LIMITS='key=10/day; team=100/day'
    uvicorn litellm_gateway:app

An alias costs what the model behind it costs, and a key belongs to the team and the user that LiteLLM's database has
for it. So no second list is kept; and `BUDGET_HASH_SECRET` stays unset, since LiteLLM hashes keys without one.
"""

from collections.abc import Mapping
from typing import Any

from litellm.proxy import proxy_server

from budget_middleware import BudgetMiddleware


def price_of(alias: str) -> str | Mapping[str, Any] | None:
    """The model behind an alias of `model_list`, or the prices that its entry names itself."""
    router = proxy_server.llm_router
    for deployment in (router and router.get_model_list(model_name=alias)) or ():
        told: Mapping[str, Any] = {**deployment.get("model_info", {}), **deployment["litellm_params"]}
        if told.get("input_cost_per_token") is not None:
            return told
        model: str = told.get("base_model") or told["model"]
        return model
    return None


async def accounts_of(key: str) -> Mapping[str, str] | None:
    """Team and user of a key. LiteLLM keeps the SHA-256 of its keys, and `key` is how that begins."""
    database = proxy_server.prisma_client
    if database is None:
        return None
    row = await database.db.litellm_verificationtoken.find_first(where={"token": {"startswith": key}})
    subjects = {"team": row.team_id, "user": row.user_id} if row else {}
    return {kind: subject for kind, subject in subjects.items() if subject}


app = proxy_server.app
app.add_middleware(BudgetMiddleware, price_source=price_of, accounts_source=accounts_of)
