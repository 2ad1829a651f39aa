"""Most chunks of a stream need no parsing; what is told of the answer is the same as if all were parsed."""

import json
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget_middleware.apis import APIS
from budget_middleware.apis.answer import AnswerReader
from budget_middleware.apis.openai_chat import OpenAIChat
from budget_middleware.apis.skimming import facts_of
from tests.apis.cuts import taken

BY_NAME = {api.name: api for api in APIS}
COMPACT = {"separators": (",", ":")}
USAGE = {"prompt_tokens": 10, "completion_tokens": 3}
TEXTS = (
    "word",
    "other",
    "",
    "ünï",
    'a "usage": null}',
    "[DONE]",
    "message_stop",
    "\n\n",
    "4",
    "x" * 5000,
)


def data(document, **dumping):
    return b"data: " + json.dumps(document, **dumping).encode() + b"\n\n"


def utf8(document):
    return data(document, ensure_ascii=False, **COMPACT)


def chunk(text="word", *, n=0, **fields):
    return {"model": "gpt-4o", "choices": [{"index": n, "delta": {"content": text}, "finish_reason": None}], **fields}


def named(document):
    return f"event: {document['type']}\n".encode() + utf8(document)


def content_delta(text, kind="text"):
    return {"type": "content_block_delta", "index": 0, "delta": {"type": f"{kind}_delta", kind: text}}


CHAT = (
    *(utf8(chunk(text)) for text in TEXTS),
    *(utf8(chunk(text, n=1)) for text in TEXTS[:4]),
    *(data(chunk(text, usage=None)) for text in TEXTS),
    *(utf8(chunk(text, usage=None, obfuscation=text[:3])) for text in TEXTS),
    *(utf8(chunk("word", service_tier=tier)) for tier in ("flex", "default")),
    *(utf8({**chunk(), "model": model}) for model in ("gpt-4o-mini", "gpt-4")),
    *(utf8({"choices": [{"index": 0, "delta": {key: "word"}}]}) for key in ("content", "reasoning", "other")),
    *(utf8({**chunk(), key: USAGE}) for key in ("a", "b", "usage")),
    utf8({"choices": [{"delta": {"content": "x", "tool_calls": [{"function": {"name": "f", "arguments": "a"}}]}}]}),
    data({"usage": None, **chunk()}),
    data(chunk(usage=None, extra={"usage": None})),
    data({**chunk(), "extra": {"a": 1, "usage": None}}),
    data({"choices": [], "usage": USAGE}),
    data({"choices": [], "usage": {**USAGE, "cost": 0.25}}),
    data({"choices": [], "usage": USAGE}).replace(b"usage", b"\\u0075sage"),
    data(chunk(usage=USAGE)),
    utf8(chunk()).replace(b"word", b"w\xffrd"),
    utf8(chunk()).replace(b"word", b"w\trd"),
    *(
        utf8({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": end}]})
        for end in ("stop", "error", "x")
    ),
    *(utf8({**chunk(""), "error": error}) for error in ("", "0", "no words", {"message": "word"}, None)),
    *(utf8({**chunk(), "base_resp": {"status_code": code}}) for code in (0, 0, 1004)),
    *(utf8({"error": {"message": text}}) for text in TEXTS[:3]),
    b": ping\n\n",
    b': "usage":null}\n\n',
    b"\n\n",
    b"data: [DONE]\n\n",
    b'data: no json, "usage":null}\n\n',
    b'data: {"choices":[],\ndata: "usage":null}\n\n',
)
MESSAGES = (
    named({"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1}}}),
    named({"type": "message_start", "message": {"model": "other"}}),
    *(named(content_delta(text)) for text in TEXTS),
    *(named(content_delta(text, "thinking")) for text in TEXTS[:4]),
    *(utf8(content_delta(text)) for text in TEXTS[:4]),
    named({"type": "message_delta", "usage": {"output_tokens": 30}}),
    named({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    named({"type": "message_stop"}),
    *(utf8({"type": kind}) for kind in ("ping", "message_stop", "other", "error")),
    named({"type": "message_delta", "delta": {"stop_reason": "refusal"}}),
)
RESPONSES = (
    named({"type": "response.created", "response": {"model": "gpt-4o", "background": True, "usage": None}}),
    named({"type": "response.created", "response": {"model": "gpt-4o", "usage": None}}),
    *(
        utf8({"type": kind, "sequence_number": n, "delta": text})
        for kind in ("response.output_text.delta", "response.audio.delta", "response.output_text.done")
        for n, text in enumerate(TEXTS)
    ),
    named({"type": "response.completed", "response": {"usage": {"input_tokens": 9, "output_tokens": 30}}}),
    *(utf8({"type": f"response.{end}", "sequence_number": 3, "delta": "word"}) for end in ("failed", "completed")),
)
STREAMS = {
    "openai-chat": CHAT,
    "openai-completions": (*(utf8({"model": "x", "choices": [{"text": text}]}) for text in TEXTS), *CHAT),
    "anthropic-messages": MESSAGES,
    "openai-responses": RESPONSES,
    "gemini": tuple(
        utf8({"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": {"promptTokenCount": n}})
        for text in TEXTS
        for n in (1, 2)
    ),
}


def reader_of(name, *, hide_usage=False):
    reader = AnswerReader(BY_NAME[name], hide_usage=hide_usage, max_body_bytes=1_000_000)
    reader.begin(200, [(b"content-type", b"text/event-stream")])
    return reader


def assert_as_if_all_were_parsed(name, chunks, *, hide_usage=False):
    fed, skimmed = (reader_of(name, hide_usage=hide_usage) for _ in range(2))
    for one in chunks:
        assert taken(skimmed, one) == fed.feed(one, last=False)
        assert skimmed.seen == fed.seen
        assert facts_of(skimmed.seen) == facts_of(fed.seen)


def test_what_is_alike_is_skimmed():
    reader = reader_of("openai-chat")
    for one in (CHAT[0], CHAT[1]):
        reader.feed(one, last=False)
    assert reader.skim(CHAT[0]) is CHAT[0]


def test_nothing_is_skimmed_in_the_midst_of_an_event():
    reader = reader_of("openai-chat")
    for one in (CHAT[0], CHAT[1], CHAT[0][:30]):
        reader.feed(one, last=False)
    assert reader.skim(CHAT[0]) is None
    reader.feed(CHAT[0][30:], last=False)
    assert reader.skim(CHAT[0]) is CHAT[0]


@pytest.mark.parametrize("name", STREAMS)
@settings(max_examples=300)
@given(st.data(), st.booleans())
def test_it_tells_what_parsing_all_would(name, drawn, hide_usage):
    events = STREAMS[name]
    some = st.sampled_from(events) | st.lists(st.sampled_from(events), min_size=2, max_size=3).map(b"".join)
    # Runs of what is alike, for nothing is learnt from what differs each time.
    runs = st.lists(st.tuples(st.integers(0, len(events) - 1), st.integers(1, 4)), max_size=6)
    chunks = [one for start, length in drawn.draw(runs) for one in events[start : start + length]]
    chunks += drawn.draw(st.lists(some, max_size=6))
    assert_as_if_all_were_parsed(name, chunks, hide_usage=hide_usage)


class Counted(OpenAIChat):
    def __init__(self):
        self.parsed = 0

    def read_event(self, data, seen, *, hide_usage):
        self.parsed += 1
        return super().read_event(data, seen, hide_usage=hide_usage)


@pytest.mark.parametrize("rest", [{}, {"usage": None}, {"usage": None, "obfuscation": "?"}, {"sequence": "?"}])
@pytest.mark.parametrize("hide_usage", [False, True])
def test_of_many_chunks_few_are_parsed(rest, hide_usage):
    api = Counted()
    reader = AnswerReader(api, hide_usage=hide_usage, max_body_bytes=1000)
    reader.begin(200, [(b"content-type", b"text/event-stream")])
    chunks = [
        data(chunk(f"word {n}", **{key: value and f"{value}{n}" for key, value in rest.items()})) for n in range(500)
    ]
    for one in (*chunks, data({"choices": [], "usage": USAGE}), b"data: [DONE]\n\n"):
        forwarded = taken(reader, one)
        assert (b"usage" in forwarded) == (b"usage" in one and not hide_usage)
    assert reader.seen.usage is not None
    assert reader.seen.terminal
    assert reader.seen.text_bytes == sum(len(f"word {n}") for n in range(500))
    assert api.parsed < 20


def test_random_paddings_are_hardly_ever_taken_for_names():
    """As OpenAI puts into each chunk, so that its length does not betray its text."""
    some, letters = random.Random(1), string.ascii_letters + string.digits
    reader, n_skimmed = reader_of("openai-chat"), 0
    for n in range(1000):
        one = data(chunk(f"word {n}", obfuscation="".join(some.choices(letters, k=1 + n % 16))))
        if reader.skim(one) is None:
            reader.feed(one, last=False)
        else:
            n_skimmed += 1
    assert n_skimmed > 980
    assert reader.seen.chunks == 1000


@pytest.mark.parametrize("text", ["line {}\n", "\t{}", 'say "{}"', "\\{}", "ü{}", "\U0001f600{}", "\ud83d{}"])
def test_escapes_in_a_text_are_read_without_the_rest_of_their_chunk(text):
    api = Counted()
    reader = AnswerReader(api, hide_usage=False, max_body_bytes=1000)
    reader.begin(200, [(b"content-type", b"text/event-stream")])
    texts = ["word", "other", *(text.format(n) for n in range(100))]
    for one in texts:
        taken(reader, data(chunk(one)))
    assert reader.seen.text_bytes == sum(len(one.encode("utf-8", "surrogatepass")) for one in texts)
    assert reader.seen.chunks == len(texts)
    assert api.parsed < 20


def test_chunks_that_are_numbered_are_alike():
    reader = reader_of("openai-responses")
    deltas = [utf8({"type": "response.output_text.delta", "sequence_number": n, "delta": f"{n}"}) for n in range(100)]
    for one in deltas[:2]:
        reader.feed(one, last=False)
    assert all(reader.skim(one) is one for one in deltas)
    # A longer number than any counter's is nothing that was tried.
    assert reader.skim(deltas[-1].replace(b":99,", b":%s," % (b"9" * 19))) is None


@pytest.mark.parametrize("kind", ["response.output_text.delta", "response.completed", "response.failed"])
def test_what_an_event_is_may_matter_though_it_did_not_in_those_before(kind):
    """Several events come in one chunk: of one the text is generated, the others tell what they are by a text too."""

    def chunk_of(text, kind):
        told = ("response.output_text.delta", text), (kind, "word")
        return b"".join(utf8({"type": kind, "sequence_number": 1, "delta": text}) for kind, text in told)

    chunks = [
        chunk_of("word", "response.audio.delta"),
        chunk_of("other", "response.refusal.done"),
        chunk_of("third", "response.audio.done"),
        chunk_of("last", kind),
    ]
    assert_as_if_all_were_parsed("openai-responses", chunks)


def of_model(text, model):
    return utf8({"model": model, "choices": [{"delta": {"content": text}}]})


def hidden(text):
    return utf8({"choices": [{"delta": {"content": text}}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}})


BOM = b"\xef\xbb\xbf"
A_AND_B = [of_model("x", "a"), of_model("y", "a")]
TOLD_OTHERWISE = of_model("z", "b")


@pytest.mark.parametrize(
    "chunks",
    [
        [*A_AND_B, TOLD_OTHERWISE[:20], TOLD_OTHERWISE[20:], of_model("w", "a")],
        [*A_AND_B, TOLD_OTHERWISE + TOLD_OTHERWISE[:20], TOLD_OTHERWISE[20:], of_model("w", "a")],
        [BOM + of_model(text, "a") for text in "xyz"],
        [*A_AND_B, of_model("z" * (1 << 20), "a")],
        [hidden(text) for text in ("x", "y", "")],
        [
            b'data: {"choices":[{"delta":{"content":"%s"}}],"%s"\ndata: :"v"}\n\n' % told
            for told in ((b"x", b"a"), (b"y", b"b"), (b"z", b"model"))
        ],
    ],
    ids=["in pieces", "with the next one's head", "BOM", "too long", "no text", "a key in another line"],
)
@pytest.mark.parametrize("hide_usage", [False, True])
def test_as_if_all_were_parsed(chunks, hide_usage):
    assert_as_if_all_were_parsed("openai-chat", chunks, hide_usage=hide_usage)


def of_gemini(text, **usage):
    return utf8({"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": usage})


def of_modality(text, modality):
    details = [{"modality": modality, "tokenCount": 9}]
    return of_gemini(text, promptTokenCount=9, candidatesTokenCount=1, promptTokensDetails=details)


def of_iteration(text, kind):
    iterations = [{"type": kind, "input_tokens": 5, "output_tokens": 6}]
    usage = {"input_tokens": 1, "output_tokens": 2, "iterations": iterations}
    return utf8({"type": "message", "content": [{"text": text}], "usage": usage})


def of_bedrock(text, kind):
    return utf8({"contentBlockDelta": {"type": kind}, "text": text})


def with_usage(text, **usage):
    return utf8(chunk(text, usage={**USAGE, **usage}))


LOOKED_AT = {
    "traffic": (
        "gemini",
        [of_gemini(t, trafficType=kind) for t, kind in (("x", "OF"), ("y", "A"), ("z", "ON_DEMAND_FLEX"))],
    ),
    "modality": ("gemini", [of_modality(t, kind) for t, kind in (("x", "TEXT"), ("y", "VIDEO"), ("z", "AUDIO"))]),
    "iteration": (
        "anthropic-messages",
        [of_iteration(t, kind) for t, kind in (("x", "a"), ("y", "b"), ("z", "compaction"))],
    ),
    "kind of event": (
        "bedrock",
        [of_bedrock(t, kind) for t, kind in (("x", "1a"), ("y", "2b"), ("z", "message_stop"))],
    ),
    "escaped": (
        "bedrock",
        [
            *(of_bedrock(t, kind) for t, kind in (("x", "1a"), ("y", "2b"))),
            of_bedrock("z", "message_stop").replace(b"message", b"\\u006dessage"),
        ],
    ),
    "unit": (
        "openai-chat",
        [with_usage(t, type=kind, seconds=3) for t, kind in (("x", "a"), ("y", "b"), ("z", "duration"))],
    ),
    "total": (
        "openai-chat",
        [
            with_usage(t, completion_tokens=2, completion_tokens_details={"reasoning_tokens": 5}, total_tokens=n)
            for t, n in (("x", 1), ("y", 2), ("z", 17))
        ],
    ),
}


@pytest.mark.parametrize("story", LOOKED_AT)
@pytest.mark.parametrize("hide_usage", [False, True])
def test_what_two_chunks_say_in_vain_may_matter_in_the_third(story, hide_usage):
    name, chunks = LOOKED_AT[story]
    assert_as_if_all_were_parsed(name, chunks, hide_usage=hide_usage)


def test_streams_that_are_never_alike_pay_little_for_it():
    api = Counted()
    reader = AnswerReader(api, hide_usage=False, max_body_bytes=1000)
    reader.begin(200, [(b"content-type", b"text/event-stream")])
    for n in range(500):
        one = data(chunk(**{f"key{'s' * n}": n}))
        assert reader.skim(one) is None
        reader.feed(one, last=False)
    assert api.parsed < 600
