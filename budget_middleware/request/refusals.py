"""The message of a refusal, and the ``x-budget-*`` and ``RateLimit`` headers of an answer."""

import heapq
import json
import math
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from starlette.types import Send

from budget_middleware.apis.base import Api, Reason, Refusal
from budget_middleware.core.accounts import ABSENT, GLOBAL, MODEL, kind_of, parts_of
from budget_middleware.core.model import Balance, Rejection, Target
from budget_middleware.core.money import ceil_div, usd_from_nanos
from budget_middleware.core.period_words import for_window, per_period
from budget_middleware.core.units import Unit, format_figure
from budget_middleware.core.windows import FOREVER_MS, counted_s
from budget_middleware.headers import Headers

RETRY_AFTER_S = (1, 30)
"""Bounds of ``retry-after`` where budget is only held by other requests, in seconds."""

MAX_POLICIES: Final = 8
"""How many limits ``RateLimit`` and ``RateLimit-Policy`` name at most: servers and proxies bound header lines."""

AUTHENTICATION_STATUSES: Final = frozenset({401, 403})
"""Answers to a caller whom the app does not know, or does not let in: they carry no figures of ours."""

_NANOS_PER_MICRO = 1_000


def rejection_message(rejection: Rejection, *, claimed_kinds: Collection[str] = ()) -> str:
    """One sentence naming the counter that refused, and its figures if the account is proven to be the caller's own."""
    account, period, window, unit = rejection.target.counter
    why = "is held by requests in flight" if rejection.is_held else "cannot cover this request"
    if not is_callers_own(account, claimed_kinds=claimed_kinds):
        return f"The budget of {kind_of(account)} {per_period(period, window)} {why}."
    return (
        f"The budget of {account} {for_window(period, window)} {why}: limit {format_figure(rejection.limit, unit)}, "
        f"spent {format_figure(rejection.balance.spent, unit)}, "
        f"reserved {format_figure(rejection.balance.reserved, unit)}, "
        f"estimate {format_figure(rejection.estimate, unit)}."
    )


def is_callers_own(account: str, *, claimed_kinds: Collection[str] = ()) -> bool:
    """Whether figures of an account may be shown to the one who called.

    Others share ``global``, ``model`` and the account of those without a subject. A subject of one of
    ``claimed_kinds`` is what the caller says of itself, and proves nothing before the app has looked at it. A compound
    is the caller's own if one of its parts is.
    """
    shared = (GLOBAL, MODEL, *claimed_kinds)
    return any(kind not in shared and subject != ABSENT for kind, subject in parts_of(account))


def retry_headers(reason: Reason, *, call_s: float) -> Headers:
    """A spent budget is not worth a retry; a held one is, after about the time that calls take; a busy worker, soon."""
    if reason is Reason.BUSY:
        return [(b"x-should-retry", b"true"), (b"retry-after", b"1")]
    if reason is not Reason.HELD:
        return [(b"x-should-retry", b"false")]
    least, most = RETRY_AFTER_S
    after_s = min(max(math.ceil(call_s), least), most)
    return [(b"x-should-retry", b"true"), (b"retry-after", str(after_s).encode())]


def budget_headers(
    reservation_id: str, *, estimate_nanos: int, cost_nanos: int | None = None, is_unprotected: bool = False
) -> Headers:
    headers = [
        (b"x-budget-reservation-id", reservation_id.encode()),
        (b"x-budget-estimate-usd", usd_from_nanos(estimate_nanos).encode()),
    ]
    if cost_nanos is not None:
        headers.append((b"x-budget-cost-usd", usd_from_nanos(cost_nanos).encode()))
    if is_unprotected:
        headers.append((b"x-budget-unprotected", b"1"))
    return headers


def rate_limit_headers(targets: Sequence[Target], balances: Sequence[Balance], *, now_ms: int) -> Headers:
    """What is left of the caller's own budgets: the tightest in USD, and all of them as the IETF draft writes it.

    Its whole numbers are micro-dollars, as the quota unit says; a total has no window and no reset.
    """
    if not balances:
        return []
    limits = _own_limits(tuple(targets))
    left = [limit.limit_nanos - sum(balances[limit.place]) for limit in limits]
    if not left:
        return []
    shown = _tightest(left)
    states = [limits[place].state(left_nanos=left[place], now_ms=now_ms) for place in shown]
    return [
        (b"x-budget-remaining-usd", usd_from_nanos(min(left)).encode()),
        (b"ratelimit-policy", ", ".join([limits[place].policy for place in shown]).encode()),
        (b"ratelimit", ", ".join(states).encode()),
    ]


def _tightest(left: Sequence[int]) -> Sequence[int]:
    """The places of the MAX_POLICIES smallest amounts, in their order."""
    if len(left) <= MAX_POLICIES:
        return range(len(left))
    return sorted(heapq.nsmallest(MAX_POLICIES, range(len(left)), key=left.__getitem__))


class _OwnLimit(NamedTuple):
    """A limit of the caller's own: its place among the targets, its name and the policy that describes it."""

    place: int
    name: str
    policy: str
    limit_nanos: int
    ends_ms: int

    def state(self, *, left_nanos: int, now_ms: int) -> str:
        """What is left of it, and for how many seconds it counts."""
        state = f"{self.name};r={max(left_nanos, 0) // _NANOS_PER_MICRO}"
        if self.ends_ms < FOREVER_MS:
            state += f";t={ceil_div(max(self.ends_ms - now_ms, 0), 1000)}"
        return state


@lru_cache(1_024)
def _own_limits(targets: tuple[Target, ...]) -> tuple[_OwnLimit, ...]:
    limits = []
    for place, target in enumerate(targets):
        if target.limit is None or target.unit is not Unit.USD or not is_callers_own(target.account):
            continue
        window = target.window
        name = f'"{kind_of(target.account)}-{window.period}"'
        policy = f'{name};q={target.limit // _NANOS_PER_MICRO};qu="usd-micros"'
        if length_s := counted_s(window):
            policy += f";w={length_s}"
        limits.append(_OwnLimit(place, name, policy, target.limit, window.ends_ms))
    return tuple(limits)


async def send_refusal(api: Api, refusal: Refusal, send: Send, *, headers: Headers) -> None:
    """Answer in the shape that makes the caller's SDK raise its own error."""
    body = json.dumps(api.error_body(refusal)).encode()
    start: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": start})
    await send({"type": "http.response.body", "body": body})
