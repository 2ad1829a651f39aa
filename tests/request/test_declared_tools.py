"""What is reserved for the tools of the provider that a request declares."""

import pytest

from budget_middleware.apis import APIS
from budget_middleware.core.costs.estimate import EstimateBy
from budget_middleware.core.costs.pricing import FREE, Rate, Rates, UsageClass
from budget_middleware.request.quotes.quote import quote_for

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
GEMINI = "/v1beta/models/m:generateContent"
# A nano-dollar each, and powers of ten, so that a sum tells what it is made of.
FEES = Rates(
    model="m",
    by_unit={
        UsageClass.INPUT: FREE,
        UsageClass.WEB_SEARCH: Rate(1_000_000),
        UsageClass.FILE_SEARCH: Rate(10_000_000),
        UsageClass.CODE_CONTAINER: Rate(100_000_000),
        UsageClass.MAPS_REQUEST: Rate(1_000_000_000),
        UsageClass.SOCIAL_SEARCH: Rate(10_000_000_000),
    },
    by_mode={"container_4g": {UsageClass.CODE_CONTAINER: Rate(400_000_000)}},
)


def reserved(path, body, *, by=EstimateBy.EXPECTED, rates=FEES):
    api = next(api for api in APIS if api.matches(path))
    ask = api.read_request(body, path=path, n_bytes=100)
    return quote_for(ask, rates, default_output_tokens=0, by=by).estimate_nanos


def tools(*kinds, **fields):
    return {"tools": [{"type": kind} for kind in kinds], **fields}


CLAUDES: dict = {"type": "web_search_20250305", "name": "web_search"}
# path, body -> expected, and at worst
DECLARED = {
    "none": (CHAT, {"messages": []}, 1, 1),
    "functions": (CHAT, tools("function"), 1, 1),
    "a search": (RESPONSES, tools("web_search"), 1, 1),
    "a search of a version": (RESPONSES, tools("web_search_preview_2025_03_11"), 1, 1),
    "all of OpenAI's": (RESPONSES, tools("web_search", "file_search", "code_interpreter"), 111, 111),
    "as often as is allowed": (RESPONSES, tools("file_search", max_tool_calls=5), 10, 50),
    "a large container": (
        RESPONSES,
        {"tools": [{"type": "code_interpreter", "container": {"memory_limit": "4g"}}]},
        400,
        400,
    ),
    "twice": (RESPONSES, tools("web_search", "web_search"), 1, 1),
    "xAI's": (RESPONSES, tools("x_search", "web_search"), 10_001, 10_001),
    "a chat that searches": (CHAT, {"web_search_options": {}}, 1, 1),
    "a gateway's": (CHAT, tools("openrouter:web_search"), 1, 1),
    "Moonshot's": (CHAT, {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]}, 1, 1),
    "Claude's": (MESSAGES, {"tools": [CLAUDES]}, 1, 1),
    "Claude's, as often as is allowed": (MESSAGES, {"tools": [{**CLAUDES, "max_uses": 7}]}, 1, 7),
    "never": (MESSAGES, {"tools": [{**CLAUDES, "max_uses": 0}]}, 1, 1),
    "a limit that is none": (MESSAGES, {"tools": [{**CLAUDES, "max_uses": "many"}]}, 1, 1),
    "a limit that is absurd": (MESSAGES, {"tools": [{**CLAUDES, "max_uses": 10**9}]}, 1, 10_000),
    "Claude's code": (MESSAGES, tools("code_execution_20250825"), 100, 100),
    "a tool of one's own that is called so": (
        MESSAGES,
        {"tools": [{"name": "web_search", "input_schema": {"type": "object"}}]},
        1,
        1,
    ),
    "Google Search": (GEMINI, {"tools": [{"google_search": {}}]}, 1, 1),
    "all of Google's": (GEMINI, {"tools": [{"googleSearch": {}, "googleMaps": {}}, {"fileSearch": {}}]}, 1_011, 1_011),
    "functions of Google's": (GEMINI, {"tools": [{"functionDeclarations": []}]}, 1, 1),
    "nonsense": (GEMINI, {"tools": {"google_search": [None, 7]}}, 1, 1),
}


@pytest.mark.parametrize("name", DECLARED)
def test_one_use_of_each_is_expected_and_at_worst_as_many_as_are_allowed(name):
    path, body, expected, at_worst = DECLARED[name]
    assert reserved(path, body) == expected
    assert reserved(path, body, by=EstimateBy.WORST) == at_worst


@pytest.mark.parametrize("unit", [UsageClass.WEB_SEARCH, UsageClass.GROUNDED_REQUEST])
def test_a_search_is_reserved_by_what_the_model_is_billed_by(unit):
    rates = Rates(model="m", by_unit={UsageClass.INPUT: FREE, unit: Rate(35_000_000)})
    assert reserved(GEMINI, {"tools": [{"google_search": {}}]}, rates=rates) == 35
