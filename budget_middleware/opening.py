"""Opens what settings name, for gateways and operators: the ledger, its store, prices and payers."""

import logging
from collections.abc import Callable, Iterable, Iterator
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, TypeVar

from budget_middleware.apis import APIS
from budget_middleware.apis.own.dialect import WrongDialectError, own_apis
from budget_middleware.apis.protocol.base import Api
from budget_middleware.core.fingerprint import fingerprint
from budget_middleware.ledger import Ledger, LimitsSource
from budget_middleware.payers.accounts_file import AccountsFile
from budget_middleware.payers.credentials import CredentialSource
from budget_middleware.payers.payers import AccountsSource, Payers
from budget_middleware.prices import PriceBook, PriceMap, PriceSource, imported_map, installed_map, load_prices
from budget_middleware.prices.limited_names import warnings_for_models
from budget_middleware.prices.unlikely import unlikely_prices
from budget_middleware.setting_types import LiteLLMPrices, Mode, redact_url
from budget_middleware.settings import Settings, SettingsError
from budget_middleware.settings_loading import load
from budget_middleware.stores.base import Store
from budget_middleware.stores.opening import MEMORY_URL, open_store
from budget_middleware.stores.retention import Retention
from budget_middleware.telemetry import Telemetry

if TYPE_CHECKING:
    from budget_middleware.history.following import HistoryFollower

_log = logging.getLogger("budget_middleware")
_T = TypeVar("_T")

MOST_TOLD: Final = 5
"""Of warnings of one kind: a whole price map may be in another unit."""


def open_ledger(
    *, limits_source: LimitsSource | None = None, price_source: PriceSource | None = None, **settings: Any
) -> Ledger:
    """The ledger over the gateway's counters, by `BUDGET_*` or keywords as for the middleware.

    Meant for workers and batch jobs; `await ledger.drain()` before the process ends. Raises SettingsError.
    """
    return ledger_of(load(**settings), limits_source=limits_source, price_source=price_source)


def ledger_of(
    settings: Settings,
    *,
    store: Store | None = None,
    limits_source: LimitsSource | None = None,
    price_source: PriceSource | None = None,
    is_gateway: bool = False,
) -> Ledger:
    """The ledger by the settings; `store` takes the place of the one that they name. Raises SettingsError.

    A gateway publishes its settings to the others of this ledger: only gateways turn tokens into keys.
    """
    require_async("limits_source", limits_source)
    if price_source is not None and not callable(price_source):
        raise SettingsError("price_source: accepted is a function")
    if store is None and settings.store_url == MEMORY_URL and settings.mode is not Mode.OFF:
        _log.warning(
            "BUDGET_STORE_URL is memory://: every process counts for itself and forgets at restart;"
            " leave it out for a file, or set redis://HOST:PORT/DB"
        )
    return Ledger(
        store or store_of(settings, timeout_s=settings.store_timeout_s),
        limits=settings.limits,
        limits_source=limits_source,
        prices=price_book(settings, price_source, is_gateway=is_gateway),
        tokens_counted=settings.tokens,
        timezone=settings.timezone,
        enforce=settings.mode is Mode.ENFORCE,
        lease_ms=settings.lease_ms,
        store_timeout_s=settings.store_timeout_s,
        max_hold_s=settings.max_hold_s,
        idle_hold_s=settings.idle_hold_s,
        spool_max=settings.spool_max,
        spool_path=settings.spool_path,
        wait_max=settings.wait_max,
        telemetry=_telemetry_of(settings),
        fingerprint=fingerprint_of(settings) if is_gateway and settings.mode is not Mode.OFF else "",
    )


LEAST_OPERATORS_TIMEOUT_S = 5.0
"""An operator would rather have a late answer than none."""


def operators_ledger_of(settings: Settings, store: Store) -> Ledger:
    """A ledger over the gateway's counters for what operators do: it knows no prices, and has nothing to spool."""
    return Ledger(
        store,
        limits=settings.limits,
        timezone=settings.timezone,
        lease_ms=settings.lease_ms,
        store_timeout_s=operators_timeout_s(settings),
        telemetry=_telemetry_of(settings),
    )


def operators_store_of(settings: Settings) -> Store:
    """The store by the settings, with an operator's patience. Raises SettingsError."""
    return store_of(settings, timeout_s=operators_timeout_s(settings))


def operators_timeout_s(settings: Settings) -> float:
    return max(settings.store_timeout_s, LEAST_OPERATORS_TIMEOUT_S)


def _telemetry_of(settings: Settings) -> Telemetry:
    return Telemetry(trace_context=settings.trace_context, spans=settings.spans)


def fingerprint_of(settings: Settings) -> str:
    """What all gateways of one ledger must have in common."""
    return fingerprint(
        secret=settings.hash_secret.get_secret_value(),
        namespace=settings.namespace,
        timezone=settings.timezone.key,
        limits=settings.limits,
    )


def require_async(name: str, source: object) -> None:
    """SettingsError for a source in code whose answers cannot be awaited: it would fail at every request."""
    asks = (source, getattr(source, "__call__", None))  # noqa: B004 - whether it is callable is not the question
    if source is not None and not any(map(iscoroutinefunction, asks)):
        raise SettingsError(f"{name}: accepted is an async function")


def store_of(settings: Settings, *, timeout_s: float) -> Store:
    """The store by the settings; it connects at the first call. Raises SettingsError."""
    if settings.replicas and not settings.store_url.startswith(("redis", "unix://")):
        raise SettingsError(f"BUDGET_REPLICAS='{settings.replicas}': accepted with a BUDGET_STORE_URL of Redis")
    try:
        return open_store(
            settings.store_url,
            namespace=settings.namespace,
            timeout_s=timeout_s,
            retention=retention_of(settings),
            shards=settings.shard_by,
            replicas=settings.replicas,
        )
    except ValueError as error:
        raise SettingsError(f"BUDGET_STORE_URL={redact_url(settings.store_url)!r}: {error}") from None


def history_follower_of(settings: Settings, store: Store) -> "HistoryFollower | None":
    """What copies the journal of a store into the history that the settings name; None where they name none."""
    if not settings.history_url or settings.mode is Mode.OFF:
        return None
    if settings.store_url == MEMORY_URL:
        _log.warning("BUDGET_HISTORY_URL with memory://: the history has the entries of one process at a time")
    # Imported here, so that gateways without a history start without its thirty modules.
    from budget_middleware.history.connections import open_database
    from budget_middleware.history.following import HistoryFollower

    return HistoryFollower(
        store,
        lambda: open_database(settings.history_url),
        namespace=settings.namespace,
        timezone=settings.timezone,
        journal_max=settings.journal_max,
        days=settings.history_days,
    )


def own_apis_of(apis: Iterable[Api]) -> tuple[Api, ...]:
    """The dialects of the user's own, checked. Raises SettingsError."""
    try:
        return own_apis(apis, taken=[api.name for api in APIS])
    except WrongDialectError as error:
        raise SettingsError(f"apis: {error}") from None


def payers_of(
    settings: Settings,
    *,
    accounts_source: AccountsSource | None = None,
    credential_source: CredentialSource | None = None,
) -> Payers:
    """Who pays for a request, by the settings. Raises SettingsError."""
    require_async("accounts_source", accounts_source)
    if credential_source is not None and not callable(credential_source):
        raise SettingsError("credential_source: accepted is a function")
    directory = read_accounts_file(settings, AccountsFile)
    if settings.known_keys_only and directory is None and accounts_source is None:
        raise SettingsError(
            "BUDGET_KNOWN_KEYS_ONLY='1': accepted with BUDGET_ACCOUNTS_FILE or accounts_source, which know the keys"
        )
    return Payers(
        settings.accounts,
        hash_secret=settings.hash_secret.get_secret_value(),
        directory=directory,
        accounts_source=accounts_source,
        credential_source=credential_source,
        known_keys_only=settings.known_keys_only,
    )


def read_accounts_file(settings: Settings, read: Callable[..., _T]) -> _T | None:
    """What is read of the file of accounts, if the settings name one. Raises SettingsError."""
    if settings.accounts_file is None:
        return None
    try:
        return read(settings.accounts_file)
    except ValueError as error:
        raise SettingsError(f"BUDGET_ACCOUNTS_FILE='{settings.accounts_file}': {error}") from None


def price_book(settings: Settings, price_source: PriceSource | None = None, *, is_gateway: bool = False) -> PriceBook:
    """The prices by the settings; a gateway logs what is unlikely of its own. Raises SettingsError."""
    try:
        own = load_prices(settings.prices) if settings.prices is not None else {}
    except ValueError as error:
        raise SettingsError(f"BUDGET_PRICES='{settings.prices}': {error}") from None
    for warning in unlikely_prices(own)[:MOST_TOLD] if is_gateway else ():
        _log.warning("BUDGET_PRICES: %s", warning)
    litellm = _litellm_map(settings.litellm_prices)
    return PriceBook(
        own, unknown=settings.unknown_model, source=price_source, lists=[litellm] if litellm is not None else []
    )


def limit_warnings(settings: Settings, payers: Payers, prices: PriceBook) -> Iterator[str]:
    """What of BUDGET_LIMITS binds nobody, in a line each."""
    yield from payers.warnings_for(settings.limits)
    yield from warnings_for_models((rule.pattern for rule in settings.limits), prices)


def _litellm_map(when: LiteLLMPrices) -> PriceMap | None:
    # Never by importing it: that takes seconds, and asks the network for its map.
    match when:
        case LiteLLMPrices.AUTO:
            return imported_map()
        case LiteLLMPrices.INSTALLED:
            return imported_map() or installed_map()
        case LiteLLMPrices.OFF:
            return None


def retention_of(settings: Settings) -> Retention:
    """How long the store remembers, by the settings."""
    return Retention(
        remember_ms=settings.remember_s * 1000,
        counters_ms=settings.retention_days * 86_400_000,
        journal_max=settings.journal_max,
    )
