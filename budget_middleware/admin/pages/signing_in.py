"""The form that signs in with a token, the cookie of a session, and its end."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from budget_middleware.admin.access import Access, client_of, is_same_site
from budget_middleware.admin.pages.rendering import render
from budget_middleware.admin.pages.visits import Refused, base_of, own_form_of, text_of
from budget_middleware.admin.sessions import COOKIE, SESSION_S
from budget_middleware.admin.wrong_tokens import TooManyWrongTokens
from budget_middleware.settings import Settings

_TOKEN_CHARS_MAX = 10_000


async def sign_in(request: Request, access: Access, settings: Settings) -> Response:
    """The form; with the right token the page that was asked for at first."""
    wanted = _below(request.query_params.get("next", "/"))
    if request.method != "POST":
        return _form(request, settings, wanted)
    if not is_same_site(request.scope):
        return _form(request, settings, wanted, status=403, mistake="The form is accepted from this page alone.")
    form = await request.form(max_files=0, max_fields=5)
    try:
        operator = access.operator_by_token(text_of(form, "token")[:_TOKEN_CHARS_MAX], client_of(request.scope))
    except TooManyWrongTokens as error:
        mistake = f"Too many wrong tokens: try again in {error.retry_after_s:.0f} s."
        return _form(request, settings, wanted, status=429, mistake=mistake)
    if operator is None:
        return _form(request, settings, wanted, status=401, mistake="That is not the token.")
    response = RedirectResponse(f"{base_of(request)}{wanted}", 303)
    set_session(response, request, access.sessions.begin("write" if operator.may_write else "read"))
    return response


def set_session(response: Response, request: Request, cookie: str) -> None:
    """Hand a browser the cookie of its session, for our pages alone."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=SESSION_S,
        path=base_of(request) or "/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


async def sign_out(request: Request, access: Access) -> Response:
    """Ends a session if its own page asks for that; leads to the form either way."""
    response = RedirectResponse(f"{base_of(request)}/sign-in", 303)
    try:
        await own_form_of(request, access)
    except Refused:
        return response
    response.delete_cookie(COOKIE, path=base_of(request) or "/")
    return response


def _form(request: Request, settings: Settings, wanted: str, *, status: int = 200, mistake: str = "") -> Response:
    html = render("sign_in.html", base=base_of(request), namespace=settings.namespace, wanted=wanted, mistake=mistake)
    return HTMLResponse(html, status)


def _below(path: str) -> str:
    """A path of ours to go back to; the first page for anything that may lead elsewhere."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours and not path.startswith(("/sign-", "/events")) else "/"
