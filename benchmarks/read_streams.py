"""Reads streams of each dialect and prints the CPU time a stream; run by `reading`, by the code that PYTHONPATH names.

Many streams are open at once and take turns, chunk by chunk, as the pauses of real ones make them do.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from budget_middleware.apis import APIS
from budget_middleware.apis.answers.answer_reader import AnswerReader

OPEN_AT_ONCE = 20
ROUNDS = 5
LENGTHS = (10, 50, 400)
# How the events come: one by one, several a piece, or cut wherever the network did.
ONE_BY_ONE, SEVERAL, CUT = "one by one", "4 a piece", "1,000 bytes a piece"
WORDS = ("a", "guard", "that", "never", "shows", "figures", "it", "cannot", "explain")


def event(document: Mapping[str, Any]) -> bytes:
    name = f"event: {document['type']}\n" if "type" in document else ""
    return f"{name}data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()


def chat(length: int, *, told: str = "null") -> list[bytes]:
    """As OpenAI streams it, padded; told the usage with the last chunk, or with each."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o"}

    def usage(place: int) -> dict[str, int]:
        return {"prompt_tokens": 9, "completion_tokens": place, "total_tokens": 9 + place}

    chunks = [
        {
            **head,
            "choices": [{"index": 0, "delta": {"content": f" {WORDS[place % 9]}"}, "finish_reason": None}],
            **({"usage": None, "obfuscation": "aB3dE9"[place % 6 :]} if told == "null" else {"usage": usage(place)}),
        }
        for place in range(length)
    ]
    return [*map(event, chunks), event({**head, "choices": [], "usage": usage(length)}), b"data: [DONE]\n\n"]


def chat_with_usage(length: int) -> list[bytes]:
    return chat(length, told="each")


def messages(length: int) -> list[bytes]:
    start = {"model": "claude-sonnet-4-5", "usage": {"input_tokens": 9, "output_tokens": 1}}
    deltas = [{"type": "text_delta", "text": f" {WORDS[place % 9]}"} for place in range(length)]
    return [
        event({"type": "message_start", "message": start}),
        *(event({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": length}}),
        event({"type": "message_stop"}),
    ]


def gemini(length: int) -> list[bytes]:
    return [
        event(
            {
                "candidates": [{"content": {"parts": [{"text": f" {WORDS[place % 9]}"}], "role": "model"}}],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": place, "totalTokenCount": 9 + place},
                "modelVersion": "gemini-2.5-flash",
            }
        )
        for place in range(length)
    ]


Stream = Callable[[int], list[bytes]]
# dialect, what makes its streams, and whether the client did not ask for the usage
STREAMS: Mapping[str, tuple[str, Stream, bool]] = {
    "chat": ("openai-chat", chat, False),
    "chat, usage hidden": ("openai-chat", chat, True),
    "chat, usage in each": ("openai-chat", chat_with_usage, False),
    "Anthropic": ("anthropic-messages", messages, False),
    "Gemini": ("gemini", gemini, False),
}


def arriving(chunks: list[bytes], how: str) -> list[bytes]:
    if how == ONE_BY_ONE:
        return chunks
    if how == SEVERAL:
        return [b"".join(chunks[at : at + 4]) for at in range(0, len(chunks), 4)]
    stream = b"".join(chunks)
    return [stream[at : at + 1000] for at in range(0, len(stream), 1000)]


def cpu_us(dialect: str, pieces: list[bytes], *, hide_usage: bool) -> float:
    """What one of many such streams takes, their readers' set-up included."""
    api = next(api for api in APIS if api.name == dialect)
    begun = time.process_time()
    readers = [AnswerReader(api, hide_usage=hide_usage, max_body_bytes=10_000_000) for _ in range(OPEN_AT_ONCE)]
    for reader in readers:
        reader.begin(200, [(b"content-type", b"text/event-stream")])
    for piece in pieces:
        for reader in readers:
            # Its name before there were types of events.
            take = getattr(reader, "pass_ordinary", None) or getattr(reader, "skim")  # noqa: B009
            if take(piece) is None:
                reader.feed(piece, last=False)
    for reader in readers:
        reader.feed(b"", last=True)
    return (time.process_time() - begun) / OPEN_AT_ONCE * 1e6


if __name__ == "__main__":
    figures = []
    for says, (dialect, make, hide_usage) in STREAMS.items():
        for length in LENGTHS:
            for how in (ONE_BY_ONE, SEVERAL, CUT):
                pieces = arriving(make(length), how)
                least = min(cpu_us(dialect, pieces, hide_usage=hide_usage) for _ in range(ROUNDS))
                figures.append({"stream": says, "chunks": length, "arriving": how, "cpu_us": least})
    json.dump(figures, sys.stdout)
