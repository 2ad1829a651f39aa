"""Requests and answers of an OpenAI gateway, at prices that come out exactly (see PRICES)."""

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.testing import chunk, event, event_stream, json_answer, start

PRICES = """
[models.plain]  # A tenth of a cent for each token of output, nothing for input.
input = 0
output = 1000
[models.talk]
input = 1000
output = 1200
[models.gift]
input = 0
output = 0
[models.cache]
input = 1
cached_input = 0.1
output = 0
[models.fine]  # A cent for a million tokens: .00011 and .0823 are whole numbers of them.
input = 0
output = 10
[models.short]
input = 0
output = 1000
max_output_tokens = 900
"""

TOKEN = "sk-one"
OTHER_TOKEN = "sk-two"
KEY = f"key:{key_id(TOKEN)}"
OTHER_KEY = f"key:{key_id(OTHER_TOKEN)}"

TALK = {
    "model": "talk",
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 500,
    # With the keys of the message 200 bytes, which are 50 tokens.
    "messages": [{"role": "user", "content": "x" * (200 - 15)}],
}
"""Estimated at .05 for the input and .60 for the output."""


def bearer(token=TOKEN):
    return {"authorization": f"Bearer {token}"}


def ask(max_tokens=600, *, model="plain", **fields):
    """A request that is estimated at a tenth of a cent for each token."""
    return {"model": model, "max_tokens": max_tokens, "messages": [], **fields}


def usage(output_tokens=0, input_tokens=0, **fields):
    return {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, **fields}


def completion(output_tokens, text=None, **fields):
    """An answer with so many tokens of output; one with none has no text."""
    text = text or ("hello" if output_tokens else "")
    document = {"choices": [{"message": {"content": text}}], "usage": usage(output_tokens), **fields}
    return json_answer(document)


def delta(text="word", **fields):
    return {"choices": [{"index": 0, "delta": {"content": text}}], **fields}


def usage_event(output_tokens, input_tokens=0, **fields):
    return {"choices": [], "usage": usage(output_tokens, input_tokens), **fields}


STREAM_START = start(content_type="text/event-stream")
DONE = event("[DONE]")
LAST = chunk(is_last=True)


def words(count=100):
    """Deltas of one token each: at the price of `talk`, a hundred of them are .12."""
    return [event(delta()) for _ in range(count)]


def stream(output_tokens, *, chunks=3):
    return event_stream(*[delta()] * chunks, usage_event(output_tokens), "[DONE]")
