"""Asks LiteLLM which key it lets in, and our example and our own parser which key they read, for each request of stdin.

A program for the gateways' own environment: lines of JSON in, `[path, [[header, value], …], query]`, and lines of JSON
out, `[LiteLLM's key, the example's, our own]`; null stands for a refusal or for none.
"""

import asyncio
import json
import sys

import litellm_gateway  # type: ignore[import-not-found]  # examples/ is in its path
from fastapi import Request
from fastapi.security.api_key import APIKeyHeader
from litellm.proxy import proxy_server
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.auth import user_api_key_auth as auth

from budget_middleware.payers.credentials import AmbiguousTokenError
from budget_middleware.payers.places import token_of

HEADERS = ("api_key_header", "azure_api_key_header", "anthropic_api_key_header", "google_ai_studio_api_key_header")
PARAMETERS = ("api_key", *HEADERS[1:], "azure_apim_header", "custom_litellm_key_header")
SCHEMES = dict(zip(PARAMETERS, (*HEADERS, "azure_apim_header", "custom_litellm_key_header"), strict=True))


async def key_let_in(scope) -> str | None:
    """The key that LiteLLM's own dependency hands to an auth function, read by FastAPI as on LiteLLM's routes."""
    request = Request(scope)
    places = {}
    for parameter, name in SCHEMES.items():
        scheme = getattr(auth, name)
        assert isinstance(scheme, APIKeyHeader)
        places[parameter] = await scheme(request)
    told = []

    async def tell(request: Request, api_key: str) -> UserAPIKeyAuth:
        told.append(api_key)
        return UserAPIKeyAuth(api_key=api_key)

    proxy_server.user_custom_auth = tell
    await auth.user_api_key_auth_builder(request=request, request_data={}, **places)
    return told[0] or None


def own_reading(scope) -> str | None:
    try:
        return token_of(scope)
    except AmbiguousTokenError:
        return None


async def read(line: str) -> list[str | None]:
    path, headers, query = json.loads(line)
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    let_in = await key_let_in(dict(scope))
    return [let_in, await litellm_gateway.credential_of(dict(scope)), own_reading(scope)]


async def main() -> None:
    for line in sys.stdin:
        print(json.dumps(await read(line)), flush=True)


asyncio.run(main())
