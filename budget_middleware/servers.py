"""What the server that runs us does against us, as far as it can be seen at start-up."""

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
    """Whether the caller, a coroutine, is run by asyncio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def server_warnings() -> Iterator[str]:
    """What an operator should know of this server; in a line each."""
    if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/") and not _has_named_grace():
        yield (
            "gunicorn kills a worker 30 s after it asked it to stop, and what a killed worker streams is charged by"
            " BUDGET_ON_EXPIRE; set --graceful-timeout above your longest stream plus BUDGET_DRAIN_TIMEOUT_S"
        )


def _has_named_grace() -> bool:
    # A configuration file is not looked into: with one, its author is taken to know.
    words = [*sys.argv, os.environ.get("GUNICORN_CMD_ARGS", "")]
    named = any(name in word for word in words for name in _GRACE)
    return named or any(word in ("-c", "--config") or word.startswith("--config=") for word in sys.argv)
