"""OpenAI embeddings, which have no output that is billed."""

from collections.abc import Mapping

from budget_middleware.apis.bodies.reading import mapping_of
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage


class OpenAIEmbeddings(JsonApi):
    """`POST …/embeddings`."""

    name = "openai-embeddings"
    provider = "openai"
    path = ends_in("/embeddings")
    # Ollama's old API, at a path that ends alike, has a prompt.
    input_fields = ("input", "prompt")

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:  # noqa: ARG002 - whatever it says
        """None at all."""
        return 0

    def read_json(self, document: object, seen: Seen) -> None:
        """Read the usage; without one, the input is what there is to bill."""
        answer = mapping_of(document)
        read_failure(answer, seen)
        seen.readable = "data" in answer or "embedding" in answer
        seen.has_results = bool(answer.get("data") or answer.get("embedding"))
        seen.costs_input_alone = True
        read_openai_usage(answer, seen, has_output=False)
