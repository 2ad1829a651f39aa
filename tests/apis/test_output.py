"""What is counted as text in an answer without usage, and what makes its output unknown."""

import json

import pytest

from budget_middleware.apis import APIS
from budget_middleware.apis.protocol.seen import Seen

BY_NAME = {api.name: api for api in APIS}
SOUND = "UklGR" * 20


def chat(**message):
    return {"choices": [{"index": 0, "delta": message}]}


def block(**fields):
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def begun(**fields):
    return {"type": "content_block_start", "index": 0, "content_block": fields}


def parts(*parts):
    return {"candidates": [{"content": {"parts": list(parts)}}]}


def item(**fields):
    return {"type": "response.output_item.done", "item": fields}


def piece(kind, **fields):
    return {"type": f"response.{kind}", **fields}


def converse(**delta):
    return {"contentBlockIndex": 0, "delta": delta}


CUSTOM_CALL = {"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
NEW_CALL = {"type": "new", "new": {"input": "x"}}
CITATION = {"type": "url_citation", "url_citation": {"url": "https://x", "title": "word"}}
DETAILS = [{"type": "reasoning.text", "text": "hmm", "format": "x", "index": 0}, {"type": "x", "data": "sealed"}]
IMAGE = {"image_url": {"url": "data:image/png;base64,AAAA"}}
REFUSAL = {"output": [{"content": [{"type": "refusal", "refusal": "no"}]}]}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "word", "annotations": [CITATION]}]}

# Of one event, or answer: the bytes of its text, and whether there is more.
OUTPUTS = {
    "openai-chat": {
        "words": (chat(content="word"), 4, False),
        "a custom tool call": (chat(tool_calls=[CUSTOM_CALL]), 11, False),
        "a call of a new kind": (chat(tool_calls=[NEW_CALL]), 0, True),
        "reasoning in pieces": (chat(reasoning_details=DETAILS), 9, False),
        "reasoning in pieces, and in one text": (chat(reasoning="hmm", reasoning_details=DETAILS), 3, False),
        "what is spoken": (chat(audio={"id": "a", "data": SOUND, "transcript": "word"}), 4, True),
        "what is said of it": (chat(audio={"id": "a", "expires_at": 1, "transcript": "word"}), 4, False),
        "an image": (chat(images=[IMAGE]), 0, True),
        "an image among the parts": (chat(content=[{"type": "image_url", **IMAGE}]), 0, True),
        "parts": (chat(content=[{"type": "text", "text": "word"}, "word"]), 8, False),
        "thoughts among the parts": (chat(content=[{"type": "thinking", "thinking": ["hmm"]}]), 3, False),
        "another field": (chat(whatever="word"), 0, True),
        "another field with nothing": (chat(a=None, b="", c=[], d=4, e=True), 0, False),
        "another field of the choice": ({"choices": [{"delta": {}, "whatever": "word"}]}, 0, True),
        "metadata": (chat(role="assistant", annotations=[CITATION], provider_specific_fields={"x": [1]}), 0, False),
    },
    "openai-completions": {
        "words": ({"choices": [{"text": "word", "logprobs": {"tokens": ["word"]}}]}, 4, False),
        "a chat": (chat(content="word"), 4, False),
    },
    "openai-responses": {
        "a custom call": (piece("custom_tool_call_input.delta", delta="select 1"), 8, False),
        "arguments": (piece("mcp_call_arguments.delta", delta="{}"), 2, False),
        "code": (piece("code_interpreter_call_code.delta", delta="1+1"), 3, False),
        "sound": (piece("audio.delta", delta=SOUND), 0, True),
        "its transcript": (piece("audio.transcript.delta", delta="word"), 4, False),
        "a partial image": (piece("image_generation_call.partial_image", partial_image_b64=SOUND), 0, True),
        "an image": (item(type="image_generation_call", id="i", result=SOUND), 0, True),
        "a click": (item(type="computer_call", action={"type": "click"}), 9, False),
        "an item without deltas": (item(**MESSAGE), 4, False),
        "what a tool has found": (item(type="file_search_call", queries=["word"], results=[{"text": "x"}]), 4, False),
        "a refusal that came whole": (piece("completed", response=REFUSAL), 2, False),
    },
    "anthropic-messages": {
        "words": (block(type="text_delta", text="word"), 4, False),
        "a signature": (block(type="signature_delta", signature=SOUND), 0, False),
        "a citation": (block(type="citations_delta", citation={"cited_text": "word"}), 0, False),
        "a tool's input": (block(type="input_json_delta", partial_json="{}"), 2, False),
        "a compaction": (block(type="compaction_delta", content="word"), 4, False),
        "a new delta": (block(type="new_delta", whatever="word"), 0, True),
        "a server tool": (begun(type="server_tool_use", id="x", name="web", input={}), 3, False),
        "what it has found": (begun(type="web_search_tool_result", content=[{"title": "word"}]), 0, False),
        "sealed thoughts": (begun(type="redacted_thinking", data="AAAA"), 4, False),
    },
    "gemini": {
        "words": (parts({"text": "word"}, {"thought": True, "text": "hmm"}), 7, False),
        "an image": (parts({"text": "word"}, {"inlineData": {"data": SOUND}}), 4, True),
        "code": (parts({"executableCode": {"code": "1+1"}}), 7, False),
        "what its code has printed": (parts({"codeExecutionResult": {"output": "2"}}), 7, False),
        "a signature": (parts({"text": "word", "thoughtSignature": SOUND}), 4, False),
    },
    "ollama": {
        "words": ({"message": {"role": "assistant", "content": "word"}, "context": [1, 2]}, 4, False),
        "an image": ({"message": {"content": "word", "images": [SOUND]}}, 4, True),
        "an image beside": ({"response": "word", "image": SOUND}, 4, True),
    },
    "bedrock": {
        "words": (converse(text="word"), 4, False),
        "thoughts": (converse(reasoningContent={"text": "hmm", "signature": SOUND}), 3, False),
        "a new delta": (converse(whatever={"bytes": "x"}), 0, True),
        "an image": ({"output": {"message": {"content": [{"text": "word"}, {"image": {"s": 1}}]}}}, 4, True),
    },
}
CASES = [(api, name, *facts) for api, cases in OUTPUTS.items() for name, facts in cases.items()]


@pytest.mark.parametrize(("api", "name", "document", "text_bytes", "has_more"), CASES)
def test_the_text_of_an_event_and_whether_there_is_more(api, name, document, text_bytes, has_more):
    seen = Seen()
    BY_NAME[api].read_event(json.dumps(document).encode(), seen, hide_usage=False)
    assert (seen.text_bytes, seen.has_unread_output) == (text_bytes, has_more), name


def test_what_came_in_pieces_is_not_counted_again():
    seen = Seen()
    for event in (
        piece("output_text.delta", delta="word"),
        item(**MESSAGE),
        piece("completed", response={"output": [MESSAGE]}),
    ):
        BY_NAME["openai-responses"].read_event(json.dumps(event).encode(), seen, hide_usage=False)
    assert seen.text_bytes == 4
