"""The context of operations: the settings, the store that they name, and a ledger over it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

from budget_middleware.databases.urls import SQLITE, parse_sqlite, scheme_of
from budget_middleware.ledger import Ledger
from budget_middleware.opening import operators_ledger_of, operators_store_of, price_book
from budget_middleware.operations.errors import OperationError
from budget_middleware.prices import PriceBook
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import Settings, SettingsError
from budget_middleware.store_urls import what_to_check
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.stores.journals import RemembersShards
from budget_middleware.stores.opening import MEMORY_URL

_OTHER_PROCESS = (
    f"BUDGET_STORE_URL is {MEMORY_URL}: the counters live in the gateway's process, and no other"
    " sees them; set it to the store that the gateways share"
)


@dataclass(frozen=True)
class OperatorContext:
    """What every operation is handed. An operation may raise StoreUnavailable or StoreRefused.

    Without slots, which could not keep the price book.
    """

    settings: Settings
    store: Store
    ledger: Ledger
    gateway_prices: PriceBook | None = None
    """Of the gateway in whose process it is."""

    @cached_property
    def prices(self) -> PriceBook:
        """The gateway's own, else those that the settings name, read when they are first asked for. SettingsError."""
        return self.gateway_prices if self.gateway_prices is not None else price_book(self.settings)


@asynccontextmanager
async def open_context(
    settings: Settings, *, makes_file: bool = False, may_be_away: bool = False
) -> AsyncIterator[OperatorContext]:
    """A context of its own, outside of a gateway; its store's connections are closed after it.

    OperationError for a store that is no other process's, SettingsError for a URL that cannot be used; StoreUnavailable
    for one that is asked at once and gives no answer, unless it ``may_be_away``.
    """
    if settings.store_url == MEMORY_URL:
        raise OperationError(_OTHER_PROCESS)
    if not makes_file:
        require_file(settings)
    store = operators_store_of(settings)
    ledger = operators_ledger_of(settings, store)
    try:
        if isinstance(store, RemembersShards):
            with suppress(*((StoreUnavailable,) if may_be_away else ())):
                await store.require_shards()
        yield OperatorContext(settings, store, ledger)
    finally:
        await ledger.drain()


def lasting_context(settings: Settings, gateway_prices: PriceBook | None = None) -> OperatorContext:
    """A context of its own for as long as a process lives; whoever opened it drains its ledger.

    Nothing is connected before something is asked. SettingsError for `memory://`.
    """
    if settings.store_url == MEMORY_URL:
        raise SettingsError(_OTHER_PROCESS)
    store = operators_store_of(settings)
    return OperatorContext(settings, store, operators_ledger_of(settings, store), gateway_prices)


async def require_ready(context: OperatorContext) -> None:
    """Ask the store, where that takes a word, whether it has the shards that the settings name; its error if not."""
    if isinstance(context.store, RemembersShards):
        await context.store.require_shards()


def require_file(settings: Settings) -> None:
    """OperationError where the store would be a file that is not there: an operator may stand in another folder."""
    if scheme_of(settings.store_url) == SQLITE and not (path := parse_sqlite(settings.store_url).path).exists():
        raise OperationError(
            f"BUDGET_STORE_URL={settings.store_url}: there is no file {path}; set BUDGET_STORE_URL as the gateway has"
            " it; if the gateway has none, run this in the folder in which it starts, or name its file: sqlite:////PATH"
        )


def no_answer(settings: Settings, error: StoreUnavailable) -> str:
    """One line for a store that cannot be reached: what happened, where, what to check."""
    return (
        f"no answer from BUDGET_STORE_URL={redact_url(settings.store_url)} ({' '.join(str(error).split())});"
        f" {what_to_check(settings.store_url)}"
    )
