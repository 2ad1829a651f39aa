"""Moves the limits of a LiteLLM proxy here: from its config and its database to BUDGET_LIMITS and an accounts file.

What no limit here can say is listed with its reason and its place: by the names of columns and settings, so that
what a newer LiteLLM adds is listed too, and not lost.
"""

from budget_middleware.operations.litellm_import.importing import import_litellm
from budget_middleware.operations.litellm_import.texts import accounts_text, commands_text, limits_text, unmapped_text

__all__ = ["accounts_text", "commands_text", "import_litellm", "limits_text", "unmapped_text"]
