"""Ordinary events are read by a fast path of their own; what is told of an answer is the same as by the full reader.

FUZZ_EXAMPLES says how many examples of each kind to try.
"""

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budget_middleware.apis import APIS
from budget_middleware.apis.answers.answer_reader import AnswerReader
from budget_middleware.apis.bodies.reading import MAX_NAME, MAX_TOKENS, UNREADABLE, parse_body
from budget_middleware.apis.protocol.ordinary import MAX_BYTES, OrdinaryReader
from budget_middleware.apis.protocol.seen import Seen
from tests.apis.cuts import CUTS, cut, taken
from tests.apis.test_dialect_answers import ANSWERS
from tests.apis.test_hostile import ANY_JSON, KEYS, NUMBERS, WORDS, spoiled
from tests.bills.exchanges import EXCHANGES, FORMATS

BY_NAME = {api.name: api for api in APIS}
WITH_ORDINARY = {name: api for name, api in BY_NAME.items() if api.ordinary_event is not None}
fuzz = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), suppress_health_check=list(HealthCheck))

TEXTS = ("word", "", "ünï", 'a "usage": null}', "[DONE]", "\n\n", "\ud83d", "\U0001f600", "x" * 5000)
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
GEMINI_USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}


def chunk(text="word", *, key="content", **fields):
    choice = {"index": 0, "delta": {key: text}, "finish_reason": None, "logprobs": None}
    return {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice], **fields}


def content_delta(kind, **delta):
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **delta}}


def of_gemini(*parts, **fields):
    content = {"role": "model", "parts": [*parts]}
    return {"candidates": [{"content": content, "index": 0}], "modelVersion": "gemini-2.5-pro", **fields}


DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0, "accepted_prediction_tokens": 0},
}
ARGUMENTS = [{"index": 0, "function": {"arguments": '{"a":'}}]
TEXT_ALONE = [{"modality": "TEXT", "tokenCount": 9}]

# The ordinary events of each dialect.
ORDINARY: dict[str, list[Any]] = {
    "openai-chat": [
        chunk(),
        chunk(service_tier="default", system_fingerprint="f", obfuscation="abc", usage=None),
        *(chunk(key=key) for key in ("reasoning_content", "reasoning", "refusal")),
        chunk(key="tool_calls", text=ARGUMENTS),
        chunk(usage=USAGE),
        chunk(usage={**USAGE, **DETAILS}),
        {"choices": [], "usage": {**USAGE, **DETAILS}},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}, "finish_reason": "content_filter"}]},
    ],
    "openai-completions": [
        {"object": "text_completion", "model": "m", "choices": [{"text": "word", "index": 0, "finish_reason": ""}]},
    ],
    "openai-responses": [
        {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "i", "delta": "word", "logprobs": []},
        {"type": "response.function_call_arguments.delta", "delta": '{"a":', "obfuscation": "x"},
    ],
    "anthropic-messages": [
        content_delta("text_delta", text="word"),
        content_delta("thinking_delta", thinking="word"),
        content_delta("input_json_delta", partial_json='{"a":'),
        content_delta("signature_delta", signature="abc"),
        {"type": "content_block_stop", "index": 0},
        {"type": "ping"},
    ],
    "gemini": [
        of_gemini({"text": "word"}, usageMetadata=GEMINI_USAGE),
        of_gemini({"text": "word", "thought": True}, {"text": "other", "thoughtSignature": "abc"}),
        of_gemini(usageMetadata={"promptTokenCount": 9, "totalTokenCount": 9}),
        of_gemini(
            {"text": "word"},
            usageMetadata={
                **GEMINI_USAGE,
                "totalTokenCount": 16,
                "thoughtsTokenCount": 5,
                "cachedContentTokenCount": 4,
                "promptTokensDetails": TEXT_ALONE,
                "candidatesTokensDetails": TEXT_ALONE,
                "trafficType": "ON_DEMAND_PRIORITY",
            },
        ),
        {"candidates": [{"content": {"parts": [{"text": "."}]}, "finishReason": "STOP"}]},
        {"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}},
    ],
    "gemini-interactions": [
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "word"}, "event_id": "e"},
        {"event_type": "content.delta", "index": 0, "delta": {"text": "word", "type": "text"}},
    ],
    "ollama": [
        {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": "word"}, "done": False},
        {"model": "m", "created_at": "t", "response": "word", "thinking": "so", "done": False},
    ],
    "bedrock": [
        {"contentBlockIndex": 0, "delta": {"text": "word"}, "p": "abc"},
        {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"a":'}}},
        {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "word"}}},
    ],
}
# Events that are not, and change what ordinary ones mean or have to leave alone.
OTHERS: dict[str, list[Any]] = {
    "openai-chat": [
        "[DONE]",
        chunk(usage={**USAGE, "total_tokens": 99}),
        chunk(usage={**USAGE, "prompt_tokens": 1, "completion_tokens": 12}),
        chunk(usage={**USAGE, "cost": 0.25}),
        chunk(extra={"a": 1, "usage": None}),
        chunk(extra={"a": 1, "usage": None}, usage=None),
        chunk(key="audio", text={"data": "abc", "transcript": "word"}),
        chunk(key="images", text=[{"url": "x"}]),
        chunk(error={"message": "No."}),
        {"choices": [{"delta": {}, "finish_reason": "error"}]},
        {"error": {"message": "No."}},
    ],
    "openai-responses": [
        {"type": "response.created", "response": {"background": True, "status": "in_progress", "id": "r"}},
        {"type": "response.audio.delta", "delta": "abc"},
        {"type": "response.completed", "response": {"usage": {"input_tokens": 9, "output_tokens": 30}}},
        {"type": "error", "message": "No."},
    ],
    "anthropic-messages": [
        {"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "content_block_start", "content_block": {"type": "server_tool_use", "name": "web_search", "id": "s"}},
        {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
        {"type": "error", "error": {"message": "No."}},
    ],
    "gemini": [
        of_gemini({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
        of_gemini({"text": "a"}, usage_metadata={"prompt_token_count": 9, "total_token_count": 9}),
        {"promptFeedback": {"blockReason": "SAFETY"}},
    ],
    "gemini-interactions": [
        {"event_type": "interaction.created", "interaction": {"id": "v1_x", "status": "in_progress", "model": "m"}},
        {"event_type": "step.delta", "delta": {"type": "image", "data": "AAAA"}},
        {"event_type": "step.delta", "delta": {"type": "text", "text": "a"}, "metadata": {"total_usage": {}}},
        {"event_type": "interaction.completed", "interaction": {"usage": {"total_input_tokens": 9}}},
        {"event_type": "error", "error": {"message": "No."}},
    ],
    "ollama": [{"model": "m", "message": {"content": ""}, "done": True, "prompt_eval_count": 9, "eval_count": 3}],
    "bedrock": [
        {"stopReason": "end_turn", "p": "abc"},
        {"messageStop": {"stopReason": "guardrail_intervened"}},
        {"metadata": {"usage": {"inputTokens": 9, "outputTokens": 3}, "serviceTier": {"type": "flex"}}},
    ],
}
# Those that come whole, and others.
CALL = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
MESSAGE: dict[str, Any] = {"role": "assistant", "content": "word", "refusal": None, "annotations": []}
COMPLETION: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop", "logprobs": None}],
    "usage": {**USAGE, **DETAILS},
}
WHOLE: dict[str, list[Any]] = {
    "openai-chat": [
        COMPLETION,
        {**COMPLETION, "choices": [{"message": {**MESSAGE, "content": None, "tool_calls": [CALL]}}], "usage": None},
    ],
    "openai-completions": [{"choices": [{"text": "word", "finish_reason": "length"}], "usage": USAGE}],
    "gemini": ORDINARY["gemini"],
}
SEARCH = {**CALL, "function": {"name": "$web_search", "arguments": "{}"}}
OTHERS_WHOLE: dict[str, list[Any]] = {
    "openai-chat": [
        {**COMPLETION, "choices": [{"message": {**MESSAGE, "tool_calls": [SEARCH]}}]},
        {**COMPLETION, "choices": [{"message": {}, "delta": MESSAGE}]},
        {**COMPLETION, "choices": [{"message": {**MESSAGE, "images": [{"url": "x"}]}}]},
        {**COMPLETION, "usage": {**USAGE, "total_tokens": 99}},
        {**COMPLETION, "usage": {**USAGE, "cost": 0.25}},
    ],
}
EVENTS = {name: [*events, *OTHERS.get(name, [])] for name, events in ORDINARY.items()}
EVENTS["openai-completions"] += EVENTS["openai-chat"]


def dumped(document, **dumping):
    return document.encode() if isinstance(document, str) else json.dumps(document, **dumping).encode()


def full_reader_of(name):
    """The same dialect, as if none of its events were ordinary."""
    plain: Any = type(BY_NAME[name])()
    plain.ordinary_event = plain.ordinary_answer = None
    return plain


def facts_of(seen):
    """All of it, what is not compared too."""
    return {field: getattr(seen, field) for field in Seen.__slots__}


def read_both(name, before, data, *, hide_usage=False):
    """What is seen and shown after some events and then this one, by the fast path and by the full reader.

    None for the first where the event is not an ordinary one.
    """
    api = BY_NAME[name]
    fast, full = Seen(), Seen()
    for one in before:
        for seen in (fast, full):
            api.read_event(dumped(one), seen, hide_usage=hide_usage)
    event = OrdinaryReader.of(api.ordinary_event).read(data)
    shown = event.without_usage(data) if event is not None and hide_usage else data
    shown_by_full = api.read_event(data, full, hide_usage=hide_usage)
    if event is None or shown is None:
        return None, (facts_of(full), shown_by_full)
    event.add_to(fast)
    return (facts_of(fast), shown), (facts_of(full), shown_by_full)


def read_both_whole(name, data):
    """The same of a whole answer."""
    api, fast, full = BY_NAME[name], Seen(), Seen()
    answer = OrdinaryReader.of(api.ordinary_answer).read(data)
    document = parse_body(data)
    if document is not UNREADABLE:
        api.read_json(document, full)
    if answer is not None:
        answer.add_to(fast)
    return None if answer is None else facts_of(fast), facts_of(full)


def test_every_dialect_that_has_ordinary_events_or_answers_is_tried():
    assert ORDINARY.keys() == WITH_ORDINARY.keys()
    assert WHOLE.keys() == {api.name for api in APIS if api.ordinary_answer is not None}


@pytest.mark.parametrize(("name", "answer"), [(name, answer) for name, answers in WHOLE.items() for answer in answers])
def test_ordinary_answers_are_taken_for_such(name, answer):
    fast, full = read_both_whole(name, dumped(answer))
    assert fast == full


@pytest.mark.parametrize(("name", "event"), [(name, event) for name, events in ORDINARY.items() for event in events])
def test_ordinary_events_are_taken_for_such(name, event):
    fast, full = read_both(name, [], dumped(event))
    assert fast == full


@pytest.mark.parametrize("name", ORDINARY)
def test_what_came_before_counts_as_it_does_for_the_full_reader(name):
    for before in EVENTS[name]:
        for event in ORDINARY[name]:
            fast, full = read_both(name, [before], dumped(event))
            assert fast == full


# Random events, whose text no serializer would write.

SCALARS = st.none() | st.booleans() | st.sampled_from([*NUMBERS, 3, MAX_TOKENS + 1]) | st.sampled_from(TEXTS)
STRANGE = st.sampled_from(
    [b"\xff", b"\xed\xa0\x80", b"\\x", b"\x00", b"\xef\xbb\xbf", b"9" * 4301, b"[" * 2000, b"NaN", b"1e999", b",", b"}"]
)
FIELDS = [*KEYS.split(), "error", "errors", "object", "status", "code", "detail", "web_search", "x_groq", "audio"]
FIELDS += ["reasoning", "refusal", "thinking", "images", "unknown", "choices", "delta", "type", "response", "embedding"]
ESCAPES = {"usage": "\\u0075sage", "content": "c\\u006fntent", "text": "te\\u0078t", "type": "\\u0074ype"}
VALUES = SCALARS | st.sampled_from(WORDS.split()) | st.text("m", min_size=MAX_NAME, max_size=MAX_NAME + 1) | ANY_JSON


@st.composite
def written(draw, value, noise):
    """JSON of a value, with fields that it does not have, keys that stand twice, escapes, and blanks.

    ``noise`` draws whether something is to be out of the ordinary in this place.
    """
    if isinstance(value, list):
        items = [draw(written(one, noise)) for one in value]
        return "[" + ",".join(items) + "]"
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    fields = [*value.items()]
    if draw(noise):
        fields.insert(draw(st.integers(0, len(fields))), (draw(st.sampled_from(FIELDS)), draw(VALUES)))
    if fields and draw(noise):
        twice = draw(st.sampled_from(fields))[0]
        fields.insert(draw(st.integers(0, len(fields))), (twice, draw(VALUES)))
    blank = " \n" if draw(noise) else ""
    texts = []
    for key, one in fields:
        shown = ESCAPES.get(key, key) if draw(noise) else key
        texts.append(f'"{shown}":{blank}{draw(written(one, noise))}{blank}')
    return "{" + ",".join(texts) + "}"


@st.composite
def random_texts(draw, documents):
    """An event or an answer of a dialect as it may come from anybody."""
    document = draw(st.sampled_from(documents))
    if draw(st.booleans()):
        document = draw(spoiled(document))
    # Rarely: an event that is strange in many places is never an ordinary one.
    noise = st.integers(0, 8).map(lambda number: number == 0)
    data = draw(written(document, noise)).encode("utf-8", "surrogatepass")
    if draw(noise):
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(STRANGE | st.binary(max_size=3)) + data[place:]
    return data


@pytest.mark.parametrize("name", ORDINARY)
@fuzz
@given(st.data())
def test_the_fast_path_tells_what_the_full_reader_does(name, data):
    before = data.draw(st.lists(st.sampled_from(EVENTS[name]), max_size=3))
    text = data.draw(random_texts(EVENTS[name]))
    for hide_usage in (False, True):
        fast, full = read_both(name, before, text, hide_usage=hide_usage)
        assert fast is None or fast == full, hide_usage


@pytest.mark.parametrize("name", WHOLE)
@fuzz
@given(st.data())
def test_the_fast_path_tells_of_a_whole_answer_what_the_full_reader_does(name, data):
    fast, full = read_both_whole(name, data.draw(random_texts([*WHOLE[name], *OTHERS_WHOLE.get(name, [])])))
    assert fast is None or fast == full


@given(st.integers(0, 9000), st.integers(4301, 9000), st.integers(0, 9000))
def test_no_number_that_python_refuses_is_passed_over(before, n_digits, behind):
    data = b'{"choices":[],"a":"%b","b":%b,"c":"%b"}' % (b"x" * before, b"7" * n_digits, b"x" * behind)
    assert OrdinaryReader.of(BY_NAME["openai-chat"].ordinary_event).read(data) is None


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("strange", [b'"\xff"', b'"\xed\xa0\x80"', b"9" * 4301, b"[" * 1500 + b"]" * 1500, b"1e999"])
def test_what_is_passed_over_may_make_an_event_unreadable(name, strange):
    for event in ORDINARY[name]:
        data = dumped(event)[:-1] + b',"unknown":' + strange + b"}"
        fast, full = read_both(name, [], data)
        assert fast is None or fast == full


@pytest.mark.parametrize("field", ["images", "unknown"])
@pytest.mark.parametrize(
    "name", ["openai-chat", "anthropic-messages", "gemini", "gemini-interactions", "ollama", "bedrock"]
)
def test_content_in_a_field_that_nobody_knows_makes_the_output_unreadable(name, field):
    spoiling = {
        "openai-chat": lambda: chunk(key=field),
        "anthropic-messages": lambda: content_delta("text_delta", text="a", **{field: "word"}),
        "gemini": lambda: of_gemini({"text": "a", field: "word"}),
        "gemini-interactions": lambda: {"event_type": "step.delta", "delta": {"type": "text", "text": "a", field: "b"}},
        "ollama": lambda: {"message": {"content": "a", field: "word"}, "done": False},
        "bedrock": lambda: {"contentBlockIndex": 0, "delta": {"text": "a", field: "word"}},
    }
    fast, (full, _) = read_both(name, [], dumped(spoiling[name]()))
    assert fast is None
    assert full["has_unread_output"]


# Whole streams, in any pieces.


def read_stream(api, content_type, chunks, *, hide_usage=False):
    """What the client gets of each chunk, and what is seen."""
    reader = AnswerReader(api, hide_usage=hide_usage, max_body_bytes=1_000_000)
    reader.begin(200, [(b"content-type", content_type.encode())])
    shown = [taken(reader, one) for one in chunks]
    return [*shown, reader.feed(b"", last=True)], facts_of(reader.seen)


def assert_as_by_full_reader(name, content_type, chunks, *, hide_usage=False):
    fast = read_stream(BY_NAME[name], content_type, chunks, hide_usage=hide_usage)
    full = read_stream(full_reader_of(name), content_type, chunks, hide_usage=hide_usage)
    assert fast == full


LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def server_sent(draw, name):
    """An event of a stream, framed as some server may do it."""
    data = draw(random_texts(EVENTS[name]) | st.sampled_from(EVENTS[name]).map(dumped))
    end, before = draw(LINE_ENDS).encode(), draw(st.sampled_from(["", "event: x", "id: 1", ": ping", "event: data:"]))
    field = draw(st.sampled_from([b"data: ", b"data:", b"data:  "]))
    return (before.encode() + end if before else b"") + field + data + end + end


@pytest.mark.parametrize("name", ORDINARY)
@fuzz
@given(data=st.data(), hide_usage=st.booleans(), places=CUTS)
def test_a_stream_is_read_as_by_the_full_reader(name, data, hide_usage, places):
    events = data.draw(st.lists(server_sent(name), max_size=6))
    stream = data.draw(st.sampled_from([b"", b"\n", b"\xef\xbb\xbf"])) + b"".join(events)
    for chunks in (events, [b"".join(events[:3]), *events[3:]], cut(stream, places)):
        assert_as_by_full_reader(name, "text/event-stream", chunks, hide_usage=hide_usage)


@pytest.mark.parametrize("answer", [answer for answer, (name, *_) in ANSWERS.items() if name in WITH_ORDINARY])
@fuzz
@given(places=CUTS)
def test_known_answers(answer, places):
    name, content_type, body, _ = ANSWERS[answer]
    assert_as_by_full_reader(name, content_type, cut(body, places))


STREAMED = {name: exchange for name, exchange in EXCHANGES.items() if exchange.stream}


@pytest.mark.parametrize("exchange", STREAMED)
@fuzz
@given(places=CUTS, hide_usage=st.booleans())
def test_recorded_exchanges(exchange, places, hide_usage):
    recorded = STREAMED[exchange]
    path = recorded.stream_path or recorded.path
    name = next(api.name for api in APIS if api.matches(path))
    content_type, as_bytes = FORMATS[recorded.stream_format]
    documents = recorded.stream or []
    for chunks in (cut(as_bytes(*documents), places), [as_bytes(one) for one in documents]):
        assert_as_by_full_reader(name, content_type, chunks, hide_usage=hide_usage)


# What takes the fast path, and what does not.


def sse(document, **dumping):
    return b"data: " + dumped(document, **dumping) + b"\n\n"


class Counted:
    """How many events took the full reader."""

    def __init__(self, name):
        self.api, self.count = full_reader_of(name), 0
        self.api.ordinary_event = BY_NAME[name].ordinary_event
        read = self.api.read_event

        def read_event(*arguments, **options):
            self.count += 1
            return read(*arguments, **options)

        self.api.read_event = read_event


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("in_pieces_of", [None, 97, 1000])
def test_no_ordinary_event_takes_the_full_reader(name, in_pieces_of):
    counted, chunks = Counted(name), [sse(event) for event in ORDINARY[name] * 10]
    if in_pieces_of is not None:
        stream = b"".join(chunks)
        chunks = [stream[at : at + in_pieces_of] for at in range(0, len(stream), in_pieces_of)]
    read_stream(counted.api, "text/event-stream", chunks)
    assert counted.count == 0


def reader_of(name, *first, hide_usage=False):
    reader = AnswerReader(BY_NAME[name], hide_usage=hide_usage, max_body_bytes=1_000_000)
    reader.begin(200, [(b"content-type", b"text/event-stream")])
    for one in first:
        reader.feed(one, last=False)
    return reader


ONE = sse(chunk())


def test_an_ordinary_chunk_passes_as_it_came():
    reader = reader_of("openai-chat", ONE)
    several = ONE + sse(chunk("other"))
    assert reader.pass_ordinary(ONE) is ONE
    assert reader.pass_ordinary(several) is several
    assert reader.seen.text_bytes == len("word" * 3 + "other")


@pytest.mark.parametrize(
    "other",
    [
        *(b"", b"\n", ONE[:-1], ONE[20:], ONE + ONE[:20], memoryview(ONE), b"data: [DONE]\n\n", b": ping\n\n"),
        b"event: data: {}\n\n",
        ONE.replace(b'"model"', b'\ndata: "model"'),
        ONE + sse(chunk(key="images", text=["x"])),
        sse(chunk("x" * MAX_BYTES)),
        ONE.replace(b"word", b"w\xffrd"),
    ],
)
def test_any_other_chunk_is_to_be_fed_and_has_changed_nothing(other):
    reader = reader_of("openai-chat", ONE)
    before = facts_of(reader.seen)
    assert reader.pass_ordinary(other) is None
    assert facts_of(reader.seen) == before


def test_the_first_chunk_is_to_be_fed_and_one_in_the_midst_of_an_event():
    assert reader_of("openai-chat").pass_ordinary(ONE) is None
    assert reader_of("openai-chat", ONE[:30]).pass_ordinary(ONE) is None
    assert reader_of("openai-chat", ONE[:30], ONE[30:]).pass_ordinary(ONE) is ONE


def test_text_behind_an_event_that_was_too_long_does_not_make_the_output_readable():
    too_long = sse(chunk("x" * (1 << 20)))
    reader = reader_of("openai-chat", ONE, too_long)
    taken(reader, ONE)
    assert not reader.seen.readable
    assert reader.seen.has_unread_output


# What a client does not see that did not ask for usage.

NULL = chunk(usage=None)
WITHIN = {"a": 1, "usage": None}
# Its own, in escapes, behind that of an object within it.
ESCAPED = dumped({"extra": WITHIN, **NULL})[: -len('"usage": null}')] + b'"\\u0075sage": null}'


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (dumped(NULL), chunk()),
        (dumped(NULL, separators=(",", ":")), chunk()),
        (dumped({"usage": None, **chunk()}), chunk()),
        (dumped(chunk('a "usage": null}', usage=None)), chunk('a "usage": null}')),
        (dumped(chunk("ünï", usage=None)), chunk("ünï")),
        (dumped(chunk("ünï", usage=None), ensure_ascii=False), chunk("ünï")),
    ],
)
def test_a_null_usage_is_taken_out(data, shown):
    fast, full = read_both("openai-chat", [], data, hide_usage=True)
    assert fast == full
    assert json.loads(full[1]) == shown


@pytest.mark.parametrize("data", [dumped(chunk(extra=WITHIN)), dumped(chunk(extra=WITHIN, usage=None)), ESCAPED])
def test_a_null_usage_of_an_object_within_a_chunk_stays(data):
    fast, full = read_both("openai-chat", [], data, hide_usage=True)
    assert fast == full
    assert full[1] == data
