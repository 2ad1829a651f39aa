"""`status`: the counters of accounts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from budget_middleware.admin.context import Context
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.values import as_json

router = APIRouter(tags=["accounts"])


@router.get("/status", summary="What is spent, reserved and still available")
async def status(
    context: Context,
    match: Annotated[str | None, Query(max_length=600)] = None,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = as_json(await list_counters(context, match=match))
    return rows
