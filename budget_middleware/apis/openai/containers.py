"""OpenAI's containers, in which models run code: sold by the session, at a price by their memory.

Made by themselves they are used by responses later. No answer says how long one runs, so what is booked is its first
session, and once more by each response that runs code in it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.reading import id_in, mapping_of
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.core.costs.usage import Usage

# What its price is found by: it has no model.
CONTAINER: Final = "openai/container"
_LARGEST: Final = "64g"
_SIZES: Final = frozenset({"1g", "4g", "16g", _LARGEST})
_ONE: Final = Usage(code_containers=1)


class OpenAIContainers(JsonApi):
    """`POST …/containers`."""

    name = "openai-containers"
    provider = "openai"
    path = ends_in("/containers")

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """A container of the memory that is asked for; of an unknown size it is taken for the largest."""
        if isinstance(body, dict):
            size = body.get("memory_limit", "1g")
            ask = Ask(model=CONTAINER, input=_ONE, worst_input=_ONE)
        else:
            size = _LARGEST
            ask = super().read_request(body, path=path, n_bytes=n_bytes, query=query)
        return replace(ask, model=CONTAINER, max_output_tokens=0, modes=(_mode_of(size),), outlives_client=True)

    def unread_units(self, n_bytes: int) -> dict[str, int]:  # noqa: ARG002 - however long it is
        """A container."""
        return {"code_containers": 1}

    def read_json(self, document: object, seen: Seen) -> None:
        """Read the container that was made, and its memory if it says so."""
        answer: Mapping[str, object] = mapping_of(document)
        read_failure(answer, seen)
        if id_in(answer, "id") is None:
            return
        seen.readable = True
        seen.take_usage(_ONE)
        if "memory_limit" in answer:
            seen.modes = (_mode_of(answer["memory_limit"]),)


def _mode_of(size: object) -> str:
    known = size.lower() if isinstance(size, str) else ""
    return f"container_{known if known in _SIZES else _LARGEST}"
