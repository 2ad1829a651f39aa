"""`status`, `explain` and `estimate`: what accounts have, how that came about, and what a request would hold."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from budget_middleware.admin.context import Context, Snapshot
from budget_middleware.admin.parameters import Account, Count, Cursor, Match, Strict, Subject
from budget_middleware.admin.problems import Problem
from budget_middleware.admin.rows import answer, documented, page, page_schema, schema_of, unpack_cursor
from budget_middleware.core.model import Counter
from budget_middleware.core.periods import Period
from budget_middleware.core.units import Unit
from budget_middleware.operations.account_explanation import AccountExplanation, explain_account
from budget_middleware.operations.closest_names import closest_accounts
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.counters import list_counters
from budget_middleware.operations.estimates import EstimateRow, estimate_for
from budget_middleware.operations.inputs import is_reservation_id
from budget_middleware.operations.reservation_explanation import ReservationExplanation, explain_reservation
from budget_middleware.operations.rows import CounterRow

router = APIRouter(tags=["accounts"])


class StatusQuery(Strict):
    """Which counters, and where their page begins."""

    match: Match = ""
    over_percent: Annotated[int, Field(ge=0, le=1_000_000, description="so much of the limit is used")] | None = None
    limit: Count = 100
    cursor: Cursor | None = None


@router.get(
    "/status",
    summary="The counters of all accounts in their current windows, page by page",
    responses=documented(page_schema(CounterRow), "Counters, by account."),
    response_class=Response,
)
async def status(snapshot: Snapshot, _: Context, query: Annotated[StatusQuery, Query()]) -> Response:
    rows = (await snapshot.read()).rows_after(
        _counter_of(query.cursor),
        match=query.match,
        over_percent=query.over_percent,
        count=query.limit,
    )
    if len(rows) < query.limit:
        return page(rows, None)
    last = rows[-1]
    return page(rows, (last.account, last.period, last.window, last.unit))


def _counter_of(cursor: str | None) -> Counter | None:
    if cursor is None:
        return None
    account, period, window, unit = unpack_cursor(cursor, str, str, str, str)
    try:
        return Counter(account, Period(period), window, Unit(unit))
    except ValueError as error:
        raise Problem(422, f"cursor: {error}") from None


class AccountQuery(Strict):
    """How far back."""

    past: Annotated[bool, Field(description="windows that are over too")] = False


@router.get(
    "/status/{account:path}",
    summary="The counters of one account",
    responses=documented(page_schema(CounterRow), "All of its counters.", 404),
    response_class=Response,
)
async def status_of(
    context: Context, account: Annotated[Account, Path()], query: Annotated[AccountQuery, Query()]
) -> Response:
    rows = await list_counters(context, account, include_past=query.past)
    if not rows:
        raise await _unknown(context, account)
    return page(rows, None)


class ExplainQuery(AccountQuery):
    """How much of it."""

    limit: Annotated[int, Field(ge=1, le=1_000, description="so many of each kind, the largest first")] = 10


@router.get(
    "/explain/{subject:path}",
    summary="How the figures of an account came about, or what became of a reservation",
    responses=documented(
        {"anyOf": [schema_of(AccountExplanation), schema_of(ReservationExplanation)]}, "The story.", 404
    ),
    response_class=Response,
)
async def explain(
    context: Context, subject: Annotated[Subject, Path()], query: Annotated[ExplainQuery, Query()]
) -> Response:
    template = context.settings.trace_url
    if is_reservation_id(subject):
        of_reservation = await explain_reservation(context, subject, trace_url=template)
        if of_reservation is None:
            raise Problem(404, "no journal entry, hold or refusal that is kept has that id")
        return answer(of_reservation)
    of_account = await explain_account(
        context, subject, include_past=query.past, at_most=query.limit, trace_url=template
    )
    if of_account is None:
        raise await _unknown(context, subject)
    return answer(of_account)


async def _unknown(context: OperatorContext, account: str) -> Problem:
    closest = await closest_accounts(context, account)
    like = f"; closest: {', '.join(closest)}" if closest else ""
    return Problem(404, f"{account} has no counter, limit, hold or refusal{like}", closest=closest)


class EstimateQuery(Strict):
    """A request that somebody may make."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    account: Account | None = None
    input_tokens: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None


@router.get(
    "/estimate",
    summary="What a request for a model would hold now, and the answers that this was learnt from",
    responses=documented(schema_of(EstimateRow), "The estimate.", 404),
    response_class=Response,
)
async def estimate(context: Context, query: Annotated[EstimateQuery, Query()]) -> Response:
    row = await estimate_for(
        context, query.model, query.account, input_tokens=query.input_tokens, max_output_tokens=query.max_tokens
    )
    if row is None:
        raise Problem(404, "no price is known for that model: name it in BUDGET_PRICES")
    return answer(row)
