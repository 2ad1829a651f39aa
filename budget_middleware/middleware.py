"""`BudgetMiddleware`: the ASGI callable. It holds what all requests share, and no state of a request."""

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.admin_mount import AdminMount, admin_mount_of
from budget_middleware.apis import session_dialect_of
from budget_middleware.apis.jobs.realtime_direct import SESSION_APIS, as_posted
from budget_middleware.apis.json_rpc.calls import rpc_apis
from budget_middleware.apis.protocol.base import Api
from budget_middleware.followers import Followers
from budget_middleware.ledger import BudgetHandle, Ledger, LimitsSource
from budget_middleware.lifespan import Lifespan, all_ended, call_at_sigterm
from budget_middleware.misconfigured import refuse_misconfigured
from budget_middleware.opening import ledger_of, limit_warnings, own_apis_of, payers_of
from budget_middleware.operations.operators import OperatorSource
from budget_middleware.payers.credentials import CredentialSource
from budget_middleware.payers.payers import AccountsSource, Payers
from budget_middleware.prices import PriceSource
from budget_middleware.request.admission import Admission
from budget_middleware.request.jobs.routes import JobRoutes
from budget_middleware.request.responder import BudgetResponder
from budget_middleware.request.scopes import FREE_METHODS, METERED, is_free, is_metered, with_handle
from budget_middleware.request.unmetered.cors import CorsWatch, report_inner_layer
from budget_middleware.request.unmetered.unmetered import UnmeteredRequests
from budget_middleware.routing import UNCLEAR, Router
from budget_middleware.servers import WRONG_LOOP, runs_asyncio, server_warnings
from budget_middleware.sessions.responder import SessionResponder
from budget_middleware.setting_types import Mode, StoreCheck
from budget_middleware.settings import Settings, SettingsError
from budget_middleware.settings_loading import load
from budget_middleware.store_check import find_problem, warn_of_problem
from budget_middleware.stores.base import Store

_log = logging.getLogger("budget_middleware")


class BudgetMiddleware:
    """Puts a spend budget in front of an LLM gateway.

    Settings come from keywords, else from `BUDGET_*` in the environment, else from the defaults; see
    `docs/configuration.md`. `limits_source` and `accounts_source` are async functions of an account and of a
    key's subject, `price_source` a plain one of a model's name, `credential_source` either, from an ASGI scope to the
    API key that the gateway reads there, `operator_source` an async one to who may use the admin API; `store` takes the
    place of `store_url`. `apis` are dialects of your own, which come before the built-in ones (`docs/own-dialect.md`).

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
        credential_source: CredentialSource | None = None,
        price_source: PriceSource | None = None,
        operator_source: OperatorSource | None = None,
        apis: Iterable[Api] = (),
        **settings: Any,
    ) -> None:
        self._app = app
        self._error: SettingsError | None = None
        self._own_apis: tuple[Api, ...] = ()
        self._admin: AdminMount | None = None
        self._lifespan_state: dict[str, Any] = {}
        self._was_stacked = False
        self._is_store_checked = False
        self._hears_of_shutdown = False
        try:
            self._own_apis = own_apis_of(apis)
            loaded = load(**settings)
            ledger = ledger_of(
                loaded, store=store, limits_source=limits_source, price_source=price_source, is_gateway=True
            )
            payers = payers_of(loaded, accounts_source=accounts_source, credential_source=credential_source)
            self._set_up(loaded, ledger, payers)
            self._followers = Followers(loaded, ledger, is_store_given=store is not None)
            self._admin = admin_mount_of(loaded, ledger, operator_source, is_store_given=store is not None)
        except SettingsError as error:
            self._error = error
            _log.error("%s", error)

    def _set_up(self, settings: Settings, ledger: Ledger, payers: Payers) -> None:
        self._settings = settings
        self._is_off = settings.mode is Mode.OFF
        # In shadow mode a path that is unclear is metered as far as it can be, and never refused.
        self._refuses_unclear = settings.mode is not Mode.SHADOW
        self.ledger = ledger
        priced = rpc_apis(ledger.prices.has_price_of_call, ledger.prices.priced_calls)
        self._router = Router(settings.route_rules, own_apis=(*self._own_apis, *priced))
        self._unmetered = UnmeteredRequests(self._pass, settings=settings, ledger=ledger)
        admission = Admission(settings, ledger=ledger, payers=payers, prices=ledger.prices)
        self._jobs = JobRoutes(self._app, settings=settings, ledger=ledger, quoting=admission.quoting)
        self._cors = CorsWatch(partial(report_inner_layer, router=self._router, ledger=ledger))
        self._responder = BudgetResponder(
            self._app, settings=settings, ledger=ledger, admission=admission, unmetered=self._unmetered
        )
        self._sessions = SessionResponder(self._app, settings, ledger, admission, self._responder.in_hand)
        for warning in limit_warnings(settings, payers, ledger.prices):
            _log.warning("BUDGET_LIMITS: %s", warning)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Meter a call of an LLM API. All else, and all while this does nothing, goes through `_respond_otherwise`."""
        if (
            scope["type"] != "http"
            or (scope["method"] in FREE_METHODS and is_free(scope))
            or self._error is not None
            or self._is_off
            or scope.get(METERED)
            or (self._admin is not None and self._admin.takes(scope))
        ):
            await self._respond_otherwise(scope, receive, send)
            return
        route = self._router.route_of(scope)
        api = route.api
        if api is not None and api.name in SESSION_APIS:
            api = as_posted(api)
            route = route._replace(api=api)
        is_unclear = route.kind is UNCLEAR and self._refuses_unclear
        if api is None or is_unclear or api is self._unmetered.refused_api:
            await self._unmetered.respond(route, scope, receive, send)
            return
        if not (self._is_store_checked and self._hears_of_shutdown):
            self._watch_worker()
        if scope.get("state") is self._lifespan_state:
            scope = self._unshared(scope)
        await self._responder.respond(route, scope, receive, send)

    async def _respond_otherwise(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._admin is not None and self._admin.takes(scope):
            await self._admin.respond(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._shake_hands(scope, receive, send)
        elif scope["type"] != "http" or is_free(scope):
            if scope.get("method") == "OPTIONS" and self._error is None and not self._is_off:
                send = self._cors.watch(scope, send)
            await self._pass(scope, receive, send)
        elif is_metered(scope):
            self._warn_of_stack()
            await self._app(scope, receive, send)
        elif self._error is not None:
            await self._refuse_misconfigured(scope, receive, send)
        else:
            # Switched off. The app may add to its handle: nothing of it is booked.
            handle = BudgetHandle("", self.ledger.prices)
            await self._app(with_handle(self._unshared(scope), handle), receive, send)

    def _watch_worker(self) -> None:
        """With the first metered request, where no lifespan has done so: look at the store, and for a shutdown."""
        self._check_store()
        if not self._hears_of_shutdown:
            self._hears_of_shutdown = True
            call_at_sigterm(self._report_what_may_be_lost)
            self._followers.start_alerts()

    async def _shake_hands(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Meter the calls of a WebSocket whose events are known; others pass, or BUDGET_UNMETERED refuses them."""
        if is_metered(scope) or (self._error is None and self._is_off):
            await self._app(scope, receive, send)
            return
        if self._error is not None:
            await self._refuse_misconfigured(scope, receive, send)
            return
        route = self._router.route_of(scope)
        dialect = session_dialect_of(route.api)
        if dialect is not None and not (route.kind is UNCLEAR and self._refuses_unclear):
            self._watch_worker()
            await self._sessions.respond(dialect, scope, receive, send, path=route.path)
        else:
            await self._unmetered.respond(route, scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a request that is not metered to the app; its answer may report the usage of an earlier one."""
        await (self._app if self._error else self._jobs.pass_on)(scope, receive, send)

    def _report_what_may_be_lost(self) -> None:
        self.ledger.report_live_holds(because="SIGTERM, and this server runs no lifespan")

    async def _refuse_misconfigured(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._error is not None
        await refuse_misconfigured(self._app, scope, receive, send, error=self._error, own_apis=self._own_apis)

    def _unshared(self, scope: Scope) -> Scope:
        """Some servers give every request the state of the lifespan itself, where nobody's handle may be left."""
        is_shared = scope.get("state") is self._lifespan_state
        return {**scope, "state": dict(self._lifespan_state)} if is_shared else scope

    def _warn_of_stack(self) -> None:
        if not self._was_stacked:
            self._was_stacked = True
            _log.warning("BudgetMiddleware is stacked twice: the outer one meters, this one does nothing; remove one")

    def _check_store(self) -> None:
        """Once a worker, beside its requests: at its start, or with its first request where there is no lifespan."""
        if not self._is_store_checked:
            self._is_store_checked = True
            if self._settings.store_check is not StoreCheck.OFF:
                self.ledger.run_in_background(warn_of_problem(self.ledger, self._settings))

    async def _require_store(self, receive: Receive, send: Send) -> None:
        """With BUDGET_STORE_CHECK=fail: stop the server where its store cannot do the work."""
        if self._settings.store_check is not StoreCheck.FAIL or self._is_off:
            return
        self._is_store_checked = True
        if problem := await find_problem(self.ledger, self._settings):
            await self.ledger.store.aclose()
            await receive()
            await send({"type": "lifespan.startup.failed", "message": problem})
            raise SettingsError(problem)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lifespan passes through; a wrong setting stops the server, and every obligation is met before it ends."""
        if self._error is None and not runs_asyncio():
            self._error = SettingsError(WRONG_LOOP)
        if self._error is not None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(self._error)})
            # As Starlette does: a test client would take a return for a start.
            raise self._error
        self._lifespan_state = scope.get("state", {})
        for warning in server_warnings():
            _log.warning("%s", warning)
        await self._require_store(receive, send)
        await Lifespan(receive, send, start=self._start, drain=self._drain).run(self._app, scope)

    def _start(self) -> None:
        self._hears_of_shutdown = True
        if not self._is_off:
            self.ledger.start()
            self._check_store()
            self._followers.start()

    async def _drain(self) -> None:
        timeout_s = self._settings.drain_timeout_s
        closing = [] if self._admin is None else [self._admin.aclose(timeout_s=timeout_s)]
        try:
            await self._followers.stop()
        finally:
            await all_ended(self.ledger.drain(timeout_s=timeout_s), *closing)
