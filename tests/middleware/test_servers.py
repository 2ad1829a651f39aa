"""Servers that do something against us: what is told at start-up."""

import sys

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.servers import server_warnings
from budget_middleware.settings import SettingsError
from budget_middleware.testing import ScriptedApp


def test_an_event_loop_that_is_not_asyncios_stops_the_server():
    """Run by hand, as trio runs it: no asyncio loop is there."""
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    running = BudgetMiddleware(ScriptedApp())({"type": "lifespan"}, receive, send)
    with pytest.raises(SettingsError, match="needs an asyncio event loop"):
        running.send(None)
    (failed,) = sent
    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].endswith("start hypercorn with --worker-class asyncio or uvloop")


@pytest.mark.parametrize(
    ("software", "words", "arguments", "is_told"),
    [
        ("gunicorn/23.0.0", ["gunicorn", "app:app"], "", True),
        ("gunicorn/23.0.0", ["gunicorn", "--graceful-timeout", "600", "app:app"], "", False),
        ("gunicorn/23.0.0", ["gunicorn", "app:app"], "--graceful-timeout=600", False),
        ("gunicorn/23.0.0", ["gunicorn", "-c", "conf.py", "app:app"], "", False),
        ("", ["uvicorn", "app:app"], "", False),
    ],
)
def test_gunicorns_kill_of_long_streams_is_told(monkeypatch, *, software, words, arguments, is_told):
    monkeypatch.setenv("SERVER_SOFTWARE", software)
    monkeypatch.setenv("GUNICORN_CMD_ARGS", arguments)
    monkeypatch.setattr(sys, "argv", words)
    assert ["gunicorn kills a worker 30 s after" in warning for warning in server_warnings()] == [True] * is_told
