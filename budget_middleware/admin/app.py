"""The admin app: routes behind their gate, as one ASGI app that a gateway mounts, or anybody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.admin.access import Access
from budget_middleware.admin.api import api_router
from budget_middleware.admin.bodies import BoundedBodies
from budget_middleware.admin.context import keep_context
from budget_middleware.admin.gate import Gate
from budget_middleware.admin.pages import is_page_of, page_routes, with_slash
from budget_middleware.admin.problems import add_problem_handlers
from budget_middleware.admin.security_headers import SecurityHeaders
from budget_middleware.opening import require_async
from budget_middleware.operations.context import OperatorContext, lasting_context
from budget_middleware.operations.operators import OperatorSource
from budget_middleware.settings import SettingsError
from budget_middleware.settings_loading import load


class AdminApp:
    """The API and the pages over one context, which is the caller's to close."""

    def __init__(self, context: OperatorContext, *, operator_source: OperatorSource | None = None) -> None:
        self._context = context
        self.access = Access(context.settings, operator_source)
        routes = FastAPI(
            title="budget-middleware",
            summary="What operators ask of a ledger of LLM budgets, and what they may change.",
            version="1",
            openapi_url=None,
            # Both load their scripts from elsewhere.
            docs_url=None,
            redoc_url=None,
            # A path with a slash too many is none of ours.
            redirect_slashes=False,
            lifespan=self._live,
        )
        keep_context(routes, context)
        add_problem_handlers(routes, context.settings)
        routes.include_router(api_router)
        routes.add_route("/openapi.json", self._describe, include_in_schema=False)
        pages = page_routes(context, self.access)
        routes.router.routes.extend(pages)
        gated: ASGIApp = Gate(routes, self.access, is_open=is_page_of(pages))
        self._app: ASGIApp = SecurityHeaders(with_slash(BoundedBodies(gated)))

    async def _describe(self, request: Request) -> Response:
        """The OpenAPI description, which takes a gateway too long to be made in its event loop."""
        description = await run_in_threadpool(request.app.openapi)
        return JSONResponse({**description, "servers": [{"url": request.scope.get("root_path") or "/"}]})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def _live(self, _: FastAPI) -> AsyncIterator[None]:
        """Only where it is served by itself: a mounted app hears of no lifespan."""
        yield
        await self.aclose()

    async def aclose(self, *, timeout_s: float = 10.0) -> None:
        """Let go of connections; they are opened again where something is asked all the same."""
        await self._context.ledger.drain(timeout_s=timeout_s)


def admin_app(*, operator_source: OperatorSource | None = None, **settings: Any) -> AdminApp:
    """The admin API by itself, to be mounted in any app or served as one; settings as for the middleware.

    It opens the store that the gateways share: SettingsError for `memory://`, and where nobody could use it since
    neither a token is set nor an ``operator_source`` named.
    """
    loaded = load(**settings)
    require_async("operator_source", operator_source)
    if operator_source is None and not loaded.has_admin_token:
        raise SettingsError("BUDGET_ADMIN_TOKEN: not set, so that nobody could use admin_app(); set it")
    return AdminApp(lasting_context(loaded), operator_source=operator_source)
