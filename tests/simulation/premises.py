"""What a plan takes for granted: when it begins, who pays, and up to which limits."""

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.windows import Period
from tests.simulation.client import token_of
from tests.simulation.plan import Plan
from tests.simulation.simulated_gateway import ESTIMATE_NANOS

HOUR_AT_MS = 1_795_014_000_000
"""A full hour in the middle of a day; plans begin so much before it."""

GLOBAL_LIMIT_IN_ESTIMATES = 30


def account_of(key: int) -> str:
    return f"key:{key_id(token_of(key))}"


def start_ms(plan: Plan) -> int:
    return HOUR_AT_MS - plan.starts_ms_before_hour


def limits_of(plan: Plan) -> dict[tuple[str, Period], int]:
    """Two keys have limits for an hour and a day, the third one for the last sixty minutes."""
    hourly = plan.limit_in_estimates * ESTIMATE_NANOS
    limits = {(account_of(key), Period.HOUR): hourly for key in range(2)}
    limits |= {(account_of(key), Period.DAY): 2 * hourly for key in range(2)}
    limits[account_of(2), Period("1h")] = hourly
    return {**limits, ("global", Period.DAY): GLOBAL_LIMIT_IN_ESTIMATES * ESTIMATE_NANOS}
