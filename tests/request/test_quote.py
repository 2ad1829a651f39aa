"""What a request is quoted at; above all that nothing it can come to costs more than its worst."""

import json
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from budget_middleware.apis import APIS
from budget_middleware.apis.bodies.form import Form
from budget_middleware.apis.bodies.reading import UNREADABLE, parse_body
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.core.costs.estimate import LARGEST_CONTEXT_TOKENS, EstimateBy
from budget_middleware.core.costs.pricing import Rate, Rates, Usage, UsageClass, cost_nanos
from budget_middleware.request.quotes.quote import quote_for
from tests.apis.test_dialect_requests import REQUESTS
from tests.examples import examples

A_NANO_EACH = Rate(1_000_000)
INPUT_ONLY = Rates(model="m", by_unit={UsageClass.INPUT: A_NANO_EACH})
# One character of three bytes that normalizes to eighteen of thirty-three, and that a tokenizer of Claude's, as once
# published, makes five tokens of; half of a surrogate pair; what JSON escapes.
EXPANDING = "\ufdfa"
TEXT = st.text(st.sampled_from(f'a"\\\n\x00é日{EXPANDING}㍿😀\ud800') | st.characters(), max_size=12)


def worst(ask, rates, *, default_output_tokens=0):
    return quote_for(ask, rates, default_output_tokens=default_output_tokens, by=EstimateBy.WORST).estimate_nanos


def bytes_of(text):
    return len(text.encode("utf-8", "surrogatepass"))


class TestTokens:
    """Whatever a tokenizer does, it makes no more tokens than it is given bytes, normalized or not."""

    @pytest.mark.parametrize("encoding", ["escaped", "utf-8", "utf-16", "utf-32"])
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/chat/completions", lambda text: {"messages": [{"role": "user", "content": text}]}),
            ("/v1/messages", lambda text: {"system": text, "messages": []}),
            ("/v1/responses", lambda text: {"input": [{"role": "user", "content": [{"text": text}]}]}),
            ("/v1beta/models/m:generateContent", lambda text: {"contents": [{"parts": [{"text": text}]}]}),
            ("/api/chat", lambda text: {"tools": [{"function": {"parameters": {text: {}}}}]}),
            ("/model/m/invoke", lambda text: {"prompt": text}),
        ],
    )
    @given(text=TEXT)
    @example(text=EXPANDING * 100)
    @example(text="日本語" * 100)
    def test_the_worst_holds_a_token_for_each_byte(self, path, body, encoding, text):
        dumped = json.dumps(body(text), ensure_ascii=encoding == "escaped")
        raw = dumped.encode("ascii" if encoding == "escaped" else encoding, "surrogatepass")
        api = next(api for api in APIS if api.matches(path))
        ask = api.read_request(parse_body(raw), path=path, n_bytes=len(raw))
        most = max(bytes_of(text), bytes_of(unicodedata.normalize("NFKC", text)))
        assert most <= worst(ask, INPUT_ONLY)

    @pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
    def test_a_body_that_cannot_be_read_may_be_a_small_one_compressed(self, api):
        ask = api.read_request(UNREADABLE, path="/model/m/invoke", n_bytes=10)
        assert worst(ask, replace(INPUT_ONLY, context_window=5_000)) == 5_000
        assert worst(ask, INPUT_ONLY) == LARGEST_CONTEXT_TOKENS

    @pytest.mark.parametrize(
        ("path", "unit"),
        [
            ("/audio/speech", UsageClass.CHARACTER),
            ("/audio/transcriptions", UsageClass.AUDIO_MS),
            ("/images/generations", UsageClass.IMAGE),
            ("/rerank", UsageClass.RERANK_SEARCH),
        ],
    )
    @pytest.mark.parametrize("by", EstimateBy)
    def test_a_body_that_cannot_be_read_is_not_free_where_no_tokens_are_sold(self, path, unit, by):
        api = next(api for api in APIS if api.matches(path))
        ask = api.read_request(UNREADABLE, path=f"/openai/deployments/m{path}", n_bytes=10)
        assert ask.model == "m"
        rates = Rates(model="m", by_unit={unit: A_NANO_EACH})
        assert quote_for(ask, rates, default_output_tokens=0, by=by).estimate_nanos > 0


@pytest.mark.parametrize(
    ("facts", "nanos"),
    [
        ({}, 20),
        ({"hides_input": True}, 700),
        ({"caches_for_an_hour": True}, 40),
        ({"hides_input": True, "caches_for_an_hour": True}, 700),
    ],
)
def test_each_token_is_held_at_the_dearest_rate_that_it_may_have(facts, nanos):
    dear = {
        UsageClass.INPUT: 1,
        UsageClass.CACHE_WRITE: 2,
        UsageClass.CACHE_WRITE_1H: 4,
        UsageClass.INPUT_AUDIO: 7,
        UsageClass.INPUT_IMAGE: 5,
    }
    by_unit = {unit: Rate(price * 1_000_000) for unit, price in dear.items()}
    ask = Ask(worst_input=Usage(input_tokens=10), max_output_tokens=0, **facts)
    assert worst(ask, Rates(model="m", by_unit=by_unit, context_window=100)) == nanos


COUNTS = st.integers(0, 3)
# A unit -> the one that it is a discount on: nobody sells at a higher price what was cached.
DISCOUNTS = {
    UsageClass.CACHED_INPUT: UsageClass.INPUT,
    UsageClass.CACHED_AUDIO: UsageClass.INPUT_AUDIO,
    UsageClass.CACHED_IMAGE: UsageClass.INPUT_IMAGE,
}


@st.composite
def prices(draw):
    """Rates of tiny numbers, some of them missing, some of them dearer for long requests."""
    by_unit = {}
    for unit in draw(st.sets(st.sampled_from(list(UsageClass)))) | {UsageClass.INPUT, UsageClass.OUTPUT}:
        rate = draw(COUNTS)
        tiers = ((draw(COUNTS), rate + draw(COUNTS)),) if draw(st.booleans()) else ()
        by_unit[unit] = Rate(rate * 1_000_000, tuple((above, nanos * 1_000_000) for above, nanos in tiers))
    for unit, whole in DISCOUNTS.items():
        if unit in by_unit:
            by_unit[unit] = by_unit.get(whole, by_unit[UsageClass.INPUT])
    return Rates(model="m", by_unit=by_unit, context_window=draw(st.none() | st.just(4)))


@st.composite
def asks(draw):
    image_tokens, audio_tokens = draw(COUNTS), draw(COUNTS)
    tokens = draw(COUNTS) + image_tokens + audio_tokens
    return Ask(
        worst_input=Usage(
            input_tokens=tokens,
            input_image_tokens=image_tokens,
            input_audio_tokens=audio_tokens,
            characters=draw(COUNTS),
            audio_ms=draw(COUNTS),
            images=draw(COUNTS),
        ),
        texts=(EXPANDING,) if draw(st.booleans()) else (),
        hides_input=draw(st.booleans()),
        caches_for_an_hour=draw(st.booleans()),
        max_output_tokens=draw(COUNTS),
        output_unit=draw(st.sampled_from([UsageClass.OUTPUT, UsageClass.OUTPUT_AUDIO, UsageClass.OUTPUT_IMAGE])),
        choices=draw(st.integers(1, 2)),
    )


@st.composite
def usages(draw, ask, rates):
    """Any usage that a provider may report for a request, within what it says."""
    promised = ask.worst_input
    most = promised.input_tokens + (30 if ask.texts else 0)
    if ask.hides_input:
        most = max(most, rates.context_window or 0)
    tokens = draw(st.integers(0, most))
    output_tokens = draw(st.integers(0, min(ask.max_output_tokens, rates.output_ceiling or 9) * ask.choices))
    written = draw(st.integers(0, tokens))
    return Usage(
        input_tokens=tokens,
        cached_input_tokens=draw(st.integers(0, tokens)),
        cache_write_tokens=written,
        cache_write_1h_tokens=draw(st.integers(0, written)) if ask.caches_for_an_hour else 0,
        input_audio_tokens=draw(st.integers(0, tokens if ask.hides_input else promised.input_audio_tokens)),
        cached_audio_tokens=draw(COUNTS),
        input_image_tokens=draw(st.integers(0, tokens if ask.hides_input else promised.input_image_tokens)),
        cached_image_tokens=draw(COUNTS),
        output_tokens=output_tokens,
        reasoning_tokens=draw(st.integers(0, output_tokens)),
        output_audio_tokens=draw(st.integers(0, output_tokens)) if ask.output_unit is UsageClass.OUTPUT_AUDIO else 0,
        output_image_tokens=draw(st.integers(0, output_tokens)) if ask.output_unit is UsageClass.OUTPUT_IMAGE else 0,
        characters=draw(st.integers(0, promised.characters)),
        audio_ms=draw(st.integers(0, promised.audio_ms)),
        images=draw(st.integers(0, promised.images)),
    )


@settings(max_examples=examples(400))
@given(st.data(), asks(), prices())
def test_nothing_that_a_request_can_come_to_costs_more_than_its_worst(data, ask, rates):
    usage = data.draw(usages(ask, rates))
    assert cost_nanos(rates, usage) <= worst(ask, rates)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_worst_is_no_less_than_what_is_expected(name):
    path, body, *_ = REQUESTS[name]
    api = next(api for api in APIS if api.matches(path))
    n_bytes = 100_000 if isinstance(body, Form) else len(json.dumps(body))
    ask = api.read_request(body, path=path, n_bytes=n_bytes)
    rates = Rates(model="m", by_unit={unit: Rate(1_000_000 + place) for place, unit in enumerate(UsageClass)})
    by_rule = EstimateBy.EXPECTED, EstimateBy.WORST
    expected, most = (quote_for(ask, rates, default_output_tokens=7, by=by) for by in by_rule)
    assert expected.estimate_nanos <= most.estimate_nanos
    # What an abort may book is the input as it is expected.
    assert expected.input_nanos == most.input_nanos <= expected.estimate_nanos
