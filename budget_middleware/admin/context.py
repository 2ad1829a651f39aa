"""What a route is handed: the context of operations, and who asks."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request

from budget_middleware.admin.gate import OPERATOR
from budget_middleware.operations.context import OperatorContext, require_ready
from budget_middleware.operations.operators import Operator


def keep_context(app: FastAPI, context: OperatorContext) -> None:
    app.state.budget_context = context


async def _context_of(request: Request) -> OperatorContext:
    context: OperatorContext = request.app.state.budget_context
    await require_ready(context)
    return context


def operator_of(request: Request) -> Operator:
    """Who asks; only behind the gate."""
    operator: Any = request.scope["state"][OPERATOR]
    assert isinstance(operator, Operator), "the gate lets nobody else in"
    return operator


Context = Annotated[OperatorContext, Depends(_context_of)]
By = Annotated[Operator, Depends(operator_of)]
