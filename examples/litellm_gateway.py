"""The LiteLLM proxy with a budget in front: one line, and what LiteLLM knows already is asked of LiteLLM.

    export CONFIG_FILE_PATH=litellm_config.yaml LITELLM_MASTER_KEY=sk-...
    export UPSTREAM_V1_URL=https://api.openai.com/v1 UPSTREAM_API_KEY=sk-...
    export BUDGET_LIMITS='key=10/day; team=100/day'
    uvicorn litellm_gateway:app

An alias costs what the model behind it costs, and a key belongs to the team and the user that LiteLLM's database has
for it. So no second list is kept; and `BUDGET_HASH_SECRET` stays unset, since LiteLLM hashes keys without one. The key
of a request is read by LiteLLM's own parser, so that nobody is charged to another key than LiteLLM lets in.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from litellm.proxy import proxy_server
from litellm.proxy.auth import user_api_key_auth as auth
from litellm.proxy.auth.auth_utils import get_request_route
from litellm.proxy.pass_through_endpoints.common_utils import get_litellm_virtual_key
from starlette.types import Scope

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


async def credential_of(scope: Scope) -> str | None:
    """The key that LiteLLM will read from this request, on its own routes and on those that it passes through."""
    request = Request(scope)
    route = get_request_route(request)
    passed_through = proxy_server.general_settings.get("pass_through_endpoints")
    key: str | None
    key, _ = auth.get_api_key(
        **_places_of_a_key(request, route), pass_through_endpoints=passed_through, route=route, request=request
    )
    if name := proxy_server.general_settings.get("litellm_key_header_name"):
        key = auth.get_api_key_from_custom_header(request, name)
    # An auth function of one's own gets the key so far. LiteLLM's own also asks for a header of passed-through routes.
    if proxy_server.user_custom_auth is not None:
        return key
    checked = await auth.check_api_key_for_custom_headers_or_pass_through_endpoints(
        request=request, route=route, pass_through_endpoints=passed_through, api_key=key
    )
    return checked if isinstance(checked, str) else None


def _places_of_a_key(request: Request, route: str) -> dict[str, str | None]:
    """The headers as LiteLLM's routes hand them to its parser; those of Google's APIs look at one place alone."""
    header = request.headers.get
    places = {
        "custom_litellm_key_header": header("x-litellm-api-key"),
        "api_key": header("authorization"),
        "azure_api_key_header": header("api-key"),
        "anthropic_api_key_header": header("x-api-key"),
        "google_ai_studio_api_key_header": header("x-goog-api-key"),
        "azure_apim_header": header("ocp-apim-subscription-key"),
    }
    if route.startswith("/gemini/"):
        key = request.query_params.get("key") or header("x-goog-api-key")
        return {**dict.fromkeys(places), "api_key": f"Bearer {key}"}
    if route.startswith(("/vertex_ai/", "/vertex-ai/")):
        return {**dict.fromkeys(places), "api_key": get_litellm_virtual_key(request)}
    # FastAPI takes an empty header for none.
    return {place: value or None for place, value in places.items()}


app = proxy_server.app
app.add_middleware(
    BudgetMiddleware, price_source=price_of, accounts_source=accounts_of, credential_source=credential_of
)
