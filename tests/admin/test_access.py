"""Who may use the admin API: nobody without a token, none but writers for a change, and nobody by guessing."""

import hashlib
from typing import Any

import httpx
import pytest

from budget_middleware import BudgetMiddleware, Operator, SettingsError
from budget_middleware.admin import AdminApp, admin_app
from budget_middleware.admin.access import Access
from budget_middleware.admin.sessions import COOKIE, LONGEST_SESSION_S, RENEWED_EVERY_S, SESSION_S, Sessions
from budget_middleware.admin.wrong_tokens import CLIENTS_MAX, TRIES, TRY_AGAIN_S, TooManyWrongTokens, WrongTokens
from budget_middleware.settings_loading import load
from budget_middleware.testing import MovableClock
from tests.admin.admin_gateway import READ, WRITE, bearer
from tests.admin.conftest import OpenClient, RecordingApp

STATUS = "/budget/api/status"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", f"Basic {WRITE}")],
        [("authorization", WRITE)],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer {WRITE} {WRITE}")],
        [("authorization", f"Bearer {WRITE}"), ("authorization", f"Bearer {WRITE}")],
        [("x-api-key", WRITE)],
        [("authorization", b"Bearer \xff\xfe")],
        [("cookie", f"{COOKIE}={WRITE}")],
    ],
    ids=["none", "wrong", "basic", "bare", "empty", "two words", "twice", "elsewhere", "bytes", "cookie"],
)
async def test_who_has_no_token_gets_401_without_a_detail(stranger: httpx.AsyncClient, headers):
    answer = await stranger.get(STATUS, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json() == {"type": "about:blank", "title": "Unauthorized", "status": 401}
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/api", "/api/nothing", "/openapi.json", "/docs", "/api/status/"])
async def test_strangers_do_not_learn_which_routes_there_are(stranger: httpx.AsyncClient, path: str):
    assert (await stranger.get(f"/budget{path}")).status_code == 401
    assert (await stranger.post(f"/budget{path}")).status_code == 401


async def test_both_tokens_read(writer: httpx.AsyncClient, reader: httpx.AsyncClient):
    for client in (writer, reader):
        answer = await client.get(STATUS)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_reader_changes_nothing(reader: httpx.AsyncClient, method: str):
    answer = await reader.request(method, "/budget/api/limits/key", json={})
    assert answer.status_code == 403
    assert answer.json()["detail"] == "this token reads; a change needs the other one"


@pytest.mark.parametrize("header", ["Bearer ", "Bearer", "Basic eDp5", ""])
async def test_a_token_that_is_not_set_is_nobodys(served: RecordingApp, open_client: OpenClient, header: str):
    some: list[dict[str, Any]] = [{"admin_read_token": READ}, {"admin_token": WRITE}]
    for settings in some:
        client = open_client(BudgetMiddleware(served, **settings))
        assert (await client.get(STATUS, headers={"authorization": header})).status_code == 401


async def test_a_client_that_guesses_is_not_looked_at_any_more(stranger: httpx.AsyncClient):
    guesses = [(await stranger.get(STATUS, headers=bearer(f"guess-{n}"))).status_code for n in range(TRIES + 2)]
    assert guesses == [401] * TRIES + [429] * 2
    # The right one says no more than a wrong one would.
    answer = await stranger.get(STATUS, headers=bearer(WRITE))
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= TRY_AGAIN_S


async def test_another_client_is_not_held_up(gateway: BudgetMiddleware, open_client: OpenClient):
    mallory = open_client(gateway, "guess", client=("10.0.0.1", 1))
    for _ in range(TRIES + 1):
        await mallory.get(STATUS)
    assert (await open_client(gateway, WRITE, client=("10.0.0.2", 1)).get(STATUS)).status_code == 200


def test_tries_come_back_one_by_one():
    clock = MovableClock(1_000_000)
    tries = WrongTokens(lambda: clock() / 1000)
    for _ in range(TRIES):
        tries.require_tries("a")
        tries.count("a")
    with pytest.raises(TooManyWrongTokens):
        tries.require_tries("a")
    clock.advance(s=int(TRY_AGAIN_S))
    tries.require_tries("a")
    tries.count("a")
    with pytest.raises(TooManyWrongTokens):
        tries.require_tries("a")


def test_clients_without_end_are_forgotten():
    tries = WrongTokens()
    for n in range(CLIENTS_MAX + 10):
        tries.count(f"client-{n}")
    assert len(tries._empty_at) == CLIENTS_MAX


def test_a_session_is_its_cookie_and_ends():
    clock = MovableClock(1_000_000_000)
    sessions = Sessions(key=b"k" * 32, clock=lambda: clock() / 1000)
    cookie = sessions.begin("read")
    assert sessions.role_of(cookie) == "read"
    assert sessions.role_of(cookie.replace("read", "write")) is None
    assert Sessions(key=b"j" * 32, clock=lambda: clock() / 1000).role_of(cookie) is None
    assert sessions.is_csrf_token(sessions.csrf_token(cookie), cookie)
    assert not sessions.is_csrf_token(sessions.csrf_token(sessions.begin("read")), cookie)
    clock.advance(s=SESSION_S)
    assert (sessions.role_of(cookie), sessions.renewed(cookie)) == (None, None)


async def test_who_may_read_cannot_make_a_session_that_writes(served: RecordingApp, open_client: OpenClient):
    """All that the key of sessions follows from is the read token, where no other is set."""
    guarded = BudgetMiddleware(served, admin_read_token=READ, limits="key=10/day")
    forger = Sessions(key=hashlib.sha256(f" {READ}".encode()).digest())
    for cookie, status in ((forger.begin("read"), 200), (forger.begin("write"), 401)):
        client = open_client(guarded)
        client.cookies.set(COOKIE, cookie, domain="gateway.local", path="/budget")
        assert (await client.get(STATUS)).status_code == status
    await guarded.ledger.drain()


def test_a_session_that_is_used_goes_on_with_the_same_forms_until_its_longest():
    clock = MovableClock(1_000_000_000)
    sessions = Sessions(key=b"k" * 32, clock=lambda: clock() / 1000)
    first = cookie = sessions.begin("write")
    clock.advance(s=RENEWED_EVERY_S - 1)
    assert sessions.renewed(cookie) is None
    for _ in range(LONGEST_SESSION_S // (SESSION_S // 2) - 2):
        clock.advance(s=SESSION_S // 2)
        renewed = sessions.renewed(cookie)
        assert renewed is not None
        cookie = renewed
    assert (sessions.role_of(first), sessions.role_of(cookie)) == (None, "write")
    assert sessions.csrf_token(cookie) == sessions.csrf_token(first)
    clock.advance(s=SESSION_S - RENEWED_EVERY_S)
    assert sessions.renewed(cookie) is None
    clock.advance(s=SESSION_S)
    assert sessions.role_of(cookie) is None


async def test_a_session_writes_with_its_own_csrf_token_from_our_own_page(gateway, stranger: httpx.AsyncClient):
    sessions = Access(load(admin_token=WRITE, admin_read_token=READ)).sessions
    cookie = sessions.begin("write")
    signed_in = {"cookie": f"{COOKIE}={cookie}"}
    own = {**signed_in, "x-csrf-token": sessions.csrf_token(cookie)}
    path = "/budget/api/nothing"
    assert (await stranger.get(STATUS, headers=signed_in)).status_code == 200
    assert (await stranger.post(path, headers=signed_in)).status_code == 403
    assert (await stranger.post(path, headers={**own, "sec-fetch-site": "cross-site"})).status_code == 403
    assert (await stranger.post(path, headers={**own, "sec-fetch-site": "same-site"})).status_code == 403
    assert (await stranger.post(path, headers={**own, "origin": "https://evil.example"})).status_code == 403
    for said in ({}, {"sec-fetch-site": "same-origin"}, {"origin": "http://gateway"}):
        assert (await stranger.post(path, headers={**own, **said})).status_code == 404


async def test_the_gateways_own_login_lets_its_users_in(served: RecordingApp, open_client: OpenClient):
    async def operator_source(scope):
        users = {b"alice": Operator("alice", may_write=True), b"bob": Operator("bob")}
        return users.get(dict(scope["headers"]).get(b"x-user", b""))

    client = open_client(BudgetMiddleware(served, operator_source=operator_source))
    assert (await client.get(STATUS)).status_code == 401
    assert (await client.get(STATUS, headers={"x-user": "bob"})).status_code == 200
    assert (await client.post("/budget/api/x", headers={"x-user": "bob"})).status_code == 403
    assert (await client.post("/budget/api/x", headers={"x-user": "alice"})).status_code == 404
    from_elsewhere = {"x-user": "alice", "sec-fetch-site": "cross-site"}
    assert (await client.post("/budget/api/x", headers=from_elsewhere)).status_code == 403


def test_equal_tokens_stop_the_server_and_are_not_shown():
    with pytest.raises(SettingsError, match=r"^BUDGET_ADMIN_READ_TOKEN: accepted: another text than") as error:
        load(admin_token="hunter2", admin_read_token="hunter2")
    assert "hunter2" not in str(error.value)


def test_by_itself_it_needs_a_token_and_a_store_that_others_see(tmp_path):
    with pytest.raises(SettingsError, match=r"^BUDGET_ADMIN_TOKEN: not set"):
        admin_app(store_url=f"sqlite:///{tmp_path}/budget.db")
    with pytest.raises(SettingsError, match="memory://"):
        admin_app(admin_token=WRITE, store_url="memory://")


async def test_by_itself_it_is_an_app_to_be_mounted(tmp_path, open_client: OpenClient):
    app = admin_app(admin_token=WRITE, store_url=f"sqlite:///{tmp_path}/budget.db")
    assert isinstance(app, AdminApp)
    assert (await open_client(app, WRITE).get("/api/status")).json()["items"] == []
    await app.aclose()
