"""One layering of limits: what operators are told binds an account is what a request's counters have."""

from itertools import product

import pytest

from budget_middleware.core.layering import Bound, bounds_of, claims_for
from budget_middleware.core.limits import LimitBook, parse_limits
from budget_middleware.core.windows import Period

RUNTIME = ("", "key=none", "key:a=none/day", "key:a=1/day; key=2/day", "key=3/month; key:b=4/week")
ENVIRONMENT = ("", "key=5/day; key=6/month", "key:a=7/total; key:*=8/day", "key=none/month")


def layers(runtime: str, environment: str) -> dict[str, LimitBook]:
    return {"runtime": LimitBook(parse_limits(runtime)), "environment": LimitBook(parse_limits(environment))}


@pytest.mark.parametrize(("runtime", "environment"), list(product(RUNTIME, ENVIRONMENT)))
@pytest.mark.parametrize("subject", ["a", "b"])
def test_what_binds_is_what_requests_claim(runtime: str, environment: str, subject: str):
    books = layers(runtime, environment)
    bounds = bounds_of(f"key:{subject}", books)
    told = {period: bound.limit_nanos for period, bound in bounds.items() if bound.limit_nanos is not None}
    claims = claims_for({"key": subject}, layers=list(books.values()), model="")
    assert told == {claim.period: claim.limit for claim in claims if claim.limit is not None}


def test_the_layer_that_decides_is_named_also_where_it_lifts_the_limit():
    bounds = bounds_of("key:a", layers("key:a=none/day; key=2/month", "key=5/day; key=6/month; key:a=1/hour"))
    assert list(bounds.items()) == [
        (Period.HOUR, Bound(10**9, "environment")),
        (Period.DAY, Bound(None, "runtime")),
        (Period.MONTH, Bound(2 * 10**9, "runtime")),
    ]


def test_a_pattern_is_bound_by_what_is_said_of_all_that_it_names():
    assert bounds_of("key:*", layers("key:a=1/day", "key=5/day")) == {Period.DAY: Bound(5 * 10**9, "environment")}
