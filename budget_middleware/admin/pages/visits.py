"""Who looks at a page, and whether a form may change something: if its sender is signed in, and it has our token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from budget_middleware.admin.access import Access, is_same_site
from budget_middleware.admin.gate import OPERATOR
from budget_middleware.admin.pages.rendering import render
from budget_middleware.admin.sessions import COOKIE
from budget_middleware.operations.operators import Operator
from budget_middleware.settings import Settings

REASON_MAX: Final = 200


class Refused(Exception):
    """A form that may change nothing: a status, and a sentence that says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def base_of(request: Request) -> str:
    """The path at which the admin app is mounted, which every link begins with."""
    return str(request.scope.get("root_path") or "").rstrip("/")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of an operator for a page."""

    request: Request
    operator: Operator
    csrf: str
    settings: Settings

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """The page, with what all of them show."""
        html = render(
            template,
            base=base_of(self.request),
            operator=self.operator,
            csrf=self.csrf,
            namespace=self.settings.namespace,
            mode=self.settings.mode,
            timezone=self.settings.timezone,
            path=self.request.scope["path"].removeprefix(base_of(self.request)),
            **values,
        )
        return HTMLResponse(html, status)

    def go_to(self, path: str, **query: str) -> Response:
        """After a change the browser loads another page, so that loading it again changes nothing."""
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return RedirectResponse(f"{base_of(self.request)}{path}{'?' if text else ''}{text}", 303)


def visit_of(request: Request, access: Access, settings: Settings) -> Visit | None:
    """None for nobody: the page that signs in is shown then."""
    operator = request.scope["state"].get(OPERATOR)
    if operator is None:
        return None
    cookie = request.cookies.get(COOKIE, "")
    return Visit(request, operator, access.sessions.csrf_token(cookie) if cookie else "", settings)


async def form_of(visit: Visit, access: Access) -> FormData:
    """The fields of a form that may change something; Refused for any other."""
    if not visit.operator.may_write:
        raise Refused(403, "Your token reads; a change needs the other one.")
    return await own_form_of(visit.request, access)


async def own_form_of(request: Request, access: Access) -> FormData:
    """The fields of a form of our own page; Refused for any other."""
    if not is_same_site(request.scope):
        raise Refused(403, "A form is accepted from our own page alone.")
    form = await request.form(max_files=0, max_fields=50)
    cookie = request.cookies.get(COOKIE, "")
    given = form.get("csrf")
    if access.sessions.role_of(cookie) and not (
        isinstance(given, str) and access.sessions.is_csrf_token(given, cookie)
    ):
        raise Refused(403, "The form is of an earlier session: load its page again.")
    return form


def text_of(form: Mapping[str, Any], field: str) -> str:
    """A field of a form without the white space around it; empty where it is missing."""
    value = form.get(field, "")
    return value.strip() if isinstance(value, str) else ""


def reason_of(form: Mapping[str, Any]) -> str:
    """Why a change is made, which the journal keeps; Refused without one."""
    reason = " ".join(text_of(form, "reason").split())
    if not reason or len(reason) > REASON_MAX:
        raise Refused(422, f"Say in 1 to {REASON_MAX} characters why: the journal keeps it.")
    return reason
