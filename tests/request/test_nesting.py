"""When an outer guard believes that an inner one books the call."""

import pytest

from budget_middleware.core.model import Reservation, Target
from budget_middleware.core.statuses import State
from budget_middleware.core.units import Amounts
from budget_middleware.core.windows import Period, Window
from budget_middleware.headers import HeaderTable
from budget_middleware.request.nesting import InnerAnswer, books_for, ledger_mark, without_guards_headers

LEDGER = {"generation": "g1", "namespace": "budget", "secret": "s"}
MARK = ledger_mark(**LEDGER)
ID = "a" * 32


def target(account, day="2026-11-24"):
    return Target(account, Window(Period.DAY, day, starts_ms=0, ends_ms=1))


def reservation(id_, *accounts, at_ms, state=State.PENDING, **options):
    return Reservation(
        id_, state, tuple(target(each, **options) for each in accounts), Amounts(usd=1), created_ms=at_ms
    )


OUTER = reservation("outer", "key:a", "global", at_ms=5)


@pytest.mark.parametrize(
    ("inner", "believed"),
    [
        (reservation("inner", "key:a", "global", at_ms=6), True),
        (reservation("inner", "key:a", "global", at_ms=5, state=State.FINALIZED), True),
        (reservation("inner", "key:a", "global", "team:b", at_ms=6), True),
        (reservation("inner", "key:a", "global", at_ms=6, day="2026-11-25"), True),
        # An id of an earlier call, as a client may have it and an upstream may echo it.
        (reservation("inner", "key:a", "global", at_ms=4, state=State.FINALIZED), False),
        # It pays for nothing.
        (reservation("inner", "key:a", "global", at_ms=6, state=State.RELEASED), False),
        (reservation("inner", "key:a", "global", at_ms=6, state=State.EXPIRED), False),
        # Somebody else pays: all of it, or what only some of the accounts are charged.
        (reservation("inner", "key:b", at_ms=6), False),
        (reservation("inner", "key:b", "global", at_ms=6), False),
        (OUTER, False),
        (None, False),
    ],
)
def test_whose_call_it_is(inner, believed):
    assert books_for(OUTER, inner) is believed


def test_an_outer_reservation_that_is_not_known():
    assert not books_for(None, reservation("inner", "key:a", at_ms=6))


@pytest.mark.parametrize("other", [{"generation": "g2"}, {"namespace": "other"}, {"secret": ""}])
def test_a_mark_names_one_ledger(other):
    assert ledger_mark(**{**LEDGER, **other}) != MARK
    assert not ledger_mark(**{**LEDGER, "generation": ""})


def headers(*, mark=MARK, id_=ID, prefix=""):
    named = {"x-budget-ledger": mark, "x-budget-reservation-id": id_.encode(), "x-budget-cost-usd": b"0.002"}
    return [(f"{prefix}{name}".encode(), value) for name, value in named.items()]


@pytest.mark.parametrize("prefix", ["", "llm_provider-"])
def test_an_inner_guard_on_our_ledger(prefix):
    inner = InnerAnswer(HeaderTable(headers(prefix=prefix)), mark=lambda: MARK)
    assert (inner.is_guarded, inner.reservation_id, inner.cost) == (True, ID, b"0.002")


@pytest.mark.parametrize("told", [{"mark": b"x" * 32}, {"mark": b""}, {"id_": "not one"}])
def test_an_inner_guard_on_another_ledger(told):
    inner = InnerAnswer(HeaderTable(headers(**told)), mark=lambda: MARK)
    assert (inner.is_guarded, inner.reservation_id) == (True, "")


def test_no_store_is_nobodys_ledger():
    assert InnerAnswer(HeaderTable(headers(mark=b"")), mark=lambda: b"").reservation_id == ""


def test_no_inner_guard():
    inner = InnerAnswer(HeaderTable([(b"content-type", b"text/plain")]), mark=lambda: MARK)
    assert (inner.is_guarded, inner.reservation_id) == (False, "")


def test_its_headers_are_dropped():
    kept = [(b"content-type", b"text/plain"), (b"x-ratelimit-limit-requests", b"1")]
    ours = [*headers(), (b"X-Budget-Estimate-Usd", b"1"), (b"ratelimit", b"x"), (b"RateLimit-Policy", b"x")]
    assert without_guards_headers([*kept, *ours, *headers(prefix="llm_provider-")]) == kept
