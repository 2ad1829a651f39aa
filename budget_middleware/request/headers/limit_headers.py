"""What an answer's headers tell of the caller's own limits: as the IETF draft has it, and as each API does for rates.

``RateLimit-Policy`` says what the limits are, ``RateLimit`` what is left of them. Their whole numbers are of the quota
unit ``qu``: micro-dollars for money, and two of the draft's own, ``requests`` and ``concurrent-requests``. A total has
no window and no reset. SDKs and proxies of OpenAI and Anthropic read those APIs' own headers for requests and tokens:
of several rates of a unit these show the one with the smallest part left.
"""

import heapq
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from budget_middleware.core.limits.rate_limits import is_rate
from budget_middleware.core.model import Balance, OncePerTargets, Target
from budget_middleware.core.money import ceil_div, usd_from_nanos
from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import FOREVER_MS, counted_s
from budget_middleware.headers import Headers
from budget_middleware.request.headers.refusals import is_callers_own

MAX_POLICIES: Final = 8
"""How many limits ``RateLimit`` and ``RateLimit-Policy`` name at most: servers and proxies bound header lines."""

_NANOS_PER_MICRO: Final = 1_000
_QUOTA_UNITS: Final = {
    Unit.USD: "usd-micros",
    Unit.TOKENS: "tokens",
    Unit.REQUESTS: "requests",
    Unit.INFLIGHT: "concurrent-requests",
}


def rate_limit_headers(
    targets: tuple[Target, ...], balances: Sequence[Balance], *, now_ms: int, api: str = ""
) -> Headers:
    """What is left of the caller's own limits: the tightest in USD, all of them, and the rates as the API tells them.

    The figures of an answer that a store has given; nothing without them.
    """
    if not balances:
        return []
    own = _own_limits(targets)
    if not own.limits:
        return []
    left: list[int] = []
    for limit in own.limits:
        balance = balances[limit.place]
        left.append(limit.limit - balance.spent - balance.reserved)
    headers: Headers = []
    if own.of_money:
        least = min(left) if len(left) == len(own.of_money) else min(map(left.__getitem__, own.of_money))
        headers.append((b"x-budget-remaining-usd", usd_from_nanos(least).encode()))
    shown: Sequence[int] = own.places
    policies = own.policies
    if len(left) > MAX_POLICIES:
        shown = _tightest(own, left)
        policies = ", ".join([own.limits[at].policy for at in shown]).encode()
    states = ""
    for at in shown:
        # What is left of it, and for how many seconds it counts.
        of_it = left[at]
        _, name, _, _, _, ends_ms, per_quota = own.limits[at]
        states += f", {name};r={of_it // per_quota if of_it > 0 else 0}"
        if ends_ms < FOREVER_MS:
            states += f";t={-((now_ms - ends_ms) // 1000) if ends_ms > now_ms else 0}"
    headers += [(b"ratelimit-policy", policies), (b"ratelimit", states[2:].encode())]
    if own.rates:
        headers += _api_headers(own, left, api=api, now_ms=now_ms)
    return headers


def without_same(headers: Headers, ours: Headers) -> Headers:
    """An answer's headers without those that we send too: its caller is bound by the limits here, not by the app's."""
    names = {name for name, _ in ours}
    return [pair for pair in headers if pair[0].lower() not in names]


class _OwnLimit(NamedTuple):
    """A limit of the caller's own: its place among the targets, its name, the policy that describes it, and how much
    of its unit one of that policy's quota is.
    """

    place: int
    name: str
    policy: str
    limit: int
    unit: Unit
    ends_ms: int
    per_quota: int


class _OwnLimits(NamedTuple):
    """The limits of the caller's own, their places here and their policies as a header has them; where those of money
    stand among them, and the rates by their unit.
    """

    limits: tuple[_OwnLimit, ...]
    places: tuple[int, ...]
    policies: bytes
    of_money: tuple[int, ...]
    rates: tuple[tuple[Unit, tuple[int, ...]], ...]


@OncePerTargets
def _own_limits(targets: tuple[Target, ...]) -> _OwnLimits:
    shown = [
        (place, target)
        for place, target in enumerate(targets)
        # What was carried over into a limit only the store knows, and tells in a refusal.
        if target.limit is not None and target.carry is None and is_callers_own(target.account)
    ]
    of_unit: dict[Unit, list[int]] = {}
    for at, (_, target) in enumerate(shown):
        if is_rate(target):
            of_unit.setdefault(target.unit, []).append(at)
    limits = tuple(_own_limit(place, target) for place, target in shown)
    return _OwnLimits(
        limits,
        tuple(range(len(limits))),
        ", ".join([limit.policy for limit in limits]).encode(),
        tuple(at for at, (_, target) in enumerate(shown) if target.unit is Unit.USD),
        tuple((unit, tuple(places)) for unit, places in of_unit.items()),
    )


def _own_limit(place: int, target: Target) -> _OwnLimit:
    window, unit = target.window, target.unit
    assert target.limit is not None, "only a limit is told"
    kind, period = kind_of(target.account), window.period
    name = {Unit.USD: f'"{kind}-{period}"', Unit.INFLIGHT: f'"{kind}-inflight"'}.get(unit, f'"{kind}-{period}-{unit}"')
    per_quota = _NANOS_PER_MICRO if unit is Unit.USD else 1
    policy = f'{name};q={target.limit // per_quota};qu="{_QUOTA_UNITS[unit]}"'
    if length_s := counted_s(window):
        policy += f";w={length_s}"
    return _OwnLimit(place, name, policy, target.limit, unit, window.ends_ms, per_quota)


def _tightest(own: _OwnLimits, left: Sequence[int]) -> Sequence[int]:
    """The places of the MAX_POLICIES limits of which least is left, in their order."""
    if len(own.of_money) == len(left):
        return sorted(heapq.nsmallest(MAX_POLICIES, range(len(left)), key=left.__getitem__))
    # Figures of different units compare by the part of the limit that they are.
    return sorted(heapq.nsmallest(MAX_POLICIES, range(len(left)), key=lambda at: _part_left(own.limits[at], left[at])))


def _part_left(limit: _OwnLimit, left: int) -> float:
    return left / limit.limit if limit.limit else 0.0


# The headers of the APIs.


def _api_headers(own: _OwnLimits, left: Sequence[int], *, api: str, now_ms: int) -> Headers:
    named = _NAMED_BY.get(api)
    if named is None:
        return []
    headers: Headers = []
    for unit, places in own.rates:
        at = min(places, key=lambda at: _part_left(own.limits[at], left[at]))
        limit = own.limits[at]
        headers += named(unit, str(limit.limit), str(max(left[at], 0)), ends_ms=limit.ends_ms, now_ms=now_ms)
    return headers


def _openai_headers(unit: Unit, limit: str, remaining: str, *, ends_ms: int, now_ms: int) -> Headers:
    reset = duration(max(ends_ms - now_ms, 0))
    return [
        (f"x-ratelimit-{what}-{unit}".encode(), value.encode())
        for what, value in (("limit", limit), ("remaining", remaining), ("reset", reset))
    ]


def _anthropic_headers(unit: Unit, limit: str, remaining: str, *, ends_ms: int, now_ms: int) -> Headers:  # noqa: ARG001 - a time of day
    reset = datetime.fromtimestamp(ends_ms // 1000, UTC).isoformat().replace("+00:00", "Z")
    return [
        (f"anthropic-ratelimit-{unit}-{what}".encode(), value.encode())
        for what, value in (("limit", limit), ("remaining", remaining), ("reset", reset))
    ]


def duration(ms: int) -> str:
    """So long, as OpenAI writes it, whole seconds rounded up: `120ms`, `14s`, `6m0s`, `1h0m0s`."""
    if ms < 1_000:
        return f"{ms}ms"
    minutes, seconds = divmod(ceil_div(ms, 1_000), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"


_Named = Callable[..., Headers]
_OPENAI: Final = ("chat", "completions", "embeddings", "images", "responses", "speech", "transcriptions")
_NAMED_BY: Final[dict[str, _Named]] = {
    **{f"openai-{name}": _openai_headers for name in _OPENAI},
    "anthropic-messages": _anthropic_headers,
}
