"""A gateway with a dashboard in a process of its own, and a real Chromium that looks at it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.admin.admin_gateway import READ, WRITE

BROWSER = Path(__file__).parents[2] / "build" / "browser"
AXE = BROWSER / "node_modules" / "axe-core" / "axe.min.js"
LIMITS = "key=1.20/day; team=3/day; team:research=4.50/day; team=400000tokens/day; global=500/month"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway over a file, whose app answers as soon as it is told to."""
    folder = tmp_path_factory.mktemp("gateway")
    port = _free_port()
    settings = {
        "BUDGET_STORE_URL": f"sqlite:///{folder}/budget.db",
        "BUDGET_ADMIN_TOKEN": WRITE,
        "BUDGET_ADMIN_READ_TOKEN": READ,
        "BUDGET_LIMITS": LIMITS,
        "BUDGET_ACCOUNTS": "key=token;team=header:x-team",
        "BUDGET_TRACE_URL": "http://traces.example/trace/{trace_id}",
        "BUDGET_ESTIMATE": "expected",
    }
    command = [sys.executable, "-m", "uvicorn", "tests.browser.slow_gateway:app", "--port", str(port)]
    log = folder / "log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [*command, "--log-level", "warning"], env=os.environ | settings, stdout=written, stderr=written
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_served(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_served(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        assert process.poll() is None, log.read_text()
        try:
            httpx.get(f"{url}/budget/sign-in")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert (BROWSER / "chromium").exists(), "make test-browser fetches it"
    os.environ["FONTCONFIG_FILE"] = str(BROWSER / "fonts.conf")
    os.environ["LD_LIBRARY_PATH"] = str(BROWSER / "lib")
    with sync_playwright() as playwright:
        # Its sandbox needs what a container, or root, does not have; it looks at pages of ours alone.
        browser = playwright.chromium.launch(executable_path=BROWSER / "chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says: a broken policy, a script that fails."""
    return []


@pytest.fixture
def open_page(chromium: Any, gateway_url: str, complaints: list[str]) -> Iterator[Any]:
    """Opens pages of the dashboard, signed in with a token if one is given."""
    contexts: list[Any] = []

    def open_(path: str = "/", token: str = WRITE, **options: Any) -> Any:
        context = chromium.new_context(base_url=gateway_url, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"/budget{path}")
        if token:
            # Chromium says so where somebody types before it has focused the field by itself.
            page.wait_for_function("document.activeElement.name === 'token'")
            page.get_by_label("Token").fill(token)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_selector(".top")
        return page

    yield open_
    for context in contexts:
        context.close()
