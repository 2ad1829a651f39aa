"""What the fake upstream says, and what the load asks it: one chat completion, whole or as a stream of 500 chunks."""

import json
from dataclasses import dataclass, field, replace
from itertools import cycle, islice

CHUNKS = 500
PATH = "/v1/chat/completions"
TOKEN = "sk-benchmark"

_HEAD = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "gpt-4o"}
_WORDS = ("a", "guard", "that", "never", "shows", "figures", "it", "cannot", "explain")
_USAGE = {"prompt_tokens": 42, "completion_tokens": 48, "total_tokens": 90}
COST_NANOS = 42 * 2_500 + 48 * 10_000
"""What that usage costs at the price book's rates of gpt-4o."""

WHOLE = json.dumps(
    {
        **_HEAD,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "A short and friendly answer. " * 8},
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    }
).encode()


def stream(*, with_usage: bool) -> list[bytes]:
    """The events of a stream as OpenAI sends them: asked for usage, each chunk has it, null in all but the last."""
    head = {**_HEAD, "object": "chat.completion.chunk"}
    null = {"usage": None} if with_usage else {}
    events = [
        {**head, "choices": [{"index": 0, "delta": {"content": f" {word}"}, "finish_reason": None}], **null}
        for word in islice(cycle(_WORDS), CHUNKS)
    ]
    if with_usage:
        events.append({**head, "choices": [], "usage": _USAGE})
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as every connection sends it over and over; of many keys: each time with another token."""

    body: str
    is_of_many_keys: bool = False
    headers: dict[str, str] = field(
        default_factory=lambda: {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {TOKEN}",
            "X-Team": "bench",
            "X-User": "alice",
            "X-Org": "acme",
            "X-Project": "chat",
        }
    )


def _ask(**more: object) -> Ask:
    messages = [{"role": "user", "content": "Say something nice to me."}]
    return Ask(json.dumps({"model": "gpt-4o", "max_tokens": 64, "messages": messages, **more}))


CHAT = _ask()
OF_MANY_KEYS = replace(CHAT, is_of_many_keys=True)
STREAM = _ask(stream=True)
"""A client that does not ask for usage: what the guard asks for on its behalf it takes out again."""
STREAM_WITH_USAGE = _ask(stream=True, stream_options={"include_usage": True})
