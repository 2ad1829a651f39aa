"""The same app behind the middleware: `uvicorn benchmarks.guarded:NAME`, each made on demand, so that one starts."""

import gc
import os
from functools import cache
from typing import Any

from starlette.types import ASGIApp

from benchmarks import apps
from benchmarks.kinds import settings_for


def guard(app: ASGIApp, *, accounts: int, namespace: str = "", **settings: Any) -> ASGIApp:
    """``app`` guarded for so many accounts; in Redis under ``namespace``, without one in memory."""
    from budget_middleware import BudgetMiddleware

    settings |= {"store_url": os.environ["BENCH_REDIS_URL"] if namespace else "memory://"}
    if namespace:
        settings |= {"namespace": namespace}
    # Seconds of load on two shared cores are no outage: a figure must not be one of unguarded requests.
    return BudgetMiddleware(app, store_timeout_s=10, on_store_error="closed", **settings_for(accounts) | settings)


# uvicorn asks more than once.
@cache
def __getattr__(name: str) -> ASGIApp:
    match name.split("_"):
        case ["memory"]:
            return guard(apps.bare, accounts=3)
        case ["paced", "3"]:
            return guard(apps.paced, accounts=3, namespace=name)
        case ["redis", accounts]:
            return guard(apps.bare, accounts=int(accounts), namespace=name)
        case ["frozen", accounts]:
            frozen = guard(apps.bare, accounts=int(accounts), namespace=name)
            gc.collect()
            gc.freeze()
            return frozen
        case ["trace", share]:
            from benchmarks.tracing import set_provider

            set_provider(share)
            spans = "verb" if share == "verb" else "counter"
            return guard(apps.bare, accounts=3, namespace=name, spans=spans)
    raise AttributeError(name)
