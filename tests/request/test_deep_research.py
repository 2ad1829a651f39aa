"""A deep research response in the background: held at its ceiling, booked with the fees of the tools that it used."""

import pytest

from budget_middleware.core.costs.bill import unpack
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import bearer
from tests.stores.verbs import whole_journal

TOOLS = [
    {"type": "web_search_preview"},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}},
    {"type": "mcp", "server_label": "own", "server_url": "https://tools.example"},
]
ASKED = {"model": "o3-deep-research", "input": "x", "background": True, "max_tool_calls": 40, "tools": TOOLS}
RESPONSE = {"id": "resp_1", "object": "response", "model": "o3-deep-research-2025-06-26", "background": True}
OUTPUT = [
    {"type": "web_search_call", "id": "w1", "action": {"type": "search", "query": "a"}},
    # To open a page, and to look for words in it, is no search.
    {"type": "web_search_call", "id": "w2", "action": {"type": "open_page", "url": "b"}},
    {"type": "web_search_call", "id": "w3", "action": {"type": "find_in_page", "pattern": "c"}},
    {"type": "web_search_call", "id": "w4", "action": {"type": "search", "query": "d"}},
    {"type": "file_search_call", "id": "f1", "queries": ["a", "b"]},
    {"type": "code_interpreter_call", "id": "c1", "container_id": "cntr_1"},
    {"type": "code_interpreter_call", "id": "c2", "container_id": "cntr_1"},
    {"type": "mcp_call", "id": "m1", "name": "fetch"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "found"}]},
]
DONE = {
    **RESPONSE,
    "status": "completed",
    "tools": TOOLS,
    "output": OUTPUT,
    "usage": {"input_tokens": 1_000, "output_tokens": 1_000, "total_tokens": 2_000},
}
# By the million tokens 10 and 40 USD; a search costs a cent, one in files a quarter of it, a container of 4 GB 12.
SPENT = "0.1925"


async def poll(bench, answer):
    guard = bench.guard(ScriptedApp(*json_answer(answer)), limits="key=900/month")
    await call(guard, path="/v1/responses/resp_1", method="GET", headers=bearer())
    return await bench.figures()


@pytest.mark.parametrize("status", ["completed", "incomplete"])
async def test_tools_are_booked_once_in_addition_to_the_tokens(bench, status):
    queued = {**RESPONSE, "status": "queued", "output": [], "tools": TOOLS, "usage": None}
    guard = bench.guard(ScriptedApp(*json_answer(queued)), limits="key=900/month")
    assert (await call(guard, ASKED, path="/v1/responses", headers=bearer())).status == 200
    spent, held = await bench.figures()
    assert spent == "0.00"
    assert float(held) > 4.0
    assert await poll(bench, {**queued, "status": "in_progress", "output": OUTPUT[:3]}) == (spent, held)
    for _ in range(2):
        assert await poll(bench, {**DONE, "status": status}) == (SPENT, "0.00")
    bills = [bill for entry in await whole_journal(bench.reader) if (bill := unpack(entry.bill))]
    counts = {"input": 1_000, "output": 1_000, "web_search": 2, "file_search": 1, "code_container": 1}
    assert [dict(bill.counts) for bill in bills] == [counts]
