"""`adjust`, `transfer` and `release`: what operators book and give back, each with who and why in the journal."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from budget_middleware.admin.context import By, ChangingContext
from budget_middleware.admin.parameters import Account, Amount, Change, Usd
from budget_middleware.admin.problems import Problem
from budget_middleware.admin.rows import answer, documented, schema_of
from budget_middleware.operations.adjustments import Adjustment, adjust
from budget_middleware.operations.holds import ReleasedHold, release_hold
from budget_middleware.operations.inputs import RESERVATION_ID, read_amount, read_figure
from budget_middleware.operations.transfers import TransferDone, transfer

router = APIRouter(tags=["changes"])

_ReservationId = Annotated[str, Path(pattern=f"^{RESERVATION_ID.pattern}$")]
_PeriodName = Annotated[str, Field(min_length=1, max_length=40, description="such as day or month@15")]
_WindowId = Annotated[str, Field(min_length=1, max_length=60, description="such as 2026-11; the current one if none")]


class AdjustBody(Change):
    """What is to be added to what an account has spent; below 0 it is a credit."""

    account: Account
    amount_usd: Usd
    window: Annotated[str, Field(min_length=1, max_length=80, description="month, or month:2026-11")] | None = None


@router.post(
    "/adjust",
    summary="Add an amount to what an account has spent; a negative one is a credit",
    responses=documented(schema_of(Adjustment), "The counters after it.", 409, 504),
    response_class=Response,
)
async def post_adjust(context: ChangingContext, by: By, body: AdjustBody) -> Response:
    done = await adjust(
        context,
        body.account,
        read_amount(body.amount_usd),
        reason=body.reason_of(by),
        window=body.window,
        is_new=body.is_new,
        is_large=body.is_large,
    )
    return answer(done)


class TransferBody(Change):
    """What is to be moved, from whom to whom, within one period of which both have a limit."""

    source: Account
    destination: Account
    amount: Amount
    period: _PeriodName | None = None
    window: _WindowId | None = None


@router.post(
    "/transfer",
    summary="Move an amount of one account's budget to another's, in one step",
    responses=documented(schema_of(TransferDone), "Both counters after it.", 409, 504),
    response_class=Response,
)
async def post_transfer(context: ChangingContext, by: By, body: TransferBody) -> Response:
    amount, unit = read_figure(body.amount)
    done = await transfer(
        context,
        body.source,
        body.destination,
        amount,
        unit=unit,
        reason=body.reason_of(by),
        period=body.period,
        window=body.window,
        is_new=body.is_new,
    )
    if done.why_not:
        raise Problem(409, f"not transferred: {done.why_not}")
    return answer(done)


class ReleaseBody(Change):
    """Why it is given back."""


@router.post(
    "/release/{reservation_id}",
    summary="Give back what a pending reservation holds, now; a later finalize of its owner is still booked",
    responses=documented(schema_of(ReleasedHold), "The counters after it.", 404, 409),
    response_class=Response,
)
async def post_release(context: ChangingContext, by: By, reservation_id: _ReservationId, body: ReleaseBody) -> Response:
    released = await release_hold(context, reservation_id, reason=body.reason_of(by))
    if released.why_not:
        raise Problem(404 if released.is_unknown else 409, f"not released: {released.why_not}")
    return answer(released)
