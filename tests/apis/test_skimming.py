"""Most chunks of a stream are passed on unread; what is told of the answer is the same as if all were read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis import APIS
from budget_middleware.apis.answer import MAX_UNREAD_BYTES, AnswerReader
from budget_middleware.apis.openai_chat import OpenAIChat
from tests.apis.cuts import passed

BY_NAME = {api.name: api for api in APIS}
MIB = 1 << 20
USAGE = {"prompt_tokens": 10, "completion_tokens": 3}


def data(document, **dumping):
    return b"data: " + json.dumps(document, **dumping).encode() + b"\n\n"


def chunk(text="word", **fields):
    return {"model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": text}}], **fields}


def message_delta(**fields):
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, **fields}


def content_delta(text):
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


COMPACT = {"separators": (",", ":")}
TEXTS = ("word", "", "ünï", 'a "usage": null}', "[DONE]", "message_stop", "\n\n", '"response"')
CHAT = (
    *(data(chunk(text)) for text in TEXTS),
    *(data(chunk(text, usage=None), **COMPACT) for text in TEXTS),
    *(data(chunk(text, usage=None, obfuscation="x7Zq")) for text in TEXTS),
    data({"usage": None, **chunk()}),
    data(chunk(usage=None, extra={"usage": None})),
    data({**chunk(), "extra": {"a": 1, "usage": None}}, **COMPACT),
    data({"choices": [{"delta": {"content": "x"}, "usage": None}]}),
    data({"choices": [], "usage": USAGE}),
    data(chunk(usage=USAGE)),
    b": ping\n\n",
    b"\n\n",
    b"data: [DONE]\n\n",
    b'data: {"choices":[],\ndata: "usage":null}\n\n',
)
MESSAGES = (
    data({"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1}}}),
    *(data(content_delta(text)) for text in TEXTS),
    data(message_delta(usage={"output_tokens": 30})),
    data(message_delta()),
    data({"type": "message_stop"}),
    data({"type": "ping"}),
)
RESPONSES = (
    data({"type": "response.created", "response": {"model": "gpt-4o", "background": True, "usage": None}}),
    data({"type": "response.created", "response": {"model": "gpt-4o", "usage": None}}),
    *(data({"type": "response.output_text.delta", "delta": text, "sequence_number": 7}) for text in TEXTS),
    data({"type": "response.output_text.done", "text": "word"}),
    data({"type": "response.completed", "response": {"usage": {"input_tokens": 9, "output_tokens": 30}}}),
    data({"type": "response.failed"}),
)
STREAMS = {
    "openai-chat": (data(chunk()), CHAT),
    "openai-completions": (data({"model": "x", "choices": [{"text": "a"}]}), CHAT),
    "anthropic-messages": (MESSAGES[0], MESSAGES),
    "openai-responses": (RESPONSES[1], RESPONSES),
}


def reader_of(name, *, hide_usage=False, max_body_bytes=1000):
    reader = AnswerReader(BY_NAME[name], hide_usage=hide_usage, max_body_bytes=max_body_bytes)
    reader.begin(200, [(b"content-type", b"text/event-stream")])
    return reader


@pytest.mark.parametrize("name", STREAMS)
@given(st.data(), st.booleans())
def test_it_tells_what_reading_all_would(name, drawn, hide_usage):
    first, others = STREAMS[name]
    some = st.lists(st.sampled_from(others), min_size=1, max_size=3).map(b"".join)
    chunks = [first, *drawn.draw(st.lists(some, max_size=8)), b""]
    fed, skimmed = (reader_of(name, hide_usage=hide_usage) for _ in range(2))
    all_read = b"".join(fed.feed(one, last=False) for one in chunks)
    assert passed(skimmed, chunks) == all_read
    assert skimmed.seen == fed.seen


class Counted(OpenAIChat):
    def __init__(self):
        self.read = 0

    def read_event(self, data, seen, *, hide_usage):
        self.read += 1
        return super().read_event(data, seen, hide_usage=hide_usage)


@pytest.mark.parametrize("null", [{}, {"usage": None}, {"usage": None, "obfuscation": "x7Zq"}])
@pytest.mark.parametrize("hide_usage", [False, True])
def test_of_many_chunks_few_are_read(null, hide_usage):
    api = Counted()
    reader = AnswerReader(api, hide_usage=hide_usage, max_body_bytes=1000)
    reader.begin(200, [(b"content-type", b"text/event-stream")])
    chunks = [data(chunk(**null))] * 500
    for one in (*chunks, data({"choices": [], "usage": USAGE}), b"data: [DONE]\n\n"):
        skimmed = reader.skim(one) if reader.may_skim else None
        forwarded = reader.feed(one, last=False) if skimmed is None else skimmed
        assert (b"usage" in forwarded) == (b"usage" in one and not hide_usage)
    assert reader.seen.usage is not None
    assert reader.seen.terminal
    assert api.read == 3  # The first, the usage, and the end.


def test_no_more_than_so_much_is_kept_unread():
    reader = reader_of("openai-chat")
    reader.feed(data(chunk()), last=False)
    one, kept = data(chunk()), 0
    while not (seen := reader.seen.text_bytes) > len("word"):
        assert reader.skim(one) is one
        kept += len(one)
    assert MAX_UNREAD_BYTES < kept <= MAX_UNREAD_BYTES + len(one)
    assert seen == len("word") * (1 + kept // len(one))


def test_too_long_an_event_is_not_claimed_to_be_known():
    reader = reader_of("openai-chat")
    assert passed(reader, [data(chunk()), data(chunk("x" * MIB)), data(chunk()), b""])
    assert not reader.seen.readable
    assert reader.seen.text_bytes == 2 * len("word")


def test_what_was_skimmed_is_read_whole_where_the_next_event_has_begun():
    reader = reader_of("openai-chat")
    reader.feed(data(chunk()), last=False)
    reader.skim(data(chunk()))
    reader.feed(data(chunk())[:30], last=False)
    reader.catch_up()
    assert reader.seen.text_bytes == 2 * len("word")
    reader.feed(data(chunk())[30:], last=False)
    assert reader.seen.text_bytes == 3 * len("word")


def test_a_usage_that_is_spelt_so_that_skimming_misses_it_is_found_at_the_end():
    reader = reader_of("openai-chat")
    spelt = data({"choices": [], "usage": USAGE}).replace(b"usage", b"\\u0075sage")
    assert passed(reader, [data(chunk()), spelt, b""])
    assert reader.seen.usage is not None
