"""Whether requests wait for what is only held, and whether endings of other workers can be heard."""

import asyncio

from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.settings import Settings
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable

HEARD_WITHIN_S = 5.0


async def waiting_findings(store: Store, settings: Settings) -> list[Finding]:
    """Nothing, where nobody is to wait."""
    if settings.wait_s > 0:
        return [await _finding(store, settings)]
    if settings.priority:
        message = "BUDGET_PRIORITY orders those who wait, and BUDGET_WAIT_S=0: nobody does"
        return [Finding("waiting", Health.WARN, message, "set BUDGET_WAIT_S, or no priority")]
    return []


async def _finding(store: Store, settings: Settings) -> Finding:
    problem = await _why_deaf(store)
    waits = f"requests wait up to {settings.wait_s:g} s for what is only held"
    if problem is None:
        return Finding("waiting", Health.OK, f"{waits}, and are woken by every worker's endings")
    return Finding(
        "waiting",
        Health.WARN,
        f"{waits}, but other workers' endings cannot be heard, so they ask once a second: {problem}",
        "allow the channels of the namespace: ACL SETUSER … &{BUDGET_NAMESPACE}:*, with the braces",
    )


async def _why_deaf(store: Store) -> str | None:
    """Why endings cannot be heard; None where they are."""
    is_ready = asyncio.Event()
    listening = asyncio.create_task(store.listen(lambda _: None, on_ready=is_ready.set))
    ready = asyncio.create_task(is_ready.wait())
    done, pending = await asyncio.wait((listening, ready), timeout=HEARD_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if not done:
        return f"no answer within {HEARD_WITHIN_S:g} s"
    if listening not in done:
        return None
    error = listening.exception()
    if error is not None and not isinstance(error, StoreUnavailable | StoreRefused):
        raise error
    return None if error is None else str(error)
