"""The refusals that gateways have logged: they change no counter, so they have no journal entries."""

from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.rows import RefusalRow, refusal_row


async def list_refusals(
    context: OperatorContext, account: str | None = None, *, trace_url: str | None = None
) -> list[RefusalRow]:
    """The refusals that are kept (of requests that one account would have paid), the oldest first."""
    refusals = await context.store.refusals()
    return [refusal_row(each, trace_url) for each in refusals if account is None or account in each.accounts]
