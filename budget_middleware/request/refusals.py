"""What a client is told: the message of a refusal, and the ``x-budget-*`` and ``RateLimit`` headers of an answer."""

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from starlette.types import Send

from budget_middleware.apis.base import Api, Reason, Refusal
from budget_middleware.core.accounts import GLOBAL, MODEL, kind_of
from budget_middleware.core.model import Balance, Rejection, Target
from budget_middleware.core.money import ceil_div, usd_from_nanos
from budget_middleware.core.windows import FOREVER_MS
from budget_middleware.headers import Headers

RETRY_AFTER_S = (1, 30)
"""Bounds of ``retry-after`` where budget is only held by other requests, in seconds."""

_NANOS_PER_MICRO = 1_000


def rejection_message(rejection: Rejection) -> str:
    """One sentence naming the counter that refused, and its figures if the account is the caller's own."""
    account, period, window = rejection.target.counter
    why = "is held by requests in flight" if rejection.is_held else "cannot cover this request"
    if not is_callers_own(account):
        return f"The budget of {kind_of(account)} per {period} {why}."
    return (
        f"The budget of {account} for {period} {window} {why}: limit ${usd_from_nanos(rejection.limit_nanos)}, "
        f"spent ${usd_from_nanos(rejection.balance.spent_nanos)}, "
        f"reserved ${usd_from_nanos(rejection.balance.reserved_nanos)}, "
        f"estimate ${usd_from_nanos(rejection.estimate_nanos)}."
    )


def is_callers_own(account: str) -> bool:
    """Whether figures of an account may be shown to the one who called; others share ``global`` and ``model``."""
    return kind_of(account) not in (GLOBAL, MODEL)


def retry_headers(reason: Reason, *, call_s: float) -> Headers:
    """A spent budget is not worth a retry; a held one is, after about the time that calls take."""
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
    states, left = [], []
    limits = _own_limits(tuple(targets))
    for index, name, limit_nanos, ends_ms in limits.counters:
        spent_nanos, reserved_nanos = balances[index]
        available_nanos = limit_nanos - spent_nanos - reserved_nanos
        state = f"{name};r={max(available_nanos, 0) // _NANOS_PER_MICRO}"
        if ends_ms < FOREVER_MS:
            state += f";t={ceil_div(max(ends_ms - now_ms, 0), 1000)}"
        states.append(state)
        left.append(available_nanos)
    if not left:
        return []
    return [
        (b"x-budget-remaining-usd", usd_from_nanos(min(left)).encode()),
        (b"ratelimit-policy", limits.policy),
        (b"ratelimit", ", ".join(states).encode()),
    ]


class _OwnLimits(NamedTuple):
    """The caller's own limits: the policy that tells them, and of each the place among the targets, the name, the
    limit in nano-dollars and the end of its window in milliseconds.
    """

    policy: bytes
    counters: tuple[tuple[int, str, int, int], ...]


@lru_cache(1_024)
def _own_limits(targets: tuple[Target, ...]) -> _OwnLimits:
    policies, counters = [], []
    for index, target in enumerate(targets):
        if target.limit_nanos is None or not is_callers_own(target.account):
            continue
        window = target.window
        name = f'"{kind_of(target.account)}-{window.period}"'
        policy = f'{name};q={target.limit_nanos // _NANOS_PER_MICRO};qu="usd-micros"'
        if window.ends_ms < FOREVER_MS:
            policy += f";w={(window.ends_ms - window.starts_ms) // 1000}"
        policies.append(policy)
        counters.append((index, name, target.limit_nanos, window.ends_ms))
    return _OwnLimits(", ".join(policies).encode(), tuple(counters))


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
