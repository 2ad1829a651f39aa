"""Checks at start-up whether the store that the settings name can do all that the ledger needs."""

import logging

from budget_middleware.ledger import Ledger
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import Settings
from budget_middleware.store_urls import what_to_check
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable

_log = logging.getLogger("budget_middleware")


async def find_problem(ledger: Ledger, settings: Settings) -> str | None:
    """What keeps the store from doing its work: one line with cause and fix. None where nothing does."""
    where = f"BUDGET_STORE_URL={redact_url(settings.store_url)}"
    try:
        await ledger.check_store()
    except StoreUnavailable as error:
        cause = " ".join(str(error).split())
        return f"{where}: no answer ({cause}); {what_to_check(settings.store_url)}"
    except StoreRefused as error:
        return f"{where}: {' '.join(str(error).split())}"
    return None


async def warn_of_problem(ledger: Ledger, settings: Settings) -> None:
    """Log what is wrong, if anything is; BUDGET_ON_STORE_ERROR says what becomes of requests meanwhile."""
    if problem := await find_problem(ledger, settings):
        _log.warning("%s; until then BUDGET_ON_STORE_ERROR=%s decides", problem, settings.on_store_error)
