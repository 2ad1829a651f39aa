"""LiteLLM's hook for keys of one's own: every key that begins with `sk-` is known."""

from fastapi import HTTPException, Request
from litellm.proxy._types import UserAPIKeyAuth


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    if not api_key.startswith("sk-"):
        raise HTTPException(401, "no such key")
    return UserAPIKeyAuth(api_key=api_key)
