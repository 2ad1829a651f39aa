"""The LiteLLM proxy with a budget in front: one line, and what LiteLLM knows already is asked of LiteLLM.

    export CONFIG_FILE_PATH=litellm_config.yaml BUDGET_LIMITS='key=10/day; team=100/day'
    uvicorn litellm_gateway:app

A model's alias is priced as the model that its config names, and a key belongs to the team and the user that
LiteLLM's database has for it.
"""

from collections.abc import Mapping
from typing import Any

from litellm.proxy import proxy_server

from budget_middleware import BudgetMiddleware


def price_of(alias: str) -> str | Mapping[str, Any] | None:
    """The model behind an alias of `model_list`, or the prices that its entry sets itself."""
    router = proxy_server.llm_router
    deployments = router.get_model_list(model_name=alias) if router else None
    for deployment in deployments or ():
        named: Mapping[str, Any] = deployment["litellm_params"]
        if named.get("input_cost_per_token") is not None:
            return named
        model: str = named["model"]
        return model
    return None


async def accounts_of(key: str) -> Mapping[str, str] | None:
    """Team and user of a key. LiteLLM keeps the SHA-256 of a key, and our subject is how that begins."""
    client = proxy_server.prisma_client
    if client is None:
        return None
    row = await client.db.litellm_verificationtoken.find_first(where={"token": {"startswith": key}})
    known = {"team": row.team_id, "user": row.user_id} if row else {}
    return {kind: subject for kind, subject in known.items() if subject}


app = proxy_server.app
app.add_middleware(BudgetMiddleware, price_source=price_of, accounts_source=accounts_of)
