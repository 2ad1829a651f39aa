"""OpenAI's completions of plain prompts, and those of servers that imitate them."""

from collections.abc import Mapping

from budget_middleware.apis.bodies.reading import PartialBody, whole_number
from budget_middleware.apis.openai.chat import MAX_CHOICES, OpenAIChat
from budget_middleware.apis.routes.paths import ends_in


class OpenAICompletions(OpenAIChat):
    """`POST …/completions`, but for those of chats."""

    name = "openai-completions"
    path = ends_in("(?<!/chat)/completions")
    input_fields = ("prompt",)

    def choices(self, body: Mapping[str, object]) -> int:
        """The larger of `n` and `best_of`, for each prompt: those that are not returned are billed too."""
        each = max(whole_number(body, field, at_most=MAX_CHOICES) or 1 for field in ("n", "best_of"))
        if isinstance(body, PartialBody):
            # Too many values to tell the prompts from the rest: each text and each list may be one.
            return each * max(1, body.n_texts + body.n_lists)
        prompt = body.get("prompt")
        # A list of numbers is one prompt, in tokens.
        is_list = isinstance(prompt, list) and len(prompt) > 0 and not isinstance(prompt[0], int)
        return each * len(prompt) if is_list and isinstance(prompt, list) else each
