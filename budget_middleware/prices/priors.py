"""How long answers of models that think are expected to be before any is known; thoughts are billed too."""

import re
from typing import Final

REASONING_TOKENS: Final = 4_096
"""In a public trace of one such model answers come to 1,540 tokens, with a spread of 2,350; a first estimate had better
be too high than too low."""

# By the last part of a model's name. What is sold as a chat model beside them does not think.
_REASONING: Final = re.compile(
    r"(?:o1|o3|o4|gpt-5(?!.*chat)|deepseek-r1|deepseek-reasoner|qwq|magistral|gemini-2\.5-pro)(?:$|[-.@:])|.*[-:]thinking(?:$|-)"
)


def prior_of(model: str) -> int | None:
    """The tokens to expect of a model that thinks; None for all others."""
    return REASONING_TOKENS if _REASONING.match(model.lower().rpartition("/")[2]) else None
