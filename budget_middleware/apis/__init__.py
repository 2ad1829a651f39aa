"""What each LLM API's requests and answers say. One small module an API, all of the same shape."""

from typing import Final

from budget_middleware.apis.base import Api
from budget_middleware.apis.openai_chat import OpenAIChat

APIS: Final[tuple[Api, ...]] = (OpenAIChat(),)
