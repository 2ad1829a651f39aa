"""Where the admin API is: below its path nothing is metered or reaches the app, and beside it nothing is ours."""

import json
import subprocess
import sys
from urllib.parse import unquote

import pytest

from budget_middleware import BudgetMiddleware
from tests.admin.admin_gateway import WRITE, bearer
from tests.admin.conftest import OpenClient, RecordingApp

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
BELOW = [
    "/budget/../v1/chat/completions",
    "/budget/%2e%2e/v1/chat/completions",
    "/budget/..%2Fv1%2Fchat%2Fcompletions",
    "/budget/%252e%252e/v1/chat/completions",
    "/budget//v1/chat/completions",
    "/budget/v1/chat/completions",
    "/%62udget/v1/chat/completions",
    "/budget/;/../../v1/chat/completions",
]
BESIDE = ["//budget/v1/chat/completions", "/budgets/v1/chat/completions", "/v1/../budget/v1/chat/completions"]
NOT_OURS = ["//budget/api/status", "/./budget/api/status", "/x/../budget/api/status", "/Budget/api/status", "/budgetx"]


async def send(app, path: str, *, method: str = "POST", token: str = WRITE, root_path: str = "", type_: str = "http"):
    """One request as a server hands it on, whose client does not normalise its path."""
    raw, sent = path.encode(), []
    headers = [(name.encode(), value.encode()) for name, value in bearer(token).items()]
    scope = {
        "type": type_,
        "method": method,
        "path": unquote(path),
        "raw_path": raw,
        "query_string": b"",
        "root_path": root_path,
        "headers": [*headers, (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
    }
    bodies = iter([{"type": "websocket.connect"}] if type_ == "websocket" else [])

    async def receive():
        return next(bodies, {"type": "http.request", "body": json.dumps(CHAT).encode(), "more_body": False})

    async def sink(message):
        sent.append(message)

    await app(scope, receive, sink)
    return sent


@pytest.mark.parametrize("token", [WRITE, ""], ids=["writer", "stranger"])
@pytest.mark.parametrize("path", BELOW)
async def test_nothing_below_the_path_reaches_the_app(gateway, served: RecordingApp, path: str, token: str):
    sent = await send(gateway, path, token=token)
    assert sent[0]["status"] == (404 if token else 401)
    assert served.scopes == []
    assert await gateway.ledger.store.counters() == []


@pytest.mark.parametrize("path", BESIDE)
async def test_beside_the_path_everything_is_metered_as_ever(gateway, served: RecordingApp, path: str):
    await send(gateway, path)
    assert len(served.scopes) == 1
    (counter,) = await gateway.ledger.store.counters()
    assert counter.counter.account.startswith("key:")


@pytest.mark.parametrize("path", NOT_OURS)
async def test_another_spelling_of_the_path_is_the_gateways_own(gateway, served: RecordingApp, path: str):
    await send(gateway, path, method="GET")
    assert len(served.scopes) == 1


@pytest.mark.parametrize(
    ("root_path", "path", "is_ours"),
    [
        ("", "/budget/api/status", True),
        ("/gw", "/gw/budget/api/status", True),
        ("/gw/", "/gw/budget/api/status", True),
        ("/gw", "/budget/api/status", True),
        ("/budget", "/budget/api/status", False),
        ("/budget", "/budget/budget/api/status", True),
        ("/g", "/gw/budget/api/status", False),
    ],
)
async def test_it_is_found_below_a_mount(gateway, served: RecordingApp, root_path: str, path: str, is_ours: bool):
    sent = await send(gateway, path, method="GET", root_path=root_path)
    assert (sent[0]["status"], len(served.scopes)) == (200, 0 if is_ours else 1)


async def test_a_handshake_below_the_path_is_refused(gateway, served: RecordingApp):
    for path in ("/budget/v1/realtime", "/budget/../v1/responses", "/budget"):
        sent = await send(gateway, path, type_="websocket")
        assert [message["type"] for message in sent] == ["websocket.close"]
    assert served.scopes == []


async def test_the_path_is_the_operators_to_choose(served: RecordingApp, open_client: OpenClient):
    client = open_client(BudgetMiddleware(served, admin_token=WRITE, admin_path="/ops/money"), WRITE)
    assert (await client.get("/ops/money/api/status")).json()["items"] == []
    assert (await client.get("/budget/api/status")).text == "{}"


async def test_without_a_token_the_path_is_the_gateways_own(served: RecordingApp, open_client: OpenClient):
    assert (await open_client(BudgetMiddleware(served)).get("/budget/api/status")).text == "{}"


async def test_with_the_guard_switched_off_figures_are_still_read(served: RecordingApp, open_client: OpenClient):
    client = open_client(BudgetMiddleware(served, admin_token=WRITE, mode="off"), WRITE)
    assert (await client.get("/budget/api/status")).status_code == 200


@pytest.mark.processes
def test_without_a_token_nothing_of_it_is_imported():
    """Nor are published prices, before a guard is made."""
    script = (
        "import sys; from budget_middleware import BudgetMiddleware, cli; early = 'genai_prices' in sys.modules;"
        "BudgetMiddleware(None);"
        "found = ('fastapi', 'jinja2', 'budget_middleware.admin.');"
        "print([early, *(name for name in sys.modules if name.startswith(found))])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[False]"


@pytest.mark.parametrize("missing", ["fastapi", "jinja2"])
async def test_without_the_extra_a_token_stops_the_server(monkeypatch, served: RecordingApp, missing: str):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        "budget_middleware.operations.admin_extra.find_spec", lambda name: None if name == missing else find(name)
    )
    guarded = BudgetMiddleware(served, admin_token=WRITE)
    told = f'BUDGET_ADMIN_TOKEN: {missing} is not installed: pip install "budget-middleware[admin]"'
    assert str(guarded._error) == told
    # Never a gateway that runs without the guard.
    sent = await send(guarded, "/v1/chat/completions", token="sk-1")
    assert (sent[0]["status"], served.scopes) == (500, [])
