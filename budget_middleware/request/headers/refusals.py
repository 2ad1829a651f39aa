"""The message of a refusal, when its request may come again, and the ``x-budget-*`` headers of an answer."""

import json
import math
from collections.abc import Collection
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from budget_middleware.apis.protocol.base import Api, Reason, Refusal
from budget_middleware.core.limits.period_words import for_window, per_period
from budget_middleware.core.limits.rate_limits import is_rate, opens_in_ms
from budget_middleware.core.model import Rejection
from budget_middleware.core.money import ceil_div, usd_from_nanos
from budget_middleware.core.payers.accounts import ABSENT, GLOBAL, MODEL, kind_of, parts_of
from budget_middleware.core.periods import is_rolling
from budget_middleware.core.units import Unit, format_figure
from budget_middleware.headers import Headers

RETRY_AFTER_S = (1, 30)
"""Bounds of ``retry-after`` where budget is only held by other requests, in seconds."""

AUTHENTICATION_STATUSES: Final = frozenset({401, 403})
"""Answers to a caller whom the app does not know, or does not let in: they carry no figures of ours."""

LONGEST_PAUSE_S: Final = 60
"""SDKs wait for no longer than a minute, whatever ``retry-after`` says: then it is not worth a retry of theirs."""


def refusal_of(rejection: Rejection, *, claimed_kinds: Collection[str], exhausted_status: int, now_ms: int) -> Refusal:
    """The refusal by a limit. A rate, or that too many are in flight, is never a matter of payment: that is 429."""
    reason = Reason.HELD if rejection.is_held else Reason.RATE if is_rate(rejection.target) else Reason.SPENT
    opens_ms = opens_in_ms(rejection, now_ms=now_ms)
    retry_after_s = max(ceil_div(opens_ms, 1000), 1) if opens_ms is not None else None
    is_about_money = reason is not Reason.RATE and rejection.target.unit is not Unit.INFLIGHT
    return Refusal(
        status=exhausted_status if is_about_money else 429,
        reason=reason,
        message=rejection_message(rejection, claimed_kinds=claimed_kinds, retry_after_s=retry_after_s),
        unit=rejection.target.unit,
        retry_after_s=retry_after_s,
    )


def rejection_message(
    rejection: Rejection, *, claimed_kinds: Collection[str] = (), retry_after_s: int | None = None
) -> str:
    """What refused, and its figures if the account is proven to be the caller's own."""
    account, period, window, unit = rejection.target.counter
    is_own = is_callers_own(account, claimed_kinds=claimed_kinds)
    if is_rate(rejection.target) and not rejection.is_held:
        return _rate_message(rejection, is_own=is_own, retry_after_s=retry_after_s)
    if unit is Unit.INFLIGHT and rejection.is_held:
        if not is_own:
            return f"Too many requests of {kind_of(account)} are in flight."
        return f"{account} has {rejection.balance.reserved} requests in flight, and may have {rejection.limit}."
    why = "is held by requests in flight" if rejection.is_held else "cannot cover this request"
    if not is_own:
        return f"The budget of {kind_of(account)} {per_period(period, window)} {why}."
    return (
        f"The budget of {account} {for_window(period, window)} {why}: limit {format_figure(rejection.limit, unit)}, "
        f"spent {format_figure(rejection.balance.spent, unit)}, "
        f"reserved {format_figure(rejection.balance.reserved, unit)}, "
        f"estimate {format_figure(rejection.estimate, unit)}."
    )


def _rate_message(rejection: Rejection, *, is_own: bool, retry_after_s: int | None) -> str:
    """Such as: 60 requests a minute of key:… are used up; the next minute begins in 14 s."""
    account, period, _, unit = rejection.target.counter
    per = f"in {period}" if is_rolling(period) else f"{'an' if period == 'hour' else 'a'} {period}"
    what = (
        f"{format_figure(rejection.limit, unit)} {per} of {account}"
        if is_own
        else f"The {unit} {per} of {kind_of(account)}"
    )
    takes = f"which takes about {format_figure(rejection.estimate, unit)}" if unit is Unit.TOKENS else "which is one"
    too_few = f"too few for this request, {takes}" if is_own else "too few for this request"
    if retry_after_s is None:
        return f"{what} are {too_few}."
    begins = "some may be free again" if is_rolling(period) else f"the next {period} begins"
    left = rejection.limit - rejection.balance.spent
    why = f"are used up but for {left}, {too_few}" if is_own and left > 0 else "are used up"
    return f"{what} {why}; {begins} in {retry_after_s} s."


def is_callers_own(account: str, *, claimed_kinds: Collection[str] = ()) -> bool:
    """Whether figures of an account may be shown to the one who called.

    Others share ``global``, ``model`` and the account of those without a subject. A subject of one of
    ``claimed_kinds`` is what the caller says of itself, and proves nothing before the app has looked at it. A compound
    is the caller's own if one of its parts is.
    """
    shared = (GLOBAL, MODEL, *claimed_kinds)
    return any(kind not in shared and subject != ABSENT for kind, subject in parts_of(account))


def retry_headers(reason: Reason, *, call_s: float, retry_after_s: int | None = None) -> Headers:
    """A spent budget is not worth a retry; a held one is, after about the time that calls take; a busy worker, soon;
    a rate, when its window has ended.
    """
    if reason is Reason.BUSY:
        return [(b"x-should-retry", b"true"), (b"retry-after", b"1")]
    if retry_after_s is not None:
        is_soon = b"true" if retry_after_s <= LONGEST_PAUSE_S else b"false"
        return [(b"x-should-retry", is_soon), (b"retry-after", str(retry_after_s).encode())]
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


async def refuse_handshake(api: Api, refusal: Refusal, scope: Scope, *, receive: Receive, send: Send) -> None:
    """Answer a handshake with the refusal, where the server can send one; else it answers 403, and may tell why."""
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": str(refusal.reason)})
        return

    async def send_denial(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    await send_refusal(api, refusal, send_denial, headers=retry_headers(refusal.reason, call_s=0))
