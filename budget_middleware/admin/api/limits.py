"""`limits`: what operators set at run time, of one account as a whole or of thousands at once."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Header, Path, Query
from pydantic import Field
from starlette.responses import Response

from budget_middleware.admin.context import By, ChangingContext, Context
from budget_middleware.admin.parameters import Change, Count, Cursor, Limits, Pattern, Strict, limits_of
from budget_middleware.admin.problems import Problem
from budget_middleware.admin.rows import answer, documented, page_by_key, page_schema, schema_of
from budget_middleware.core.limits.limits import SlotTerms
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.inputs import read_pattern
from budget_middleware.operations.limit_rows import LimitRow
from budget_middleware.operations.limit_sets import (
    ChangedMeanwhileError,
    LimitSet,
    read_limit_set,
    replace_limits,
    replace_limits_of_many,
)
from budget_middleware.operations.limits import LimitsChange, list_limits

router = APIRouter(tags=["limits"])

BULK_MAX: Final = 10_000
_READ_AT_ONCE: Final = 50
"""A gateway's requests are let through after so many accounts."""
_ETAG = Annotated[str | None, Header(max_length=200, description="the ETag that was read")]


class LimitsQuery(Strict):
    """Where a page begins."""

    limit: Count = 100
    cursor: Cursor | None = None


@router.get(
    "/limits",
    summary="All limits that are set at run time, by account",
    responses=documented(page_schema(LimitRow), "Limits."),
    response_class=Response,
)
async def limits(context: Context, query: Annotated[LimitsQuery, Query()]) -> Response:
    rows = sorted(await list_limits(context), key=_key)
    return page_by_key(rows, key=_key, cursor=query.cursor, limit=query.limit)


def _key(row: LimitRow) -> tuple[str, str]:
    return row.account, row.text


@router.get(
    "/limits/{account:path}",
    summary="What is set on an account or pattern, and what binds it by whichever layer",
    responses=documented(schema_of(LimitSet), "Its limits, with their ETag."),
    response_class=Response,
)
async def limits_of_account(context: Context, account: Annotated[Pattern, Path()]) -> Response:
    read = await read_limit_set(context, account)
    return answer(read, headers={"etag": f'"{read.tag}"'})


class LimitsChangeBody(Change):
    """The limits that an account or pattern is to have at run time, in place of those that it has."""

    limits: Limits


@router.put(
    "/limits/{account:path}",
    summary="Replace what is set on an account or pattern, in one step",
    responses=documented(schema_of(LimitsChange), "What binds now, and what is left of it.", 409, 412),
    response_class=Response,
)
async def put_limits(
    context: ChangingContext,
    by: By,
    account: Annotated[Pattern, Path()],
    body: LimitsChangeBody,
    if_match: _ETAG = None,
) -> Response:
    """A limit below what is spent is accepted; a warning says so."""
    terms = _terms(body.limits, at="limits")
    if not terms:
        raise Problem(422, "limits: none is named; to forget them all, delete them")
    return await _replace(context, account, terms, reason=body.reason_of(by), is_new=body.is_new, if_match=if_match)


class DeleteQuery(Change):
    """Why; a body of a DELETE is lost on the way by some proxies."""


@router.delete(
    "/limits/{account:path}",
    summary="Forget what is set on an account or pattern",
    responses=documented(schema_of(LimitsChange), "What binds now.", 404, 409, 412),
    response_class=Response,
)
async def delete_limits(
    context: ChangingContext,
    by: By,
    account: Annotated[Pattern, Path()],
    query: Annotated[DeleteQuery, Query()],
    if_match: _ETAG = None,
) -> Response:
    if not (await read_limit_set(context, account)).limits:
        raise Problem(404, f"{account} has no runtime limit")
    return await _replace(context, account, {}, reason=query.reason_of(by), is_new=True, if_match=if_match)


async def _replace(
    context: OperatorContext, account: str, terms: SlotTerms, *, reason: str, is_new: bool, if_match: str | None
) -> Response:
    tag = None if if_match in (None, "*") else str(if_match).strip().removeprefix("W/").strip('"')
    try:
        change = await replace_limits(context, account, terms, reason=reason, expected_tag=tag, is_new=is_new)
    except ChangedMeanwhileError as error:
        raise Problem(412, str(error)) from None
    return answer(change, headers={"etag": f'"{(await read_limit_set(context, account)).tag}"'})


class ManyLimitsBody(Change):
    """The limits of many accounts or patterns, each in place of those that it has."""

    # Each is looked at by the route, which lets others in between.
    limits: Annotated[
        dict[str, list[str]],
        Field(min_length=1, max_length=BULK_MAX, examples=[{"team:search": ["10/day"], "team:ads": ["5/day"]}]),
    ]


_BULK_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"accounts": {"type": "integer"}},
    "required": ["accounts"],
}


@router.post(
    "/limits",
    summary=f"Replace what is set on up to {BULK_MAX:,} accounts or patterns",
    responses=documented(_BULK_ANSWER, "How many accounts were set.", 409),
    response_class=Response,
)
async def post_limits(context: ChangingContext, by: By, body: Annotated[ManyLimitsBody, Body()]) -> Response:
    """All are read before the first is set. Each is one step; if the store goes away on the way, do it again."""
    terms = await _terms_by_account(body.limits)
    n_accounts = await replace_limits_of_many(context, terms, reason=body.reason_of(by), is_new=body.is_new)
    return answer({"accounts": n_accounts})


async def _terms_by_account(texts_by_account: dict[str, list[str]]) -> dict[str, SlotTerms]:
    terms: dict[str, SlotTerms] = {}
    for n, (account, texts) in enumerate(texts_by_account.items()):
        if n % _READ_AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            name = read_pattern(account)
        except ValueError as error:
            raise Problem(422, f"limits, account {n + 1}: {error}") from None
        if name in terms:
            raise Problem(422, f"limits: {name} comes twice")
        terms[name] = _terms(texts, at=f"limits.{name}")
        if not terms[name]:
            raise Problem(422, f"limits.{name}: none is named")
    return terms


def _terms(texts: list[str], *, at: str) -> SlotTerms:
    try:
        return limits_of(texts)
    except ValueError as error:
        raise Problem(422, f"{at}: {error}") from None
