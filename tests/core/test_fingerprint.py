"""What all gateways of one ledger must have in common, as a text that reveals nothing."""

from typing import Any

import pytest

from budget_middleware.core.fingerprint import differences, fingerprint
from budget_middleware.core.limits.grammar import parse_limits


def of(*, secret: str = "pepper", namespace: str = "budget", timezone: str = "UTC", limits: str = "key=10/day") -> str:
    return fingerprint(secret=secret, namespace=namespace, timezone=timezone, limits=parse_limits(limits))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"secret": "salt"}, ["BUDGET_HASH_SECRET"]),
        ({"secret": ""}, ["BUDGET_HASH_SECRET"]),
        ({"timezone": "Europe/Berlin"}, ["BUDGET_TIMEZONE"]),
        ({"limits": "key=10/week"}, ["the periods of BUDGET_LIMITS"]),
        ({"limits": "team=10/day"}, ["the periods of BUDGET_LIMITS"]),
        ({"secret": "salt", "timezone": "Asia/Tokyo"}, ["BUDGET_HASH_SECRET", "BUDGET_TIMEZONE"]),
        # Other amounts, keys and ways of writing claim the same counters.
        ({"limits": "key=20/day; key:1f3a9c0b2d4e5f60=5/day"}, []),
        ({}, []),
    ],
)
def test_what_differs_is_named(change: dict[str, Any], told: list[str]):
    assert differences(of(), of(**change)) == told


def test_it_reveals_20_bits_of_the_secret_at_most_and_no_subject():
    text = of(secret="pepper", limits="key:1f3a9c0b2d4e5f60=1/day; team:search=1/month")
    assert text.startswith("secret=")
    assert len(text.split()[0]) == len("secret=") + 5
    assert "pepper" not in text
    assert "1f3a" not in text
    assert "search" not in text


def test_another_namespace_has_another_one_for_the_same_secret():
    """So that nobody learns by comparing two ledgers that they share a secret."""
    assert of(namespace="a") != of(namespace="b")


def test_it_is_bounded():
    kinds = "; ".join(f"kind{number}=1/day" for number in range(500))
    assert len(of(limits=kinds)) < 100


def test_a_version_that_knows_more_is_compared_by_what_both_know():
    assert differences(of(), f"{of()} currency=EUR") == []
