"""BUDGET_ALERTS: who is told, and of what; nothing of a URL is ever repeated."""

import pytest

from budget_middleware.core.alerts.plan import AlertPlan, Shape, parse_alerts


def plan(text: str) -> AlertPlan:
    found = parse_alerts(text)
    assert found is not None
    return found


@pytest.mark.parametrize("text", ["", " ", ";", "# nothing\n"])
def test_nothing_is_no_plan(text):
    assert parse_alerts(text) is None


@pytest.mark.parametrize(
    ("entry", "shape", "url", "secret"),
    [
        ("https://h/p?a=b", Shape.WEBHOOK, "https://h/p?a=b", b""),
        ("https://h/p#whsec_c2VjcmV0", Shape.WEBHOOK, "https://h/p", b"secret"),
        ("http://h:8080/#plain=text", Shape.WEBHOOK, "http://h:8080/", b"plain=text"),
        ("https://h/#whsec_!", Shape.WEBHOOK, "https://h/", b"whsec_!"),
        ("slack+https://hooks.slack.com/services/T/B/x", Shape.SLACK, "https://hooks.slack.com/services/T/B/x", b""),
        ("pagerduty://R0UT", Shape.PAGERDUTY, "https://events.pagerduty.com/v2/enqueue", b"R0UT"),
        (
            "pagerduty://R0@events.eu.pagerduty.com",
            Shape.PAGERDUTY,
            "https://events.eu.pagerduty.com/v2/enqueue",
            b"R0",
        ),
        ("pagerduty+http://127.0.0.1:1/x#R0", Shape.PAGERDUTY, "http://127.0.0.1:1/x", b"R0"),
    ],
)
def test_a_receiver_is_read_from_its_url(entry, shape, url, secret):
    (receiver,) = plan(entry).receivers
    assert (receiver.shape, receiver.url, receiver.secret) == (shape, url, secret)
    assert url not in repr(receiver)
    assert receiver.name.startswith(f"{shape}:")


def test_entries_stand_in_lines_too_and_the_same_receiver_counts_once():
    text = "# who\nhttps://h/1\nhttps://h/2; https://h/1\nthresholds=100,50,50; forecast=off\nhold=off; audit=23:59"
    found = plan(text)
    assert [receiver.url for receiver in found.receivers] == ["https://h/1", "https://h/2"]
    assert (found.percents, found.has_forecast, found.old_hold_ms, found.audit_minute) == (
        (50, 100),
        False,
        None,
        1_439,
    )
    assert plan("log") == AlertPlan((), (), True, 3_600_000, 180)
    assert plan("log; hold=90m; audit=off") == AlertPlan((), (), True, 5_400_000, None)


@pytest.mark.parametrize(
    "entry",
    [
        "ftp://s3cret@h/",
        "https://user:s3cret@h/",
        "https://h:s3cret/",
        "https:///s3cret",
        "slack+https://h/#s3cret",
        "pagerduty+https://h/s3cret",
        "pagerduty://",
        "https://h/s3cret\u00e9",
        "https://h/ s3cret",
        "teams+https://h/s3cret",
        "s3cret",
    ],
)
def test_a_wrong_url_is_refused_and_not_repeated(entry):
    with pytest.raises(ValueError, match="entry 2, which is not repeated here") as refused:
        parse_alerts(f"log; {entry}")
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "entry",
    ["thresholds=", "thresholds=0", "thresholds=101", "thresholds=a", "forecast=1", "hold=0m", "hold=1d", "audit=24:00",
     "audit=3:00", "unknown=1", "log=1", "hold=1h; hold=2h"],
)  # fmt: skip
def test_a_wrong_option_is_named(entry):
    name = entry.split("=")[0]
    with pytest.raises(ValueError, match=rf"entry \d, {name}: accepted: "):
        parse_alerts(entry)
