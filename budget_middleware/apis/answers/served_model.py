"""Headers in which gateways and providers name the model that answers, where the answer itself may not."""

import re
from typing import Final

from budget_middleware.apis.bodies.reading import MAX_NAME
from budget_middleware.headers import HeaderTable

# Azure's Responses names the deployment in its answer, LiteLLM what was asked for. The first that there is counts.
_NAMES: Final = (
    *(b"x-ms-served-model", b"x-litellm-model-group", b"x-kong-llm-model", b"cf-aig-model"),
    b"ngrok-aig-model",
)
_ANY: Final = frozenset(_NAMES)
_MODEL: Final = re.compile(rb"[!-~]+")
_FALLBACKS: Final = b"x-litellm-attempted-fallbacks"
NAMING_HEADERS: Final = _ANY | {_FALLBACKS}
"""All headers that are read here."""


def served_model_in(headers: HeaderTable) -> str:
    """The model that the headers of an answer name; empty if they name none."""
    found = headers.keys() & _ANY
    if not found:
        return ""
    values = [headers.get(name, b"").strip() for name in _NAMES]
    return next((value.decode() for value in values if len(value) <= MAX_NAME and _MODEL.fullmatch(value)), "")


def has_fallen_back(headers: HeaderTable) -> bool:
    """Whether the headers say that another model than the one that was asked had to answer."""
    tries = headers.get(_FALLBACKS, b"").strip()
    return tries.isdigit() and tries.strip(b"0") != b""
