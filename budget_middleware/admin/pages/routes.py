"""The routes of the pages, and what each shows. Who is not signed in is sent to the page for that."""

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.admin.access import Access
from budget_middleware.admin.context import snapshot_of
from budget_middleware.admin.pages.accounts_page import accounts_page
from budget_middleware.admin.pages.feed import Feed
from budget_middleware.admin.pages.limits_page import change_limits, limits_page
from budget_middleware.admin.pages.live_parts import LiveParts
from budget_middleware.admin.pages.page_contents import (
    ALERTS_MAX,
    HOLDS_MAX,
    account_story,
    latest_changes,
    shown_refusals,
)
from budget_middleware.admin.pages.rendering import STATIC_FILES
from budget_middleware.admin.pages.signing_in import set_session, sign_in, sign_out
from budget_middleware.admin.pages.visits import Refused, Visit, base_of, form_of, reason_of, text_of, visit_of
from budget_middleware.admin.sessions import COOKIE
from budget_middleware.core.payers.accounts import parse_account
from budget_middleware.operations.accounts import warnings_for
from budget_middleware.operations.alerts import read_alerts
from budget_middleware.operations.context import OperatorContext, no_answer, require_ready
from budget_middleware.operations.doctor import Health, examine, next_step
from budget_middleware.operations.errors import OperationError, StoreRefused, StoreUnavailable
from budget_middleware.operations.holds import list_holds, release_hold
from budget_middleware.operations.reasons import reason_by
from budget_middleware.operations.reservation_explanation import explain_reservation
from budget_middleware.operations.reservation_sentences import event_sentence

_STATIC: Final = "/static/"
_ID_CHARS_MAX: Final = 100
_ACCOUNT_CHARS_MAX: Final = 2_000

Handler = Callable[[Visit], Awaitable[Response]]


def is_page_of(routes: Iterable[Route]) -> Callable[[str], bool]:
    """Whether a path below the mount is a page's: those lead a browser to sign in, where all else answers 401."""
    paths = {route.path for route in routes}
    return lambda path: path in paths or path.startswith(_STATIC)


def with_slash(app: ASGIApp) -> ASGIApp:
    """Leads a browser that asks for the mount itself to its slash: the links of the pages are relative to it."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        root = str(scope.get("root_path") or "").rstrip("/")
        is_entrance = root and scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and scope["path"] == root
        await (RedirectResponse(f"{root}/") if is_entrance else app)(scope, receive, send)

    return respond


def page_routes(context: OperatorContext, access: Access) -> list[Route]:
    return _Pages(context, access).routes()


class _Pages:
    """What the pages of one worker share: a feed of what changes."""

    def __init__(self, context: OperatorContext, access: Access) -> None:
        self._context = context
        self._access = access
        live = LiveParts(context)
        self._feed = Feed(live.look)

    def routes(self) -> list[Route]:
        get, post = ["GET"], ["POST"]
        return [
            Route("/", self._behind_login(self._accounts), methods=get),
            Route("/account", self._behind_login(self._account), methods=get),
            Route("/reservation", self._behind_login(self._reservation), methods=get),
            Route("/reservations", self._behind_login(self._reservations), methods=get),
            Route("/reservations/release", self._behind_login(self._release), methods=post),
            Route("/refusals", self._behind_login(self._refusals), methods=get),
            Route("/limits", self._behind_login(self._limits), methods=get),
            Route("/limits", self._behind_login(self._change_limits), methods=post),
            Route("/alerts", self._behind_login(self._alerts), methods=get),
            Route("/doctor", self._behind_login(self._doctor), methods=get),
            Route("/events", self._events, methods=get),
            Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=post),
            Route("/static/{version}/{name}", _static, methods=get),
        ]

    def _behind_login(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler for an operator, whose session it renews; for others the way to sign in."""

        async def handle(request: Request) -> Response:
            visit = visit_of(request, self._access, self._context.settings)
            if visit is None:
                wanted = request.url.path.removeprefix(base_of(request))
                query = f"?{request.url.query}" if request.url.query else ""
                back = f"?next={quote(wanted + query, safe='')}" if request.method == "GET" and wanted != "/" else ""
                return RedirectResponse(f"{base_of(request)}/sign-in{back}", 303)
            response = await self._answer(visit, handler)
            if renewed := self._access.sessions.renewed(request.cookies.get(COOKIE, "")):
                set_session(response, request, renewed)
            return response

        return handle

    async def _answer(self, visit: Visit, handler: Handler) -> Response:
        """The handler's answer; what goes wrong is told on a page."""
        try:
            await require_ready(self._context)
            return await handler(visit)
        except StoreUnavailable as error:
            why = no_answer(self._context.settings, error)
            return visit.page("trouble.html", status=503, title="The store does not answer", why=why)
        except StoreRefused as error:
            return visit.page("trouble.html", status=503, title="The store refused", why=str(error))
        except (Refused, OperationError) as error:
            status = error.status if isinstance(error, Refused) else 422
            return visit.page("trouble.html", status=status, title="Nothing was changed", why=str(error))

    async def _accounts(self, visit: Visit) -> Response:
        snapshot = await snapshot_of(visit.request).read()
        entries = await latest_changes(self._context)
        return accounts_page(visit, snapshot, entries, timezone=self._context.settings.timezone)

    async def _account(self, visit: Visit) -> Response:
        name = visit.request.query_params.get("name", "")[:_ACCOUNT_CHARS_MAX]
        try:
            account = parse_account(name)
        except ValueError as error:
            return visit.page("trouble.html", status=404, title="That is no account", why=str(error))
        story = await account_story(self._context, account)
        if story is None:
            why = "It has no counter, limit, reservation or refusal. "
            why += " ".join(await warnings_for(account, self._context))
            return visit.page("trouble.html", status=404, title=f"Nothing is known of {account}", why=why)
        return visit.page("account.html", account=account, story=story)

    async def _reservation(self, visit: Visit) -> Response:
        id_ = visit.request.query_params.get("id", "")[:_ID_CHARS_MAX]
        template = self._context.settings.trace_url or None
        explained = await explain_reservation(self._context, id_, trace_url=template)
        if explained is None:
            why = "No entry of the journal, reservation or refusal has that id; BUDGET_JOURNAL_MAX says what is kept."
            return visit.page("trouble.html", status=404, title=f"Nothing is known of {id_}", why=why)
        events = [(event, event_sentence(event)) for event in explained.events]
        return visit.page("reservation.html", explained=explained, events=events)

    async def _reservations(self, visit: Visit) -> Response:
        holds = await list_holds(self._context)
        return visit.page("reservations.html", holds=holds[:HOLDS_MAX], total=len(holds), done=_done(visit))

    async def _release(self, visit: Visit) -> Response:
        form = await form_of(visit, self._access)
        reason = reason_by(visit.operator.name, reason_of(form))
        released = await release_hold(self._context, text_of(form, "id"), reason=reason)
        snapshot_of(visit.request).forget()
        if released.why_not:
            raise OperationError(f"It was not released: {released.why_not}.")
        return visit.go_to("/reservations", done="released")

    async def _refusals(self, visit: Visit) -> Response:
        account = visit.request.query_params.get("account", "")[:_ACCOUNT_CHARS_MAX]
        refusals = await shown_refusals(self._context, account or None)
        return visit.page("refusals.html", refusals=refusals, account=account)

    async def _limits(self, visit: Visit) -> Response:
        return await limits_page(visit, self._context)

    async def _change_limits(self, visit: Visit) -> Response:
        form = await form_of(visit, self._access)
        response = await change_limits(visit, self._context, form)
        snapshot_of(visit.request).forget()
        return response

    async def _doctor(self, visit: Visit) -> Response:
        findings = await examine(os.environ, self._context.settings)
        found = {finding.status for finding in findings}
        worst = next((each for each in (Health.FAIL, Health.WARN) if each in found), Health.OK)
        step = next_step(findings, os.environ)
        return visit.page("doctor.html", findings=findings, worst=worst, next_step=step)

    async def _alerts(self, visit: Visit) -> Response:
        report = await read_alerts(self._context)
        return visit.page("alerts.html", report=report, alerts=report.alerts[:ALERTS_MAX])

    async def _events(self, request: Request) -> Response:
        visit = visit_of(request, self._access, self._context.settings)
        if visit is None:
            return Response(status_code=401)
        cookie = request.cookies.get(COOKIE, "")
        is_session = self._access.sessions.role_of(cookie) is not None

        def may_stay() -> bool:
            return not is_session or self._access.sessions.role_of(cookie) is not None

        # A proxy that collects an answer before it passes it on would show nothing.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        stream = self._feed.listen(may_stay=may_stay)
        return StreamingResponse(stream, headers=headers, media_type="text/event-stream")

    async def _sign_in(self, request: Request) -> Response:
        return await sign_in(request, self._access, self._context.settings)

    async def _sign_out(self, request: Request) -> Response:
        return await sign_out(request, self._access)


def _done(visit: Visit) -> str:
    return {"released": "The reservation was released; nothing was charged."}.get(
        visit.request.query_params.get("done", ""), ""
    )


async def _static(request: Request) -> Response:
    found = STATIC_FILES.get(request.path_params["name"])
    if found is None:
        return Response(status_code=404)
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(found.content, media_type=found.media_type, headers=headers)
