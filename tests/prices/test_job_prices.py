"""What jobs cost: the operator's price of a kind and a model, of the model, of the kind, and what is published."""

import json

import pytest

from budget_middleware.core.costs.job_kinds import JobKind
from budget_middleware.core.costs.pricing import Usage, UsageClass, cost_nanos
from budget_middleware.prices import PriceBook, load_prices, parse_unknown_model

VIDEOS, TUNING = JobKind.VIDEOS, JobKind.FINE_TUNING


def book(tmp_path, text, *, name="prices.toml"):
    path = tmp_path / name
    path.write_text(text)
    return PriceBook(load_prices(path), unknown=parse_unknown_model("reject"))


def cost(rates, *modes, **used):
    return cost_nanos(rates.in_modes(modes), Usage(**used)) / 1e9


PUBLISHED = [
    (VIDEOS, "sora-2", ("720p",), {"video_ms": 4_000}, 0.4),
    (VIDEOS, "sora-2-pro", ("720p",), {"video_ms": 4_000}, 1.2),
    (VIDEOS, "sora-2-pro", ("1024p", "1792x1024"), {"video_ms": 4_000}, 2.0),
    (VIDEOS, "azure/sora-2", (), {"video_ms": 4_000}, 0.4),
    (VIDEOS, "veo-3.1-generate-preview", ("720p",), {"video_ms": 8_000}, 3.2),
    (VIDEOS, "veo-3.1-generate-preview", ("4k",), {"video_ms": 8_000}, 4.8),
    (VIDEOS, "veo-3.1-fast-generate-001", ("1080p",), {"video_ms": 8_000}, 0.96),
    (VIDEOS, "xai/grok-imagine-video", ("720p",), {"video_ms": 8_000}, 0.56),
    (TUNING, "gpt-4.1-mini-2025-04-14", (), {"training_tokens": 100_000}, 0.5),
    (TUNING, "gpt-4.1-nano-2025-04-14", (), {"training_tokens": 100_000}, 0.15),
    (TUNING, "gpt-4.1-2025-04-14", (), {"training_tokens": 100_000}, 2.5),
    (TUNING, "gpt-4o-mini-2024-07-18", (), {"training_tokens": 100_000}, 0.3),
    (TUNING, "gpt-4o-2024-08-06", (), {"training_tokens": 100_000}, 2.5),
    (TUNING, "o4-mini-2025-04-16", (), {"training_ms": 36_000}, 1.0),
]


@pytest.mark.parametrize(("kind", "model", "modes", "used", "usd"), PUBLISHED, ids=str)
def test_published_prices_of_jobs(tmp_path, kind, model, modes, used, usd):  # noqa: PLR0917 - a row of the list
    rates = book(tmp_path, "").price_of_job(kind, model)
    assert rates is not None
    assert cost(rates, *modes, **used) == pytest.approx(usd, abs=1e-8)


def test_a_price_of_training_changes_no_price_of_calls(tmp_path):
    own = book(tmp_path, '[models."fine-tuning/gpt-4.1"]\ntraining = 30\n')
    rates, calls = own.price_of_job(TUNING, "gpt-4.1"), own.resolve("gpt-4.1")
    assert rates is not None
    assert calls is not None
    assert cost(rates, training_tokens=1_000_000) == 30
    assert cost(calls, input_tokens=1_000_000) == 2
    assert rates.model == calls.model == "gpt-4.1"


def test_the_most_specific_price_counts(tmp_path):
    own = book(
        tmp_path,
        """
        [models."videos/one"]
        call = 1
        [models.one]
        video_second = 0.1
        [models.two]
        video_second = 0.2
        [models.videos]
        call = 0.3
        hold_at_most = 4
        """,
    )

    def of(model):
        rates = own.price_of_job(VIDEOS, model)
        assert rates is not None
        return cost(rates, calls=1, video_ms=1_000), rates.hold_at_most_nanos, rates.model

    assert of("one") == (1, 4_000_000_000, "one")
    assert of("two") == (0.2, 4_000_000_000, "two")
    assert of("three") == (0.3, 4_000_000_000, "three")
    assert of("") == (0.3, 4_000_000_000, "")


def test_what_is_held_alone_is_no_price(tmp_path):
    rates = book(tmp_path, '[models."fine-tuning/gpt-4.1"]\nhold_at_most = 7\n').price_of_job(TUNING, "gpt-4.1")
    assert rates is not None
    assert (cost(rates, training_tokens=1_000_000), rates.hold_at_most_nanos) == (25, 7_000_000_000)


@pytest.mark.parametrize("model", ["gpt-4.1", "nobody-knows-it", ""])
def test_what_makes_no_videos_has_no_price_of_them(tmp_path, model):
    assert book(tmp_path, "").price_of_job(VIDEOS, model) is None or model == "gpt-4.1"
    assert book(tmp_path, "").price_of_job(JobKind.EVALS, "nobody-knows-it") is None


def test_prices_of_videos_in_litellms_shape(tmp_path):
    entry = {
        "mode": "video_generation",
        "output_cost_per_second": 0.1,
        "output_cost_per_second_1080p": 0.12,
        "litellm_provider": "x",
    }
    speech = {"mode": "audio_speech", "output_cost_per_second": 0.1, "input_cost_per_character": 0.000015}
    own = book(tmp_path, json.dumps({"film": entry, "voice": speech}), name="prices.json")
    rates, voice = own.price_of_job(VIDEOS, "film"), own.resolve("voice")
    assert rates is not None
    assert voice is not None
    assert cost(rates, "1080p", "1920x1080", video_ms=10_000) == 1.2
    assert cost(rates, "720p", video_ms=10_000) == 1
    assert UsageClass.VIDEO_MS not in voice.by_unit


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[models.gpt]\ntraining = 25\n", "model 'gpt': input is missing; accepted is a price for both input and"),
        (
            '[models."fine-tuning/gpt"]\ninput = 2\noutput = 4\n',
            "model 'fine-tuning/gpt': hold_at_most is missing; accepted is call",
        ),
        (
            "[models.gpt]\ninput = 1\noutput = 1\nhold_at_most = 2\n",
            "accepted is it beside a price of jobs, or in one of videos/gpt, ",
        ),
        ("[models.videos]\nhold_at_most = 0\n", "hold_at_most is '0'; accepted is an amount above 0"),
        ("[models.videos]\nhold_at_most = true\n", "hold_at_most is 'True'; accepted is an amount above 0"),
        ("[models.film]\nvideo_second = 3\n", "video_second is '3'; accepted is a number of 0 to 2"),
        ("[models.film]\nvideo_seconds = 1\n", "video_seconds is '1'; accepted is one of the fields "),
        ("[models.evals]\ntraining_hour = 500\n", "training_hour is '500'; accepted is a number of 0 to 240"),
    ],
    ids=lambda each: each.splitlines()[-1] if "\n" in each else "",
)  # fmt: skip
def test_what_is_no_price_of_a_job_stops_the_server_with_a_line(tmp_path, text, says):
    with pytest.raises(ValueError, match=r"prices\.toml: ") as raised:
        book(tmp_path, text)
    assert says in str(raised.value)
