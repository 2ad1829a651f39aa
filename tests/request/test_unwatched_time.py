"""What a part of a call's time costs by its ceiling: whatever it is cut into, all of it costs the ceiling."""

import pytest

from budget_middleware.apis.bodies.reading import mapping_of
from budget_middleware.apis.jobs.realtime_direct import PlannedSession
from budget_middleware.core.costs.pricing import Rate, Rates
from budget_middleware.core.costs.usage import UsageClass
from budget_middleware.core.units import Amounts
from budget_middleware.prices import PriceBook, UnknownModel
from budget_middleware.request.quotes.sessions import (
    place_of,
    planned_details,
    planned_session,
    unwatched_amounts,
)

DOLLAR = 10**9
PRICES = PriceBook(
    {
        "voice": Rates(
            model="voice",
            by_unit={
                UsageClass.INPUT_AUDIO: Rate(32 * DOLLAR),
                UsageClass.CACHED_AUDIO: Rate(4 * DOLLAR // 10),
                UsageClass.OUTPUT_AUDIO: Rate(64 * DOLLAR),
            },
            context_window=128_000,
        ),
        # A thousandth of a dollar a second.
        "hourly": Rates(model="hourly", by_unit={UsageClass.AUDIO_MS: Rate(DOLLAR)}),
    },
    unknown=UnknownModel(None),
)
VOICE = PlannedSession("voice")
SECONDS = 3_600
CEILING = 10 * 10**9


def share(*gaps_s, session=VOICE, ceiling=CEILING):
    gaps_ms = [(round(start * 1_000), round(end * 1_000)) for start, end in gaps_s]
    amounts = unwatched_amounts(session, PRICES, ceiling=Amounts(ceiling, ceiling), seconds=SECONDS, gaps_ms=gaps_ms)
    assert (amounts.tokens, amounts.requests) == (amounts.usd, 1)
    return amounts.usd


@pytest.mark.parametrize("model", ["voice", "hourly", "unheard-of"])
def test_all_of_the_time_costs_the_ceiling(model):
    session = PlannedSession(model)
    assert share((0, SECONDS), session=session) == CEILING
    assert share((0, 7.3), (7.3, 1_234.5), (1_234.5, SECONDS), session=session) == CEILING
    assert share(session=session) == 0


@pytest.mark.parametrize("model", ["voice", "hourly", "unheard-of"])
def test_f69_nothing_is_free_that_is_short(model):
    """Whoever is away for nine seconds of each ten has not watched nine tenths."""
    gaps = [(turn * 10 + 0.5, turn * 10 + 9.5) for turn in range(SECONDS // 10)]
    assert share(*gaps, session=PlannedSession(model)) == pytest.approx(CEILING * 0.9, rel=1e-6)


def test_f69_later_more_is_read_again():
    assert share((3_000, 3_600)) > 2 * share((0, 600))


def test_without_a_price_all_time_is_alike():
    assert share((3_000, 3_600), session=PlannedSession("unheard-of")) == pytest.approx(CEILING / 6)


def test_what_was_planned_is_kept_with_the_ticket():
    session = PlannedSession("voice", "hourly", max_output_tokens=50, only_writes=True, only_transcribes=True)
    for planned in (session, VOICE):
        assert planned_session(kept_of(planned)) == (planned, SECONDS)
    assert kept_of(VOICE) == {"at": place_of("/v1"), "s": SECONDS, "model": "voice"}


def kept_of(session):
    return mapping_of(planned_details(session, seconds=SECONDS, path="/v1")["call"])
