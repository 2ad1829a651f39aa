"""What a chat completion's request and answer say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.reading import parse_body
from budget_middleware.apis.openai.chat import OpenAIChat
from budget_middleware.apis.protocol.base import Reason, Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.pricing import Usage, UsageClass
from budget_middleware.core.money import MAX_NANOS

API = OpenAIChat()
# Keys that mean something, with values that may not.
KEYS = """
messages content role tools n max_tokens model stream stream_options include_usage choices delta message usage
prompt_tokens completion_tokens prompt_tokens_details cached_tokens cost tool_calls function function_call
arguments type image_url
"""
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), children, max_size=5)
    ),
    max_leaves=20,
)


def chunk(**fields):
    return json.dumps(fields, separators=(",", ":")).encode()


def text_chunk(text, **fields):
    return chunk(choices=[{"index": 0, "delta": {"content": text}}], **fields)


def read_request(body, path="/v1/chat/completions"):
    return API.read_request(body, path=path, n_bytes=len(str(body)))


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("/chat/completions", True),
        ("/v1/chat/completions", True),
        ("/v1/chat/completions/", True),
        ("/openai/deployments/gpt-4o/chat/completions", True),
        ("/x-chat/completions", False),
        ("/v1/xchat/completions", False),
        ("chat/completions", False),
        ("/v1/completions", False),
        ("/v1/chat/completions/chatcmpl-1", False),
        ("", False),
    ],
)
def test_paths(path, matches):
    assert API.matches(path) is matches


class TestRequest:
    def test_a_plain_one(self):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 400}]}
        ask = read_request(body)
        assert (ask.model, ask.max_output_tokens, ask.choices, ask.output_unit) == (
            "gpt-4o",
            None,
            1,
            UsageClass.OUTPUT,
        )
        assert 100 <= ask.input.input_tokens <= 106

    def test_all_that_is_sent_to_the_model_counts(self):
        text = "x" * 400
        body = {
            "messages": [
                {"role": "user", "name": text, "content": [{"type": "text", "text": text}]},
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": text}}]},
            ],
            "tools": [{"function": {"name": "f", "description": text}}],
            "response_format": {"schema": {text: 1}},
            "metadata": {"not": text},
        }
        assert 500 <= read_request(body).input.input_tokens <= 550

    @pytest.mark.parametrize(
        ("numbers", "most"),
        [
            ({}, None),
            ({"max_tokens": None}, None),
            ({"max_tokens": 16.0}, 16),
            ({"max_tokens": 9000, "max_completion_tokens": 1}, 9000),
            ({"max_tokens": 1, "max_completion_tokens": 9000}, 9000),
            ({"max_tokens": 10**9}, 10**9),
        ],
    )
    def test_f28_the_larger_maximum(self, numbers, most):
        assert read_request(numbers).max_output_tokens == most

    @pytest.mark.parametrize(
        "numbers",
        [
            {"max_tokens": -100_000},
            {"max_tokens": "abc"},
            {"max_tokens": True},
            {"max_tokens": 5, "max_completion_tokens": 0},
            {"n": 10**6},
            {"n": 0},
            {"n": "3x"},
        ],
    )
    def test_f28_hostile_numbers(self, numbers):
        with pytest.raises(BadRequestError, match=r"^(max_tokens|max_completion_tokens|n) must be"):
            read_request(numbers)

    @pytest.mark.parametrize(("n", "choices"), [(None, 1), (3, 3), (128, 128)])
    def test_f28_choices(self, n, choices):
        assert read_request({"n": n}).choices == choices

    @pytest.mark.parametrize("model", [None, "", 1, ["gpt-4o"], {}])
    def test_no_model(self, model):
        assert read_request({"model": model}).model is None

    def test_what_may_be_spoken_is_reserved_as_audio(self):
        assert read_request({"modalities": ["text", "audio"]}).output_unit is UsageClass.OUTPUT_AUDIO

    @pytest.mark.parametrize("prefix", ["/openai/deployments", "/engines", "/eu/openai/deployments"])
    def test_the_model_of_a_deployment_is_that_of_the_path(self, prefix):
        ask = read_request({"model": "cheap"}, path=f"{prefix}/dear/chat/completions")
        assert ask.model == "dear"

    @pytest.mark.parametrize(
        ("body", "tokens"),
        [(None, 1), ([], 1), ("x" * 400, 100), (1, 1), ({"messages": "x" * 400}, 100), ({"messages": {"a": 1}}, 1)],
    )
    def test_other_shapes_count_by_their_length(self, body, tokens):
        assert read_request(body).input.input_tokens == tokens

    @given(ANY_JSON)
    def test_nothing_else_is_raised(self, body):
        try:
            ask = read_request(body)
        except BadRequestError:
            return
        assert ask.input.input_tokens >= 0
        API.ask_for_usage(json.dumps(body).encode(), body)


class TestAskForUsage:
    def ask(self, raw):
        return API.ask_for_usage(raw, parse_body(raw))

    def test_the_other_bytes_stay(self):
        raw = b' {"stream" : true, "x":1.10, "y":"\xc3\xa4", "y":2}'
        asked = self.ask(raw)
        assert asked == b' {"stream_options":{"include_usage":true},"stream" : true, "x":1.10, "y":"\xc3\xa4", "y":2}'
        assert parse_body(asked) == {
            "stream_options": {"include_usage": True},
            "stream": True,
            "x": 1.1,
            "y": 2,
        }

    @pytest.mark.parametrize(
        ("raw", "options"),
        [
            (b'{"stream":true,"stream_options":null}', {"include_usage": True}),
            (b'{"stream":true,"stream_options":{}}', {"include_usage": True}),
            (
                b'{"stream":true,"stream_options":{"include_usage":false,"other":1}}',
                {"include_usage": True, "other": 1},
            ),
            (b'{"stream":true,"stream\\u005foptions":{"other":1}}', {"include_usage": True, "other": 1}),
            ('{"stream":true}'.encode("utf-8-sig"), {"include_usage": True}),
            ('{"stream":true}'.encode("utf-16"), {"include_usage": True}),
            (b'{"stream":true,"x":"\\ud800"}', {"include_usage": True}),
        ],
    )
    def test_the_options_are_completed(self, raw, options):
        body = parse_body(raw)
        assert isinstance(body, dict)
        assert parse_body(self.ask(raw)) == body | {"stream_options": options}

    @pytest.mark.parametrize(
        "raw",
        [
            b"[]",
            b"{}",
            b'{"stream":false}',
            b'{"stream":"false"}',
            b'{"stream":0}',
            b'{"stream":true,"stream_options":{"include_usage":true}}',
            b'{"stream":true,"stream_options":{"include_usage":1}}',
            b'{"stream":true,"stream_options":"x"}',
        ],
    )
    def test_nothing_to_change(self, raw):
        assert self.ask(raw) is None

    def test_a_body_too_deep_to_write_stays_as_it_is(self):
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        assert API.ask_for_usage(b"", {"stream": True, "stream_options": {}, "x": deep}) is None


FULL_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 3, "cache_write_tokens": 7},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 5},
}


class TestUsage:
    def read(self, usage, seen=None):
        seen = seen or Seen()
        API.read_json({"usage": usage}, seen)
        return seen

    def test_all_of_it(self):
        assert self.read(FULL_USAGE).usage == Usage(
            input_tokens=100,
            output_tokens=50,
            cached_input_tokens=40,
            cache_write_tokens=7,
            reasoning_tokens=20,
            input_audio_tokens=3,
            output_audio_tokens=5,
        )

    def test_explicit_zeros(self):
        assert self.read({"prompt_tokens": 0, "completion_tokens": 0}).usage == Usage()

    @pytest.mark.parametrize("wrong", ["forty", "-40", "4e1", -1, float("nan"), True, 1e400, {}, [], 1.5, 10**13])
    def test_a_wrong_field_is_absent(self, wrong):
        usage = FULL_USAGE | {"prompt_tokens_details": {"cached_tokens": wrong, "audio_tokens": 3}}
        read = self.read(usage).usage
        assert read
        assert (read.cached_input_tokens, read.input_audio_tokens) == (0, 3)
        assert self.read(FULL_USAGE | {"prompt_tokens": wrong}).usage is None

    @pytest.mark.parametrize("usage", [None, [], "x", {}, {"prompt_tokens": 5}])
    def test_no_usage(self, usage):
        assert self.read(usage).usage is None
        before = self.read(FULL_USAGE)
        assert self.read(usage, seen=before).usage == self.read(FULL_USAGE).usage

    def test_the_last_one_is_the_whole(self):
        seen = self.read({"prompt_tokens": 5, "completion_tokens": 1})
        assert self.read({"prompt_tokens": 5, "completion_tokens": 2}, seen).usage == Usage(
            input_tokens=5, output_tokens=2
        )

    @pytest.mark.parametrize(
        ("cost", "nanos"),
        [(0.00014, 140_000), (1e-9, 1), (0, 0), (2, 2 * 10**9), (9_000_000, MAX_NANOS)],
    )
    def test_a_cost_that_the_gateway_reports(self, cost, nanos):
        assert self.read({"cost": cost}).cost_nanos == nanos

    @pytest.mark.parametrize(
        ("usage", "nanos"),
        [
            ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, 950_000_000),
            ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}, "is_byok": False}, 950_000_000),
            ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}, "is_byok": True}, 19_950_000_000),
            ({"cost": 0, "cost_details": {"upstream_inference_cost": 19}, "is_byok": True}, 19_000_000_000),
            ({"cost": 0.95, "cost_details": {"upstream_inference_cost": None}, "is_byok": True}, None),
            ({"cost": 0.95, "is_byok": True}, None),
        ],
    )
    def test_with_a_providers_key_of_ones_own_the_cost_is_only_openrouters_fee(self, usage, nanos):
        assert self.read(usage).cost_nanos == nanos

    @pytest.mark.parametrize(
        "cost", [None, True, "0.1 USD", "-0.1", "nan", -0.1, float("nan"), float("inf"), 9_000_000.1, 10**4000, {}]
    )
    def test_what_is_no_cost(self, cost):
        assert self.read({"cost": cost}).cost_nanos is None


class TestAnswer:
    def test_a_whole_completion(self):
        seen = Seen()
        calls = [{"function": {"name": "f", "arguments": "{}"}}, 7, {"function": None}]
        message = {"role": "assistant", "content": "hello", "reasoning_content": "hm", "tool_calls": calls}
        API.read_json({"model": "gpt-4o-2024-08-06", "choices": [{"message": message}]}, seen)
        assert seen == Seen(model="gpt-4o-2024-08-06", text_bytes=10, chunks=1, readable=True)

    @pytest.mark.parametrize("model", ["", 1, None, "x" * 257])
    def test_a_model_of_no_sane_shape(self, model):
        seen = Seen()
        API.read_json({"model": model}, seen)
        assert seen.model is None

    @pytest.mark.parametrize("document", [None, [], "x", {"error": {}}, {"choices": {}}])
    def test_what_is_no_completion_is_not_readable(self, document):
        seen = Seen()
        API.read_json(document, seen)
        assert seen == Seen()

    @given(ANY_JSON, st.booleans())
    def test_no_json_raises(self, value, hide_usage):
        API.read_json(value, Seen())
        API.read_event(json.dumps(value).encode(), Seen(), hide_usage=hide_usage)


class TestEvents:
    def test_text_is_counted(self):
        seen = Seen()
        for text in ("hel", "", "lo"):
            API.read_event(text_chunk(text), seen, hide_usage=False)
        assert (seen.text_bytes, seen.chunks, seen.readable, seen.terminal) == (5, 2, True, False)

    @pytest.mark.parametrize("data", [b"[DONE]", b" [DONE] "])
    def test_the_terminal_event(self, data):
        seen = Seen()
        assert API.read_event(data, seen, hide_usage=True) is data
        assert seen.terminal

    def test_watching_changes_nothing(self):
        data = chunk(choices=[], usage=FULL_USAGE)
        seen = Seen()
        assert API.read_event(data, seen, hide_usage=False) is data
        assert seen.usage

    def test_the_extra_chunk_is_hidden(self):
        seen = Seen()
        assert API.read_event(chunk(choices=[], usage=FULL_USAGE), seen, hide_usage=True) is None
        # As the LiteLLM proxy sends it.
        empty = [{"index": 0, "delta": {}, "finish_reason": None}]
        assert API.read_event(chunk(choices=empty, usage=FULL_USAGE), seen, hide_usage=True) is None
        assert seen.usage

    def test_usage_with_content_is_left(self):
        last = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
        for data in (text_chunk("x", usage=FULL_USAGE), chunk(choices=last, usage=FULL_USAGE)):
            assert API.read_event(data, Seen(), hide_usage=True) is data

    @pytest.mark.parametrize(
        ("data", "shown"),
        [
            (b'{"choices":[],"usage":null}', b'{"choices":[]}'),
            (b'{"choices":[],"usage":null,"x":1}', b'{"choices":[],"x":1}'),
            (b'{"choices": [], "usage" : null , "x": 1}', b'{"choices": [] , "x": 1}'),
            (b'{"usage":null,"x":1}', b'{"x":1}'),
            (b'{"usage":null}', b'{"usage":null}'),
            (b'{"x":",\\"usage\\":null","usage":null}', b'{"x":",\\"usage\\":null"}'),
            (b'{"x":{"y":1,"usage":null}}', b'{"x":{"y":1,"usage":null}}'),
            (b'{"x":{"y":1,"usage":null},"usage":null}', b'{"x":{"y":1,"usage":null},"usage":null}'),
        ],
    )
    def test_a_null_usage_is_cut_out(self, data, shown):
        assert API.read_event(data, Seen(), hide_usage=True) == shown


@pytest.mark.parametrize(
    ("reason", "kind", "code"),
    [
        (Reason.SPENT, "insufficient_quota", "budget_exhausted"),
        (Reason.HELD, "rate_limit_error", "budget_held"),
        (Reason.UNAVAILABLE, "api_error", "budget_unavailable"),
        (Reason.BAD_REQUEST, "invalid_request_error", "budget_bad_request"),
        (Reason.UNKNOWN_MODEL, "invalid_request_error", "budget_unknown_model"),
        (Reason.MISCONFIGURED, "api_error", "budget_misconfigured"),
    ],
)
def test_refusals(reason, kind, code):
    refusal = Refusal(status=429, reason=reason, message="No.")
    assert API.error_body(refusal) == {"error": {"message": "No.", "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(("told", "modes"), [("us", ("us",)), ("not_available", ())])
def test_claudes_region_is_read_as_anthropics_own_answers_tell_it(told, modes):
    seen = Seen()
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "inference_geo": told}
    OpenAIChat().read_json({"choices": [{"message": {"content": "x"}}], "usage": usage}, seen)
    assert seen.modes == modes
