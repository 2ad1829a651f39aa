"""Bad input for every API: nothing is raised, nothing is lost, memory is bounded, and a usage makes sense or is none.

FUZZ_EXAMPLES says how many examples of each kind to try: twice as many of what every API gets alike, and half as many
of each recorded document, for there are several of an API.
"""

import gzip
import json
import os
import tracemalloc
from contextlib import suppress
from itertools import product

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from budget_middleware.apis import APIS
from budget_middleware.apis.answers.answer_reader import AnswerReader
from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.form import Form
from budget_middleware.apis.bodies.reading import MAX_TOKENS, parse_body
from budget_middleware.apis.openai.containers import CONTAINER
from budget_middleware.apis.protocol.base import Reason, Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.pricing import Rate, Rates, Usage, UsageClass, cost_nanos
from tests.apis.cuts import CUTS, as_array, as_events, as_frames, as_lines, cut, passed
from tests.apis.test_dialect_answers import ANSWERS
from tests.apis.test_dialect_requests import REQUESTS

BY_NAME = {api.name: api for api in APIS}
every_api = pytest.mark.parametrize("name", BY_NAME)
fuzz = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "50")), suppress_health_check=list(HealthCheck))
fuzz_all_apis = settings(fuzz, max_examples=2 * fuzz.max_examples)
fuzz_a_document = settings(fuzz, max_examples=(fuzz.max_examples + 1) // 2)

# Every name that means something somewhere, with values that may not.
KEYS = """
model messages content role tools n max_tokens stream stream_options choices delta message usage prompt_tokens
completion_tokens prompt_tokens_details cached_tokens cost total_cost tool_calls function arguments type
image_url text input_tokens output_tokens input_tokens_details output_tokens_details reasoning_tokens response
status background output prompt best_of input previous_response_id data quality partial_images file seconds
duration service_tier speed cache_read_input_tokens cache_creation cache_creation_input_tokens
ephemeral_1h_input_tokens content_block partial_json server_tool_use web_search_requests contents parts
generationConfig maxOutputTokens candidateCount responseModalities usageMetadata promptTokenCount
candidatesTokenCount thoughtsTokenCount promptTokensDetails modality tokenCount candidates inlineData mimeType
source format documents query results meta billed_units search_units options num_predict images done
prompt_eval_count eval_count bytes metadata contentBlockDelta inputTokens outputTokens inferenceConfig system
amazon-bedrock-invocationMetrics inputTextTokenCount action total_tokens ttl signature detail document audio
iterations is_byok cost_details upstream_inference_cost cacheDetails web_search_options container modalities
"""
WORDS = """
message message_start message_delta message_stop content_block_delta content_block_start response.completed
response.created response.output_text.delta transcript.text.delta transcript.text.done speech.audio.done
duration image_url image document input_audio file AUDIO IMAGE 1h low flex data:image/png;base64,AAAA
web_search_call ON_DEMAND_FLEX compaction advisor_message item_reference advisor_20260301 bash_20250124
"""
NUMBERS = [0, 1, -1, 7, 1.0, 1.5, 10**13, 10**400, 1e300, 1e400, -1e400, float("nan"), MAX_TOKENS]
SCALARS = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS.split()) | st.text(max_size=3)
ANY_JSON = st.recursive(
    SCALARS,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), children, max_size=6)
    ),
    max_leaves=25,
)
ALL_UNITS = Rates(model="m", by_unit={unit: Rate(1_000_000 + place) for place, unit in enumerate(UsageClass)})
WRITERS = {
    "text/event-stream": as_events,
    "application/x-ndjson": as_lines,
    "application/json": as_array,
    "application/vnd.amazon.eventstream": as_frames,
}


@st.composite
def spoiled(draw, document):
    """A document in which some value, somewhere, is another."""
    value = draw(SCALARS | ANY_JSON)
    if not isinstance(document, dict | list) or not document or draw(st.integers(0, 4)) == 0:
        return value
    if isinstance(document, list):
        place = draw(st.integers(0, len(document) - 1))
        return [*document[:place], draw(spoiled(document[place])), *document[place + 1 :]]
    key = draw(st.sampled_from(list(document)))
    return {**document, key: draw(spoiled(document[key]))}


def read(name, content_type, body, places=(), *headers, max_body_bytes=100_000):
    reader = AnswerReader(BY_NAME[name], hide_usage=False, max_body_bytes=max_body_bytes)
    reader.begin(200, [(b"content-type", content_type.encode()), *headers])
    assert passed(reader, cut(body, places)) == body
    check(reader.seen)
    return reader.seen


def check(seen):
    """What is booked by a reading is never negative, never out of bounds."""
    told = (seen.usage, seen.input_usage, *(usage for _, usage in seen.extra_calls))
    for usage in filter(None, (*told, seen.whole_usage(Usage()), seen.usage_so_far(Usage()))):
        assert all(type(count) is int and 0 <= count <= 4 * MAX_TOKENS * 1000 for count in counts_of(usage).values())
        assert cost_nanos(ALL_UNITS, usage) >= 0
    assert seen.cost_nanos is None or seen.cost_nanos >= 0
    assert seen.text_bytes >= 0
    assert all(name is None or len(name) <= 256 for name in (seen.model, seen.service_tier))


def counts_of(usage):
    return {field: getattr(usage, field) for field in Usage.__struct_fields__}


def dumped(document):
    return json.dumps(document).encode()


class TestRequests:
    @fuzz_all_apis
    @given(body=ANY_JSON)
    def test_any_json(self, body):
        for name in BY_NAME:
            note(name)
            self.ask(name, body)

    @pytest.mark.parametrize("request_name", REQUESTS)
    @fuzz_a_document
    @given(st.data())
    def test_a_good_one_spoiled(self, request_name, data):
        path, body, *_ = REQUESTS[request_name]
        api = next(api for api in APIS if api.matches(path))
        spoilt = data.draw(spoiled({**body}))
        self.ask(api.name, Form(spoilt) if isinstance(body, Form) and isinstance(spoilt, dict) else spoilt, path)

    def ask(self, name, body, path="/v1beta/models/m:generateContent"):
        api, raw = BY_NAME[name], json.dumps(body, default=lambda file: "x" * file.n_bytes).encode()
        try:
            ask = api.read_request(body, path=path, n_bytes=len(raw))
        except BadRequestError as error:
            told = str(error)
            assert len(told) < 200
            assert "\n" not in told
            return
        assert all(count >= 0 for count in (*counts_of(ask.input).values(), *counts_of(ask.worst_input).values()))
        assert ask.hides_input or ask.input.input_tokens <= ask.worst_input.input_tokens
        assert ask.choices >= 1
        assert ask.max_output_tokens is None or ask.max_output_tokens >= 0
        api.ask_for_usage(raw, body)

    @every_api
    def test_a_model_of_100_kb_and_depth_without_end(self, name):
        deep: object = "x"
        for _ in range(50_000):
            deep = {"content": [deep]}
        body = {
            "model": "m" * 1_000,
            "messages": deep,
            "input": deep,
            "contents": deep,
            "tools": deep,
            "prompt": deep,
        }
        # Longer names are refused.
        with suppress(BadRequestError):
            BY_NAME[name].read_request({**body, "model": "m" * 100_000}, path="/", n_bytes=10)
        ask = BY_NAME[name].read_request(body, path="/", n_bytes=10)
        # A container has no model of a request's.
        assert ask.model == (CONTAINER if name == "openai-containers" else "m" * 1_000)


class TestAnswers:
    @fuzz_all_apis
    @given(content_type=st.sampled_from(list(WRITERS)), documents=st.lists(ANY_JSON, max_size=4), places=CUTS)
    def test_any_json(self, content_type, documents, places):
        body = WRITERS[content_type](*documents)
        for name in BY_NAME:
            note(name)
            assert read(name, content_type, body, places) == read(name, content_type, body)

    @pytest.mark.parametrize("answer", ANSWERS)
    @fuzz_a_document
    @given(st.data())
    def test_a_good_document_spoiled(self, answer, data):
        name, content_type, body, _ = ANSWERS[answer]
        if content_type == "application/json":
            read(name, content_type, dumped(data.draw(spoiled(parse_body(body)))))

    @pytest.mark.parametrize("answer", ANSWERS)
    @fuzz_a_document
    @given(st.data())
    def test_bytes_spoiled_and_cut_off(self, answer, data):
        name, content_type, body, _ = ANSWERS[answer]
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(body))] * 2)))
        noise = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"\n\n", b'"', b"{", b"}", b"1e400", b"-1", b"null"])
        )
        spoilt = body[:start] + noise + body[data.draw(st.sampled_from([start, end, len(body)])) :]
        read(name, content_type, spoilt, data.draw(CUTS))
        read(
            name,
            content_type,
            gzip.compress(spoilt)[: data.draw(st.integers(0, 300))],
            (),
            (b"content-encoding", b"gzip"),
        )

    @fuzz_all_apis
    @given(data=st.binary(max_size=200), content_type=st.sampled_from([*WRITERS, "", "text/plain"]), places=CUTS)
    def test_any_bytes(self, data, content_type, places):
        for name in BY_NAME:
            note(name)
            read(name, content_type, data, places)

    @fuzz_all_apis
    @given(event=st.binary(max_size=50) | ANY_JSON.map(dumped), hide_usage=st.booleans())
    @example(event=b'{"type":"message_delta","usage":{"output_tokens":5}}', hide_usage=False)
    def test_any_event(self, event, hide_usage):
        for name, api in BY_NAME.items():
            note(name)
            seen = Seen()
            api.read_event(event, seen, hide_usage=hide_usage)
            check(seen)


class TestMemory:
    @pytest.mark.parametrize("content_type", WRITERS)
    def test_50_mb_without_an_end(self, content_type):
        reader = AnswerReader(BY_NAME["gemini"], hide_usage=False, max_body_bytes=1 << 20)
        reader.begin(200, [(b"content-type", content_type.encode())])
        reader.feed(b'[{"x":"' if content_type == "application/json" else b"\x03\x20\x00\x00data: ", last=False)
        piece = b"x" * (1 << 18)
        tracemalloc.start()
        try:
            for _ in range(200):
                reader.feed(piece, last=False)
            reader.feed(b"", last=True)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
        assert reader.seen.usage is None
        assert not reader.seen.readable

    @pytest.mark.parametrize("content_type", WRITERS)
    def test_a_gzip_bomb(self, content_type):
        bomb = gzip.compress(b'[{"usage":' + b"[" * (24 << 20))
        tracemalloc.start()
        try:
            read("gemini", content_type, bomb, (10, 50_000), (b"content-encoding", b"gzip"), max_body_bytes=1 << 17)
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


@every_api
def test_refusals_are_told_in_every_shape(name):
    for reason, status in product(Reason, (400, 402, 429, 500, 503)):
        document = BY_NAME[name].error_body(Refusal(status=status, reason=reason, message="No."))
        assert "No." in json.dumps(document), (reason, status)
