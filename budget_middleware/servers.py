"""Warnings about the ASGI server, as far as start-up shows them: its event loop, and how soon it kills workers."""

import asyncio
import os
import sys
from collections.abc import Iterator

WRONG_LOOP = (
    "BudgetMiddleware needs an asyncio event loop, and this server runs another one (trio): start hypercorn with"
    " --worker-class asyncio or uvloop"
)
_GRACE = ("--graceful-timeout", "graceful_timeout")


def runs_asyncio() -> bool:
    """Whether asyncio runs the calling coroutine."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def server_warnings() -> Iterator[str]:
    """What an operator should know about this server, one line each."""
    if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/") and not _has_named_grace():
        yield (
            "gunicorn kills a worker 30 s after it asked it to stop, and streams of a killed worker are charged by"
            " BUDGET_ON_EXPIRE; set --graceful-timeout above your longest stream plus BUDGET_DRAIN_TIMEOUT_S"
        )


def _has_named_grace() -> bool:
    # A configuration file is not read: its author is assumed to have set it.
    words = [*sys.argv, os.environ.get("GUNICORN_CMD_ARGS", "")]
    named = any(name in word for word in words for name in _GRACE)
    return named or any(word in ("-c", "--config") or word.startswith("--config=") for word in sys.argv)
