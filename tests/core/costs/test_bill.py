"""The itemized bill: written as text, read as data, exact, and never longer than it may be."""

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.costs import bill_packing as module
from budget_middleware.core.costs.bill import Amount, AmountKind, counts_and_sources, unpack
from budget_middleware.core.costs.bill_packing import MAX_PACKED, PricedCall, pack
from budget_middleware.core.costs.pricing import (
    FEMTOS_PER_NANO,
    Line,
    Rate,
    Rates,
    Usage,
    UsageClass,
    breakdown,
    sum_nanos,
)

RATES = Rates(
    model="gpt-4o",
    provider="openai",
    source="genai-prices",
    by_unit={
        UsageClass.INPUT: Rate(2_500_000_000),
        UsageClass.CACHED_INPUT: Rate(1_250_000_000),
        UsageClass.OUTPUT: Rate(10_000_000_000),
        UsageClass.WEB_SEARCH: Rate(10_000_000_000_000),
    },
    other_sources={UsageClass.WEB_SEARCH: "LiteLLM"},
)
USAGE = Usage(input_tokens=1_000, cached_input_tokens=900, output_tokens=300, reasoning_tokens=100, web_searches=2)

NAMES = st.text(max_size=80)
COUNTS = st.integers(0, 10**9)


def call_of(rates: Rates | None, usage: Usage, *, is_billed: bool = True) -> PricedCall:
    return PricedCall(rates, breakdown(rates or Rates(model="", by_unit={}), usage), is_billed)


def test_a_bill_in_one_line():
    call = call_of(RATES, USAGE)
    packed = pack(nanos=sum_nanos(call.lines), calls=[call])
    assert packed == (
        '{"v":1,"nanos":24375000,"calls":[{"model":"gpt-4o","provider":"openai","source":"genai-prices","lines":['
        '["input",100,2500000000],["cached_input",900,1250000000],["output",200,10000000000],'
        '["reasoning",100,10000000000],["web_search",2,10000000000000,"LiteLLM"]]}]}'
    )
    bill = unpack(packed)
    assert bill is not None
    assert (bill.nanos, bill.rest_femtos) == (24_375_000, 0)
    assert (bill.calls[0].model, bill.calls[0].provider) == ("gpt-4o", "openai")
    assert bill.counts == {"input": 100, "cached_input": 900, "output": 200, "reasoning": 100, "web_search": 2}
    # Reasoning is billed as output, by the list that has the price of output.
    assert [line.source for line in bill.lines] == ["genai-prices"] * 4 + ["LiteLLM"]
    assert bill.sources == ("genai-prices", "LiteLLM")


def test_what_another_figure_pays_for_is_counted_only():
    packed = pack(
        nanos=123,
        calls=[call_of(RATES, Usage(input_tokens=7), is_billed=False), call_of(None, Usage(output_tokens=5))],
        amounts=[Amount(AmountKind.PROVIDER_COST, 123)],
    )
    bill = unpack(packed)
    assert bill is not None
    assert [(line.unit, line.count, line.nanos_per_million, line.source) for line in bill.lines] == [
        ("input", 7, None, ""),
        ("output", 5, None, ""),
    ]
    assert (bill.rest_femtos, bill.sources) == (0, ("provider_cost",))


def test_the_rest_is_what_rounding_took():
    call = PricedCall(RATES, [Line(UsageClass.INPUT, 1, 1_500)])
    bill = unpack(pack(nanos=sum_nanos(call.lines), calls=[call]))
    assert bill is not None
    # 1.5 millionths of a nano-dollar: nothing was booked of it.
    assert (bill.nanos, bill.rest_femtos) == (0, -1_500)


def test_a_long_bill_tells_what_it_leaves_out():
    models = [Rates(model=f"model-{n}", source="BUDGET_PRICES", by_unit=RATES.by_unit) for n in range(40)]
    calls = [call_of(rates, Usage(input_tokens=1_000 + n, output_tokens=n)) for n, rates in enumerate(models)]
    total = sum(sum_nanos(call.lines) for call in calls)
    packed = pack(nanos=total, calls=calls, contradiction="no_input")
    assert len(packed) <= MAX_PACKED
    bill = unpack(packed)
    assert bill is not None
    assert (bill.nanos, bill.contradiction) == (total, "no_input")
    assert len(bill.lines) + bill.omitted_lines == sum(len(call.lines) for call in calls)
    # The dearest are kept.
    assert min(line.femtos for line in bill.lines) * bill.omitted_lines >= bill.omitted_femtos
    assert abs(bill.rest_femtos) < len(calls) * FEMTOS_PER_NANO


def test_a_bill_of_very_many_calls_is_shortened_in_a_moment():
    """Some answers tell calls of their own accord, and whoever makes them up must not stop the event loop."""
    calls = [
        PricedCall(RATES, [Line(UsageClass.INPUT, n, 1_000_000), Line(UsageClass.OUTPUT, n, 1_000_000)])
        for n in range(4_000)
    ]
    started_s = process_time()
    written = [json.loads(pack(nanos=0, calls=[call])) for call in calls]
    one_by_one_s = process_time() - started_s
    started_s = process_time()
    packed = pack(nanos=0, calls=calls)
    # A bill that is written anew for each line that it leaves out takes thousands of times as long.
    assert process_time() - started_s < 100 * one_by_one_s, f"of {len(written)} bills of one call"
    bill = unpack(packed)
    assert bill is not None
    assert (len(packed) <= MAX_PACKED, len(bill.lines) + bill.omitted_lines) == (True, 8_000)
    assert {line.count for line in bill.lines} >= {3_999, 3_998, 3_997}


@given(
    calls=st.lists(
        st.tuples(
            st.tuples(NAMES, NAMES, NAMES),
            st.lists(st.tuples(st.sampled_from(UsageClass), COUNTS, COUNTS), max_size=20),
        )
    ),
    amounts=st.lists(st.tuples(st.sampled_from(AmountKind), COUNTS), max_size=3),
    nanos=COUNTS,
    contradiction=NAMES,
)
def test_whatever_is_billed_fits_and_nothing_is_lost(
    calls: list[tuple[tuple[str, str, str], list[tuple[UsageClass, int, int]]]],
    amounts: list[tuple[AmountKind, int]],
    nanos: int,
    contradiction: str,
):
    priced = [
        PricedCall(Rates(model=model, provider=provider, source=source, by_unit={}), [Line(*line) for line in lines])
        for (model, provider, source), lines in calls
        if lines
    ]
    packed = pack(
        nanos=nanos, calls=priced, amounts=[Amount(*amount) for amount in amounts], contradiction=contradiction
    )
    assert packed.isascii()
    assert packed.isprintable()
    bill = unpack(packed)
    assert bill is not None
    assert counts_and_sources(packed) == (bill.counts, bill.sources)
    # Names of three bytes to a letter may alone be longer; then no line is left.
    assert len(packed) <= MAX_PACKED or not bill.lines
    lines = [line for _, priced_lines, _ in priced for line in priced_lines]
    assert sum(line.femtos for line in bill.lines) + bill.omitted_femtos == sum(line.femtos for line in lines)
    assert len(bill.lines) + bill.omitted_lines == len(lines)
    if not bill.omitted_lines:
        assert module._encode(module._document(bill)) == packed, "text and document say the same"


@pytest.mark.parametrize(
    "packed",
    [
        *("", "{", "[]", "7", "null", "{}", "[" * 100_000, '{"nanos":"x"}', '{"nanos":1,"omitted":5}'),
        *('{"nanos":1,"calls":[1]}', '{"nanos":1,"calls":[{}]}', '{"nanos":1,"calls":[{"lines":[[1]]}]}'),
        '{"nanos":1,"amounts":[7]}',
    ],
)
def test_what_is_no_bill(packed: str):
    assert unpack(packed) is None
    assert counts_and_sources(packed) == ({}, ())


def test_what_a_later_version_adds_is_left_aside():
    call = call_of(RATES, USAGE)
    document = json.loads(pack(nanos=sum_nanos(call.lines), calls=[call]))
    document |= {"v": 2, "currency": "USD"}
    document["calls"][0]["region"] = "eu"
    document["calls"][0]["lines"].append(["container", 1, 30_000_000_000_000, "OpenAI", "1 GB"])
    bill = unpack(json.dumps(document))
    assert bill is not None
    assert bill.counts["container"] == 1
    assert counts_and_sources(json.dumps(document)) == (bill.counts, bill.sources)
