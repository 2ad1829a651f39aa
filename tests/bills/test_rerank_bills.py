"""What rankings are booked at, by searches or by tokens, wherever an answer tells them."""

import pytest

from budget_middleware.testing import json_answer
from tests.bills.booked import booked

VOYAGE = "voyage/rerank-2.5"
JINA = "jina-reranker-v2-base-multilingual"
COHERE = "rerank-v3.5"

# Voyage and Jina: .05 a million tokens; Cohere: .002 a search.
CASES: dict[str, tuple[str, dict, str]] = {
    "tokens in the usage": (VOYAGE, {"usage": {"total_tokens": 1000}}, "0.00005"),
    "tokens that LiteLLM passes on": (VOYAGE, {"meta": {"billed_units": {"total_tokens": 1000}}}, "0.00005"),
    "tokens that are not among what is billed": (VOYAGE, {"meta": {"tokens": {"input_tokens": 1000}}}, "0.00005"),
    "tokens of Jina": (JINA, {"usage": {"total_tokens": 1000}}, "0.00005"),
    "tokens of Jina, with its prefix": (f"jina_ai/{JINA}", {"usage": {"total_tokens": 1000}}, "0.00005"),
    "searches": (COHERE, {"meta": {"billed_units": {"search_units": 3}}}, "0.006"),
    "searches in a usage": (COHERE, {"usage": {"rerank_units": 3}}, "0.006"),
    "searches beside tokens": (
        COHERE,
        {"meta": {"billed_units": {"search_units": 2}, "tokens": {"input_tokens": 1000}}},
        "0.004",
    ),
    "neither": (COHERE, {}, "0.002"),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_bill_of_a_ranking(memory, name):
    model, told, spent = CASES[name]
    answer = json_answer({"results": [{"index": 0, "relevance_score": 0.9}], **told})
    assert await booked(memory, "/v1/rerank", answer, model=model, query="x", documents=["x"]) == spent
