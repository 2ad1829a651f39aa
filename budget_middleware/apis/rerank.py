"""Rerank, as Cohere, Jina, Voyage and servers like them have it: billed by the search, or by tokens."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.reading import PartialBody, mapping_of, name_in, token_count
from budget_middleware.apis.counting.input import text_bytes_of
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import message_error
from budget_middleware.apis.shared.failures import read_bare_message, read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import take_cost
from budget_middleware.core.costs.pricing import Usage
from budget_middleware.core.money import ceil_div

# Cohere's rule: a search has up to 100 documents, and a longer document counts as one for each 500 tokens.
_DOCUMENTS_PER_SEARCH: Final = 100
_DOCUMENT_TOKENS: Final = 500


class Rerank(JsonApi):
    """`POST …/rerank`."""

    name = "rerank"
    provider = "cohere"
    path = ends_in("/rerank")

    def unread_units(self, n_bytes: int) -> dict[str, int]:  # noqa: ARG002 - however long it is
        """A search."""
        return {"rerank_searches": 1}

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request: by its documents, and by their text."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        documents = body.n_texts if isinstance(body, PartialBody) else 0
        documents += sum(map(_documents_in, (body.get("documents"), body.get("texts"))))
        return with_searches(ask, documents=documents, n_bytes=n_bytes)

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:  # noqa: ARG002 - whatever it says
        """None at all."""
        return 0

    def read_json(self, document: object, seen: Seen) -> None:
        """Read searches or tokens; without either, what was asked for is what there is to bill."""
        answer = mapping_of(document)
        read_failure(answer, seen)
        read_bare_message(answer, seen)
        results = answer.get("results", answer.get("data"))
        seen.readable = isinstance(results, list)
        seen.has_results = bool(results)
        seen.take_model(name_in(answer, "model"))
        meta, usage = mapping_of(answer.get("meta")), mapping_of(answer.get("usage"))
        billed, counted = mapping_of(meta.get("billed_units")), mapping_of(meta.get("tokens"))
        searches = _first(billed.get("search_units"), usage.get("search_units"), usage.get("rerank_units"))
        tokens = _first(
            *(billed.get("input_tokens"), usage.get("prompt_tokens"), usage.get("total_tokens")),
            *(usage.get("input_tokens"), billed.get("total_tokens"), counted.get("input_tokens")),
        )
        if searches is not None or tokens is not None:
            seen.take_usage(Usage(input_tokens=tokens or 0, rerank_searches=searches or 0))
        take_cost(usage, seen)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """A bare message, as Cohere has it."""
        return message_error(refusal)


def with_searches(ask: Ask, *, documents: int, n_bytes: int) -> Ask:
    """The request with the searches of so many documents; at worst as many as the length of its body allows."""
    pieces = max(1, documents) + ceil_div(n_bytes, _DOCUMENT_TOKENS)
    return replace(
        ask,
        input=replace(ask.input, rerank_searches=ceil_div(max(1, documents), _DOCUMENTS_PER_SEARCH)),
        worst_input=replace(ask.worst_input, rerank_searches=ceil_div(pieces, _DOCUMENTS_PER_SEARCH)),
    )


def _first(*counts: object) -> int | None:
    """The first count that reports more than zero; 0 if that is all that any reports."""
    reported = [count for count in map(token_count, counts) if count is not None]
    return next(filter(None, reported), 0) if reported else None


def _documents_in(value: object) -> int:
    """How many documents a field holds: of a list so many as it has, of anything else at most one a piece."""
    return len(value) if isinstance(value, list | dict) else ceil_div(text_bytes_of(value), _DOCUMENT_TOKENS)
