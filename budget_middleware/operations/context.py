"""What operations work on: the settings, the store that they name, and a ledger over it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from budget_middleware.ledger import Ledger
from budget_middleware.opening import store_of
from budget_middleware.operations.errors import OperationError
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import Settings
from budget_middleware.stores.base import Store, StoreUnavailable
from budget_middleware.stores.opening import MEMORY_URL
from budget_middleware.telemetry import Telemetry

# An operator would rather have a late answer than none.
LEAST_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class OperatorContext:
    """What every operation is handed. An operation may raise StoreUnavailable or StoreRefused."""

    settings: Settings
    store: Store
    ledger: Ledger


@asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[OperatorContext]:
    """A context of its own, outside of a gateway; its store's connections are closed after it.

    OperationError for a store that is no other process's, SettingsError for a URL that cannot be used.
    """
    if settings.store_url == MEMORY_URL:
        raise OperationError(
            f"BUDGET_STORE_URL is {MEMORY_URL}: the counters live in the gateway's process, and no other"
            " sees them; set it to the store that the gateways share"
        )
    store = patient_store(settings)
    ledger = Ledger(
        store,
        limits=settings.limits,
        timezone=settings.timezone,
        lease_ms=settings.lease_ms,
        store_timeout_s=max(settings.store_timeout_s, LEAST_TIMEOUT_S),
        telemetry=Telemetry(spans=settings.spans),
    )
    try:
        yield OperatorContext(settings, store, ledger)
    finally:
        await ledger.drain()


def patient_store(settings: Settings) -> Store:
    """The store that the gateways use, with an operator's patience; SettingsError where its URL cannot be used."""
    return store_of(settings, timeout_s=max(settings.store_timeout_s, LEAST_TIMEOUT_S))


def no_answer(settings: Settings, error: StoreUnavailable) -> str:
    """One line for a store that cannot be reached: what happened, where, what to check."""
    return (
        f"no answer from BUDGET_STORE_URL={redact_url(settings.store_url)} ({' '.join(str(error).split())});"
        " check that the server runs, that this machine reaches it, and its password"
    )
