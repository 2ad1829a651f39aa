"""Who sees a page and who may change something there: signed in, from our own page, with the token of its form."""

import hashlib
import time

import httpx
import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.admin.sessions import COOKIE, SESSION_S, Sessions
from tests.admin.admin_gateway import READ, WRITE
from tests.admin.conftest import OpenClient
from tests.admin.pages_client import csrf_of, signed_in

PAGES = ["/", "/account?name=key:0123456789abcdef", "/reservations", "/refusals", "/limits", "/alerts", "/doctor"]


@pytest.fixture
async def browser(stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    return await signed_in(stranger, WRITE)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_leads_strangers_to_sign_in_and_back(stranger: httpx.AsyncClient, path: str):
    answer = await stranger.get(f"/budget{path}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/budget/sign-in")
    signing = await stranger.post(answer.headers["location"], data={"token": WRITE})
    assert (signing.status_code, signing.headers["location"]) == (303, f"/budget{path}")


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "/sign-in", "x", "/\n"]
)
async def test_signing_in_leads_nowhere_else(stranger: httpx.AsyncClient, wanted: str):
    answer = await stranger.post("/budget/sign-in", params={"next": wanted}, data={"token": WRITE})
    assert answer.headers["location"] == "/budget/"


async def test_the_cookie_is_for_our_pages_alone(stranger: httpx.AsyncClient):
    answer = await stranger.post("/budget/sign-in", data={"token": WRITE})
    (cookie,) = answer.headers.get_list("set-cookie")
    said = {part.strip().partition("=")[0].lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite", "path", "max-age"} <= said
    assert "samesite=strict" in cookie.lower()
    assert WRITE not in cookie


async def test_a_wrong_token_is_no_way_in_and_is_not_repeated(stranger: httpx.AsyncClient):
    answer = await stranger.post("/budget/sign-in", data={"token": "wrong-token-of-somebody"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert "wrong-token-of-somebody" not in answer.text
    for _ in range(20):
        answer = await stranger.post("/budget/sign-in", data={"token": "wrong"})
    assert answer.status_code == 429


async def test_a_session_that_is_over_leads_to_sign_in(gateway: BudgetMiddleware, open_client: OpenClient):
    client = open_client(gateway)
    client.cookies.set(COOKIE, f"write.1.2.{'0' * 32}.{'0' * 64}")
    assert (await client.get("/budget/limits")).status_code == 303
    assert (await client.get("/budget/events")).status_code == 401
    assert (await client.post("/budget/limits", data={"what": "set"})).status_code == 303


async def test_a_page_renews_the_session_of_whoever_loads_it(gateway: BudgetMiddleware, open_client: OpenClient):
    key = hashlib.sha256(f"{WRITE} {READ}".encode()).digest()
    half_an_hour_ago = Sessions(key=key, clock=lambda: time.time() - SESSION_S / 2)
    client = open_client(gateway)
    client.cookies.set(COOKIE, half_an_hour_ago.begin("write"), domain="gateway.local", path="/budget")
    page = await client.get("/budget/limits")
    (cookie,) = page.headers.get_list("set-cookie")
    assert "httponly" in cookie.lower()
    again = await client.get("/budget/limits")
    assert (again.status_code, again.headers.get_list("set-cookie")) == (200, [])
    answer = await client.post("/budget/limits", data={**SET, "csrf": csrf_of(page)})
    assert answer.headers["location"] == "/budget/limits?done=set"


async def test_whoever_signs_out_is_out(browser: httpx.AsyncClient):
    page = await browser.get("/budget/limits")
    await browser.post("/budget/sign-out", data={"csrf": csrf_of(page)})
    assert (await browser.get("/budget/limits")).status_code == 303


SET = {"account": "team:a", "limits": "5/month", "reason": "a test", "is_new": "1", "what": "set"}


async def limits_of(browser: httpx.AsyncClient) -> str:
    return (await browser.get("/budget/limits")).text.partition("Runtime limits")[2]


async def test_a_form_sets_a_limit(browser: httpx.AsyncClient):
    csrf = csrf_of(await browser.get("/budget/limits"))
    answer = await browser.post("/budget/limits", data={**SET, "csrf": csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/budget/limits?done=set")
    assert "5.00/month" in await limits_of(browser)
    assert "by admin token: a test" in await limits_of(browser), "who changed it, and why, is kept"


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({"csrf": ""}, {}),
        ({"csrf": "0" * 64}, {}),
        ({}, {"sec-fetch-site": "cross-site"}),
        ({}, {"sec-fetch-site": "same-site"}),
        ({}, {"origin": "http://evil.example"}),
    ],
    ids=["without a token", "wrong token", "other site", "other host of the site", "other origin"],
)
async def test_a_form_of_others_changes_nothing(browser: httpx.AsyncClient, data, headers):
    csrf = csrf_of(await browser.get("/budget/limits"))
    answer = await browser.post("/budget/limits", data={**SET, "csrf": csrf, **data}, headers=headers)
    assert answer.status_code == 403
    assert "5.00/month" not in await limits_of(browser)


@pytest.mark.parametrize("path", ["/limits", "/reservations/release"])
async def test_the_read_token_changes_nothing_and_is_offered_nothing(stranger: httpx.AsyncClient, path: str):
    reader = await signed_in(stranger, READ)
    page = await reader.get("/budget/limits")
    assert "Set the limit" not in page.text
    assert "read only" in page.text
    answer = await reader.post(f"/budget{path}", data={**SET, "csrf": csrf_of(page), "id": "0" * 32})
    assert answer.status_code == 403
    assert "5.00/month" not in await limits_of(reader)


@pytest.mark.parametrize("field", ["reason", "account", "limits"])
async def test_a_form_that_lacks_a_field_comes_back_with_the_others(browser: httpx.AsyncClient, field: str):
    csrf = csrf_of(await browser.get("/budget/limits"))
    answer = await browser.post("/budget/limits", data={**SET, "csrf": csrf, field: ""})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert all(SET[each] in answer.text for each in ("reason", "account", "limits") if each != field)
    assert "5.00/month" not in await limits_of(browser)


async def test_an_account_that_nobody_used_has_to_be_confirmed(browser: httpx.AsyncClient):
    csrf = csrf_of(await browser.get("/budget/limits"))
    answer = await browser.post("/budget/limits", data={**SET, "csrf": csrf, "is_new": ""})
    assert (answer.status_code, 'name="is_new"' in answer.text) == (409, True)


async def test_no_page_needs_anything_from_elsewhere(browser: httpx.AsyncClient):
    for path in PAGES:
        page = await browser.get(f"/budget{path}")
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert not {"<style", " style=", " onclick=", "javascript:"} & set(page.text.split(">"))
        assert " style=" not in page.text
        assert "https://" not in page.text


async def test_the_mount_itself_leads_to_its_slash(stranger: httpx.AsyncClient):
    answer = await stranger.get("/budget")
    assert (answer.status_code, answer.headers["location"]) == (307, "/budget/")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_api_still_answers_strangers_401(stranger: httpx.AsyncClient):
    for path in ("/api", "/api/status", "/openapi.json"):
        assert (await stranger.get(f"/budget{path}")).status_code == 401
