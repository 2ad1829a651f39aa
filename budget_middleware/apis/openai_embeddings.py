"""OpenAI embeddings, which have no output that is billed."""

import re
from collections.abc import Mapping

from budget_middleware.apis.base import Seen
from budget_middleware.apis.json_api import JsonApi
from budget_middleware.apis.openai_usage import read_openai_usage
from budget_middleware.apis.reading import mapping_of


class OpenAIEmbeddings(JsonApi):
    """`POST …/embeddings`."""

    name = "openai-embeddings"
    provider = "openai"
    path = re.compile(r"/embeddings/?$")
    input_fields = ("input",)

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:  # noqa: ARG002 - whatever it says
        """None at all."""
        return 0

    def read_json(self, document: object, seen: Seen) -> None:
        """Read the usage; without one, the input is what there is to bill."""
        answer = mapping_of(document)
        seen.readable = isinstance(answer.get("data"), list)
        read_openai_usage(answer, seen, has_output=False)
