"""What a route is handed: the context of operations, a snapshot of all counters, and who asks."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request

from budget_middleware.admin.gate import OPERATOR
from budget_middleware.admin.snapshots import SharedSnapshot
from budget_middleware.operations.context import OperatorContext, require_ready
from budget_middleware.operations.operators import Operator


def keep_context(app: FastAPI, context: OperatorContext) -> None:
    app.state.budget_context = context
    app.state.budget_snapshot = SharedSnapshot(context)


async def _context_of(request: Request) -> OperatorContext:
    context: OperatorContext = request.app.state.budget_context
    await require_ready(context)
    return context


async def _changing_context_of(request: Request) -> AsyncIterator[OperatorContext]:
    """Who reads after a change sees it: what was read before is forgotten before the change is answered."""
    try:
        yield await _context_of(request)
    finally:
        snapshot_of(request).forget()


def snapshot_of(request: Request) -> SharedSnapshot:
    snapshot: SharedSnapshot = request.app.state.budget_snapshot
    return snapshot


def operator_of(request: Request) -> Operator:
    """Who asks; only behind the gate."""
    operator: Any = request.scope["state"][OPERATOR]
    assert isinstance(operator, Operator), "the gate lets nobody else in"
    return operator


Context = Annotated[OperatorContext, Depends(_context_of)]
ChangingContext = Annotated[OperatorContext, Depends(_changing_context_of, scope="function")]
Snapshot = Annotated[SharedSnapshot, Depends(snapshot_of)]
By = Annotated[Operator, Depends(operator_of)]
