"""Checks the settings themselves: mode, prices, limits."""

from collections.abc import Sequence

from budget_middleware.core.costs.estimate import EstimateBy
from budget_middleware.core.limits.limits import LimitRule, names_no_key
from budget_middleware.opening import MOST_TOLD, price_book
from budget_middleware.operations.accounts import kinds_of_requests, model_warnings, unknown_kinds_message
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.prices import load_prices
from budget_middleware.prices.unlikely import unlikely_prices
from budget_middleware.setting_types import Mode
from budget_middleware.settings import Settings, SettingsError

LEAST_SPREADS = 1
"""With none at all nearly half of all budgets are overspent, in windows of real traces."""


def mode_finding(settings: Settings) -> Finding:
    if settings.mode is Mode.OFF:
        return Finding("settings", Health.WARN, "BUDGET_MODE=off: nothing is metered", "set shadow or enforce")
    if settings.known_keys_only and settings.accounts_file is None:
        message = "BUDGET_KNOWN_KEYS_ONLY=1 without BUDGET_ACCOUNTS_FILE stops the gateway"
        fix = "name the file that knows the keys, unless the gateway's code has an accounts_source"
        return Finding("settings", Health.WARN, message, fix)
    refused = "refuses" if settings.mode is Mode.ENFORCE else "only records what it would refuse"
    return Finding("settings", Health.OK, f"all are accepted; BUDGET_MODE={settings.mode} {refused}")


def prices_finding(settings: Settings) -> Finding:
    if settings.prices is None:
        return Finding("prices", Health.OK, "the built-in price book, no prices of your own")
    try:
        own = load_prices(settings.prices)
    except ValueError as error:
        return Finding("prices", Health.FAIL, str(error), "correct the file that BUDGET_PRICES names")
    if unlikely := unlikely_prices(own):
        fix = "give prices in USD per million tokens, under the whole name of each model"
        return Finding("prices", Health.WARN, "; ".join(unlikely[:MOST_TOLD]), fix)
    return Finding("prices", Health.OK, f"{len(own)} models of your own in {settings.prices}")


def estimate_finding(settings: Settings) -> Finding:
    spreads = settings.estimate_spread
    if settings.estimate is not EstimateBy.LEARNED:
        return Finding("estimates", Health.OK, f"by a fixed rule: BUDGET_ESTIMATE={settings.estimate}")
    if spreads < LEAST_SPREADS:
        message = f"BUDGET_ESTIMATE_SPREAD={spreads:g} holds hardly more than the mean: budgets will be overspent"
        return Finding("estimates", Health.WARN, message, "set it to 1.5 or more; 2 is the default")
    return Finding("estimates", Health.OK, f"learnt from answers: {spreads:g} spreads above their mean are held")


def limits_finding(settings: Settings, runtime: Sequence[LimitRule]) -> Finding:
    rules = [*settings.limits, *runtime]
    if any(map(names_no_key, rules)):
        # Which one is not shown: it may be a token.
        message = "a runtime limit is on a key that is no hash, and never binds"
        fix = "run limit clear --raw-keys, and set it for the account that key-id prints"
        return Finding("limits", Health.WARN, message, fix)
    try:
        unknown = {kind for rule in rules for kind in rule.kinds} - kinds_of_requests(settings)
    except SettingsError as error:
        return Finding("limits", Health.FAIL, str(error), "correct the file")
    if unknown:
        return Finding(
            "limits",
            Health.WARN,
            f"{unknown_kinds_message(sorted(unknown))}: limits on that never bind",
            "add KIND=SOURCE to BUDGET_ACCOUNTS, unless accounts_source in the gateway's code names it",
        )
    if misnamed := model_warnings((rule.pattern for rule in rules), lambda: price_book(settings)):
        fix = "set the limit on that name"
        return Finding("limits", Health.WARN, "; ".join(misnamed[:MOST_TOLD]), fix)
    if not rules:
        return Finding("limits", Health.WARN, "none: everything is metered, nothing is refused", "set BUDGET_LIMITS")
    return Finding("limits", Health.OK, f"{len(settings.limits)} in BUDGET_LIMITS, {len(runtime)} at run time")
