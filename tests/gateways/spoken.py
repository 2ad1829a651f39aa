"""What the gateways of other frameworks say: OpenAI's answers, ten words for each word of the prompt."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

Json = dict[str, Any]
WORD_S = 0.02


def completion(asked: Json) -> Json:
    n_words = _n_words(asked)
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * n_words}, "finish_reason": "stop"}
    return {"object": "chat.completion", "model": asked["model"], "choices": [choice], "usage": _usage(asked)}


async def events(asked: Json) -> AsyncIterator[bytes]:
    for _ in range(_n_words(asked)):
        await asyncio.sleep(WORD_S)
        yield _event({"choices": [{"index": 0, "delta": {"content": "word "}}]})
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield _event({"choices": [], "usage": _usage(asked)})
    yield b"data: [DONE]\n\n"


def _n_words(asked: Json) -> int:
    return 10 * len(asked["messages"][0]["content"].split())


def _usage(asked: Json) -> Json:
    return {"prompt_tokens": _n_words(asked) // 10, "completion_tokens": _n_words(asked)}


def _event(document: Json) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()
