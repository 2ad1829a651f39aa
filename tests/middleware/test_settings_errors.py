"""A wrong setting stops the server with one line; where nothing can be stopped, no metered request passes."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.testclient import TestClient

from budget_middleware import BudgetMiddleware, SettingsError
from budget_middleware.settings_loading import load
from budget_middleware.testing import ScriptedApp, call
from tests.request.wire import KEY, TOKEN, ask, bearer, completion
from tests.test_settings import BAD, BAD_PARTS

LINE = "BUDGET_LIMITS='key=ten': "

GATEWAYS = {
    "plain": """
        async def app(scope, receive, send):
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"served"})
        app = BudgetMiddleware(app)
    """,
    "add_middleware": """
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route
        async def served(request):
            return PlainTextResponse("served")
        app = Starlette(routes=[Route("/{path:path}", served, methods=["GET", "POST"])])
        app.add_middleware(BudgetMiddleware)
    """,
}


@pytest.fixture(params=GATEWAYS)
def gateway(request, tmp_path: Path) -> Path:
    path = tmp_path / "gateway.py"
    lines = [line[8:] for line in GATEWAYS[request.param].splitlines()]
    path.write_text("from budget_middleware import BudgetMiddleware\n" + "\n".join(lines))
    return path


def uvicorn_of(gateway: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "gateway:app", "--app-dir", str(gateway.parent), "--port", "0", *options],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.processes
def test_the_server_stops_with_one_line(gateway):
    server = uvicorn_of(gateway, BUDGET_LIMITS="key=ten")
    told, _ = server.communicate(timeout=20)
    assert server.returncode != 0
    assert LINE in told
    assert "Traceback" not in told
    assert "Uvicorn running" not in told


def added() -> Starlette:
    app = Starlette()
    app.add_middleware(BudgetMiddleware)
    return app


@pytest.mark.parametrize("make_app", [added, lambda: BudgetMiddleware(Starlette())], ids=["add_middleware", "plain"])
@pytest.mark.parametrize(("name", "text"), [*(bad[:2] for bad in BAD), *BAD_PARTS], ids=lambda value: value[:24])
async def test_every_wrong_value_stops_uvicorn(make_app, name, text, monkeypatch, caplog):
    """In this process, which is quicker than a new one for each; the server is none the less uvicorn."""
    monkeypatch.setenv(f"BUDGET_{name.upper()}", text)
    with pytest.raises(SettingsError) as wrong:
        load()
    server = uvicorn.Server(uvicorn.Config(make_app(), port=0, log_config=None))
    with caplog.at_level("INFO"), suppress(SystemExit):  # An older uvicorn ends its process later.
        await server.serve()
    assert not server.started
    assert server.lifespan.should_exit
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in told if record.name == "uvicorn.error"] == [
        str(wrong.value),
        "Application startup failed. Exiting.",
    ]
    assert not any(record.exc_info for record in told)


@pytest.mark.processes
def test_without_lifespan_no_metered_request_passes(gateway):
    server = uvicorn_of(gateway, "--lifespan", "off", BUDGET_LIMITS="key=ten")
    try:
        assert server.stdout is not None
        running = next(line for line in server.stdout if "Uvicorn running" in line)
        url = re.search(r"http://\S+", running)
        assert url is not None
        with httpx.Client(base_url=url[0], headers=bearer(), trust_env=False) as client:
            refused = client.post("/v1/chat/completions", json=ask())
            assert refused.status_code == 500
            assert LINE in refused.json()["error"]["message"]
            assert client.post("/v1/other").text == "served"
            assert client.get("/v1/chat/completions").text == "served"
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a limit": ({"limits": "key=ten"}, "BUDGET_LIMITS='key=ten'"),
    "no such setting": ({"limit": "key=1/day"}, "limit: no such setting; closest: limits"),
    "no file": ({"prices": "/no/such/file"}, "BUDGET_PRICES='/no/such/file'"),
    "a store": ({"store_url": "redis://user:pa55@host:port"}, "BUDGET_STORE_URL='redis://***@host:***'"),
}


WRONG |= {
    f"{name} of {type(source).__name__}": ({name: source}, f"{name}: accepted is {accepted}")
    for name, source, accepted in [
        ("limits_source", lambda account: "1/day", "an async function"),
        ("limits_source", "1/day", "an async function"),
        ("accounts_source", dict, "an async function"),
        ("price_source", "gpt-4o", "a function"),
    ]
}
URLS = {
    "redis://:canary@h/0?foo=bar": "BUDGET_STORE_URL='redis://***@h/0?foo=bar': the option 'foo' is not known; ",
    "rediss://h?ssl_ca=/x": "BUDGET_STORE_URL='rediss://h?ssl_ca=/x': the option 'ssl_ca' is not known; ",
    "redis://h/0?db=x": "BUDGET_STORE_URL='redis://h/0?db=x': ",
    "redis://h/0?socket_timeout=soon": "BUDGET_STORE_URL='redis://h/0?socket_timeout=soon': ",
    "rediss://h/0?ssl_cert_reqs=perhaps": "BUDGET_STORE_URL='rediss://h/0?ssl_cert_reqs=perhaps': ",
    "rediss://h/0?ssl_ca_certs=/nowhere": "BUDGET_STORE_URL='rediss://h/0?ssl_ca_certs=/nowhere': ",
    "redis://a..b:6379": "BUDGET_STORE_URL='redis://a..b:6379': ",
}
WRONG |= {url: ({"store_url": url}, line) for url, line in URLS.items()}


@pytest.mark.parametrize(("settings", "line"), WRONG.values(), ids=WRONG)
async def test_500_in_the_callers_shape(settings, line):
    app = ScriptedApp(*completion(1))
    guard = BudgetMiddleware(app, **settings)
    refused = await call(guard, ask(), headers=bearer())
    assert (refused.status, app.scopes) == (500, [])
    error = refused.json()["error"]
    assert error["message"].startswith(f"Budget settings: {line}")
    assert "\n" not in error["message"]
    assert "canary" not in error["message"]
    assert (error["type"], error["code"]) == ("api_error", "budget_misconfigured")
    assert refused.headers["x-should-retry"] == "false"
    assert (await call(guard, {}, path="/v1/other")).status == 200
    assert (await call(guard, method="GET")).status == 200


@pytest.mark.parametrize(
    ("setting", "variable", "text"),
    [("prices", "BUDGET_PRICES", "[models.x]\ninput = 1"), ("accounts_file", "BUDGET_ACCOUNTS_FILE", "keys = 1")],
)
async def test_files_that_cannot_be_used(tmp_path, setting, variable, text):
    path = tmp_path / "file.toml"
    path.write_text(text)
    settings: dict[str, Any] = {setting: str(path)}
    guard = BudgetMiddleware(ScriptedApp(), **settings)
    message = (await call(guard, ask())).json()["error"]["message"]
    assert message.startswith(f"Budget settings: {variable}='{path}': {path}: ")
    assert "\n" not in message


def test_startup_fails_with_the_line():
    """Also in a test client, which would wait for ever if the app only returned."""
    guard = BudgetMiddleware(ScriptedApp(), mode="of")
    with pytest.raises(SettingsError, match="BUDGET_MODE='of'"), TestClient(guard):
        pass


async def test_known_keys_only_with_nobody_to_know_them():
    """Every token that somebody makes up would have a budget of its own."""
    refused = await call(BudgetMiddleware(ScriptedApp(), known_keys_only="1"), ask(), headers=bearer())
    assert refused.status == 500
    assert "BUDGET_KNOWN_KEYS_ONLY='1': accepted with BUDGET_ACCOUNTS_FILE or accounts_source" in refused.body.decode()


NOBODY = {
    "a kind without a source": ({"limits": "team=1/day; key+user=2/day"}, "names no source for team, user"),
    "a model in capitals": ({"limits": "model:GPT-4o=1/day"}, "they are charged to model:gpt-4o"),
    "a model with its seller": ({"limits": "key+model:*+openai/gpt-4o=1/day"}, "they are charged to model:gpt-4o"),
}


@pytest.mark.parametrize(("settings", "warning"), NOBODY.values(), ids=NOBODY)
def test_limits_that_bind_nobody_are_told_at_the_start(settings, warning, caplog):
    BudgetMiddleware(ScriptedApp(), **settings)
    (told,) = [message for message in caplog.messages if message.startswith("BUDGET_LIMITS")]
    assert warning in told


async def test_f60_a_limit_on_a_raw_token_stops_the_server_and_shows_it_to_nobody(tmp_path, caplog):
    path = tmp_path / "limits"
    path.write_text(f"key=1/day\nkey+model:{TOKEN}+gpt-4o=2/day\n")
    for limits in (f"key:{TOKEN}=1/day", f"key={TOKEN}=1/day", f"@{path}", f"{TOKEN}=1/day", f"key:{TOKEN}:1/day"):
        guard = BudgetMiddleware(ScriptedApp(), limits=limits)
        with pytest.raises(SettingsError, match=r"BUDGET_LIMITS=.*accepted|16 hex digits") as error, TestClient(guard):
            pass
        refused = await call(guard, ask(), headers=bearer())
        assert refused.status == 500
        assert TOKEN not in f"{error.value} {refused.body.decode()} {caplog.text}"


async def test_limits_that_bind_somebody_are_without_a_warning(tmp_path, caplog):
    async def source(key: str) -> dict[str, str]:
        return {"org": "acme"}

    path = tmp_path / "accounts.toml"
    path.write_text('[keys."1f3a9c0b2d4e5f60"]\nteam = "search"\n')
    limits = f"key=1/day; {KEY}=2/day; key:-=0/day; team=1/day; user=1/day; key+model=1/day; global=1/day"
    limits += "; model:gpt-4o=1/day; model:nobodys=1/day; key+model:*+gpt-4o=1/day"
    settings: dict[str, Any] = {"accounts": "key=token; user=header:x-user", "accounts_file": str(path)}
    BudgetMiddleware(ScriptedApp(), **settings, limits=limits)
    BudgetMiddleware(ScriptedApp(), **settings, limits=f"{limits}; org=1/day", accounts_source=source)
    assert "BUDGET_LIMITS" not in caplog.text
