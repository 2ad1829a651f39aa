"""The budget for thoughts that a request sets, in each dialect. Nothing else is one, and none refuses a request."""

import pytest

from budget_middleware.apis import APIS

CHAT, MESSAGES, GEMINI = "/v1/chat/completions", "/v1/messages", "/v1beta/models/gemini-2.5-pro:generateContent"

BUDGETS = [
    (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 2_000}}, 2_000),
    (CHAT, {"thinking": {"type": "enabled", "budget_tokens": 2_000}}, 2_000),
    (CHAT, {"reasoning": {"max_tokens": 3_000}}, 3_000),
    (GEMINI, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 512}}}, 512),
    (GEMINI, {"generation_config": {"thinking_config": {"thinking_budget": 512}}}, 512),
    (GEMINI, {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}}, 0),
    (GEMINI, {}, 0),
    (MESSAGES, {"thinking": {"type": "disabled"}}, 0),
    (MESSAGES, {"thinking": "yes"}, 0),
    (CHAT, {"reasoning": {"effort": "high"}, "thinking": {"budget_tokens": "a lot"}}, 0),
    (CHAT, {"reasoning": {"max_tokens": -5}, "thinking": None}, 0),
    (CHAT, {"reasoning_effort": "high"}, 0),
]


@pytest.mark.parametrize(("path", "body", "tokens"), BUDGETS)
def test_the_budget_for_thoughts(path, body, tokens):
    api = next(api for api in APIS if api.matches(path))
    ask = api.read_request({"model": "m", "messages": [], "contents": [], **body}, path=path, n_bytes=100)
    assert ask.thinking_tokens == tokens
