"""`BudgetMiddleware`: the one line. It holds what all requests share, and nothing of any request."""

import logging
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.accounts_file import AccountsFile
from budget_middleware.admission import Admission
from budget_middleware.apis import APIS, is_free_route
from budget_middleware.apis.base import Api, Reason, Refusal
from budget_middleware.ledger import Ledger, LimitsSource
from budget_middleware.payers import AccountsSource, Payers
from budget_middleware.prices import PriceBook, load_prices
from budget_middleware.refusals import retry_headers, send_refusal
from budget_middleware.responder import BudgetResponder, CallTimes
from budget_middleware.setting_types import Mode, RouteRule
from budget_middleware.settings import Settings, SettingsError, load
from budget_middleware.stores.base import Retention, Store
from budget_middleware.stores.opening import MEMORY_URL, open_store

_FREE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_TEMPLATES_MAX = 1_000
_ID_SEGMENT = re.compile(r"/(?:[0-9]+|[0-9a-fA-F-]{16,}|[A-Za-z]+[_-][A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]*)(?=/|$)")

_log = logging.getLogger("budget_middleware")


class BudgetMiddleware:
    """Puts a spend budget in front of an LLM gateway.

    Settings come from keywords, else from `BUDGET_*` in the environment, else from the defaults; see
    `docs/configuration.md`. `limits_source` and `accounts_source` are async functions of an account and of a
    key's subject; `store` takes the place of `store_url`.

    A wrong setting does not raise here, where servers would swallow it: it stops the server at start-up, and
    where there is none, every metered request is answered 500.
    """

    def __init__(
        self,
        app: ASGIApp,
        # Positional: the type of Starlette's `add_middleware` asks for it.
        /,
        *,
        store: Store | None = None,
        limits_source: LimitsSource | None = None,
        accounts_source: AccountsSource | None = None,
        **settings: Any,
    ) -> None:
        self._app = app
        self._error: SettingsError | None = None
        self._unmetered: set[str] = set()
        try:
            self._set_up(load(**settings), store, limits_source, accounts_source)
        except SettingsError as error:
            self._error = error
            _log.error("%s", error)

    def _set_up(
        self,
        settings: Settings,
        store: Store | None,
        limits_source: LimitsSource | None,
        accounts_source: AccountsSource | None,
    ) -> None:
        self._settings = settings
        self._prices = _price_book(settings)
        self.ledger = Ledger(
            store
            or open_store(
                settings.store_url,
                namespace=settings.namespace,
                timeout_s=settings.store_timeout_s,
                retention=retention_of(settings),
            ),
            limits=settings.limits,
            limits_source=limits_source,
            timezone=settings.timezone,
            enforce=settings.mode is Mode.ENFORCE,
            lease_ms=settings.lease_ms,
            store_timeout_s=settings.store_timeout_s,
            spool_max=settings.spool_max,
            spool_path=settings.spool_path,
        )
        self._admission = Admission(
            settings,
            ledger=self.ledger,
            payers=_payers(settings, accounts_source),
            prices=self._prices,
        )
        self._call_times = CallTimes()
        if store is None and settings.store_url == MEMORY_URL and settings.mode is not Mode.OFF:
            _log.warning(
                "BUDGET_STORE_URL is memory://: every process counts for itself and forgets at restart;"
                " set redis://HOST:PORT/DB to count together"
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] != "http" or scope["method"] in _FREE_METHODS:
            await self._app(scope, receive, send)
        else:
            await self._meter(scope, receive, send)

    async def _meter(self, scope: Scope, receive: Receive, send: Send) -> None:
        api = self._api_at(scope["path"])
        if self._error is not None:
            if api is None:
                await self._app(scope, receive, send)
                return
            refusal = Refusal(status=500, reason=Reason.MISCONFIGURED, message=f"Budget settings: {self._error}")
            await send_refusal(api, refusal, send, headers=retry_headers(refusal.reason, call_s=0))
        elif self._settings.mode is Mode.OFF:
            await self._app(scope, receive, send)
        elif api is None:
            self._note_ungated(scope["path"])
            await self._app(scope, receive, send)
        else:
            responder = BudgetResponder(
                self._app,
                api,
                settings=self._settings,
                ledger=self.ledger,
                prices=self._prices,
                admission=self._admission,
                call_times=self._call_times,
            )
            await responder(scope, receive, send)

    def _api_at(self, path: str) -> Api | None:
        rules: tuple[RouteRule, ...] = () if self._error is not None else self._settings.routes
        for rule in rules:
            if path.rstrip("/").endswith(rule.suffix.rstrip("/")):
                return next((api for api in APIS if api.name == rule.api), None)
        return next((api for api in APIS if api.matches(path)), None)

    def _note_ungated(self, path: str) -> None:
        is_free = is_free_route(path)
        self.ledger.telemetry.count_request(status="free" if is_free else "unmetered", model="other")
        if is_free:
            return
        template = _ID_SEGMENT.sub("/{id}", path)[:200]
        if template not in self._unmetered and len(self._unmetered) < _TEMPLATES_MAX:
            self._unmetered.add(template)
            _log.info(
                "POST %r passes unmetered: no LLM API of ours is at that path (BUDGET_ROUTES adds one)",
                template,
            )

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lifespan passes through; a wrong setting stops the server, and what is owed is booked before it ends."""
        if self._error is not None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(self._error)})
            # As Starlette does: a test client would take a return for a start.
            raise self._error

        async def send_after_draining(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete" and self._settings.mode is not Mode.OFF:
                self.ledger.start()
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self.ledger.drain(timeout_s=self._settings.drain_timeout_s)
            await send(message)

        await self._app(scope, receive, send_after_draining)


def retention_of(settings: Settings) -> Retention:
    """How long the store remembers, by the settings."""
    return Retention(
        remember_ms=settings.remember_s * 1000,
        counters_ms=settings.retention_days * 86_400_000,
        journal_max=settings.journal_max,
    )


def _price_book(settings: Settings) -> PriceBook:
    try:
        own = load_prices(settings.prices) if settings.prices is not None else {}
    except ValueError as error:
        raise SettingsError(f"BUDGET_PRICES='{settings.prices}': {error}") from None
    return PriceBook(own, unknown=settings.unknown_model)


def _payers(settings: Settings, accounts_source: AccountsSource | None) -> Payers:
    try:
        directory = AccountsFile(settings.accounts_file) if settings.accounts_file is not None else None
    except ValueError as error:
        raise SettingsError(f"BUDGET_ACCOUNTS_FILE='{settings.accounts_file}': {error}") from None
    return Payers(
        settings.accounts,
        hash_secret=settings.hash_secret.get_secret_value(),
        directory=directory,
        accounts_source=accounts_source,
        known_keys_only=settings.known_keys_only,
    )
