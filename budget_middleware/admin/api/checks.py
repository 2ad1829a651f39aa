"""`report`, `audit` and `doctor`: what reads everything there is. A worker makes one report or audit at a time."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from budget_middleware.admin.context import Context
from budget_middleware.admin.parameters import Strict
from budget_middleware.admin.problems import Problem
from budget_middleware.admin.rows import answer, documented, schema_of
from budget_middleware.operations.audits import AuditReport, audit
from budget_middleware.operations.doctor import Finding, examine
from budget_middleware.operations.reports import (
    Moments,
    Report,
    ReportQuery,
    ReportRow,
    make_report,
    parse_by,
    parse_per,
)
from budget_middleware.operations.values import as_json

router = APIRouter(tags=["checks"])

ROWS_MAX: Final = 10_000
_Moment = Annotated[str, Field(min_length=1, max_length=40, description="2026-11, 2026-11-01, 2026-11-01T12:00 or 7d")]


class ReportParameters(Strict):
    """What a report is by, and of which time."""

    by: Annotated[str, Field(max_length=200, description="model, provider, team, user, key, … with commas")] = ""
    per: Annotated[str, Field(min_length=1, max_length=40, description="hour, day, week, month, year")] | None = None
    since: _Moment | None = None
    until: _Moment | None = None


_REPORT: Final[dict[str, Any]] = {
    **schema_of(Report),
    "properties": {**schema_of(Report)["properties"], "rows": {"type": "array", "items": schema_of(ReportRow)}},
}


@router.get(
    "/report",
    summary="Requests, tokens by class, cost and refusals, by accounts, models and time",
    responses=documented(_REPORT, "The rows, the dearest first, and their total."),
    response_class=Response,
)
async def report(context: Context, request: Request, query: Annotated[ReportParameters, Query()]) -> Response:
    try:
        by, per = parse_by(query.by), None if query.per is None else parse_per(query.per)
    except ValueError as error:
        raise Problem(422, str(error)) from None
    async with _one_at_a_time(request):
        made = await make_report(context, ReportQuery(by, per, Moments(query.since, query.until)))
    if len(made.rows) > ROWS_MAX:
        raise Problem(422, f"{len(made.rows):,} rows are too many: ask for less time, or for fewer dimensions")
    return answer({**as_json(made), "rows": as_json(made.rows)})


class AuditParameters(Strict):
    """How far back."""

    history: Annotated[bool, Field(description="begin with the history (BUDGET_HISTORY_URL)")] = False


@router.get(
    "/audit",
    summary="Hold every counter against its journal and its reservations; nothing is repaired",
    responses=documented(schema_of(AuditReport), "What was found."),
    response_class=Response,
)
async def get_audit(context: Context, request: Request, query: Annotated[AuditParameters, Query()]) -> Response:
    if query.history and not context.settings.history_url:
        raise Problem(422, "history: it needs BUDGET_HISTORY_URL, the history that gateways write")
    async with _one_at_a_time(request):
        return answer(await audit(context, with_history=query.history))


@asynccontextmanager
async def _one_at_a_time(request: Request) -> AsyncIterator[None]:
    state = request.app.state
    if getattr(state, "is_reading_everything", False):
        raise Problem(503, "another report or audit is being made by this worker: ask again when it is done")
    state.is_reading_everything = True
    try:
        yield
    finally:
        state.is_reading_everything = False


@router.get(
    "/doctor",
    summary="Check settings, store and telemetry of the worker that answers, and say how to fix them",
    responses=documented({"type": "array", "items": schema_of(Finding)}, "One finding a check."),
    response_class=Response,
)
async def doctor(context: Context) -> Response:
    return answer(await examine(os.environ, context.settings))
