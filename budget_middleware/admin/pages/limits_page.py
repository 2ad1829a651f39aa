"""The editor of limits: what is set, a preview of what a change would refuse now, and the change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from budget_middleware.admin.pages.visits import Refused, Visit, reason_of, text_of
from budget_middleware.core.limits.arguments import every_slot, parse_choice
from budget_middleware.core.limits.grammar import ACCEPTED_LIMITS, parse_amounts
from budget_middleware.core.limits.limits import SlotTerms
from budget_middleware.core.limits.texts import limit_text
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.errors import Unconfirmed
from budget_middleware.operations.inputs import read_pattern
from budget_middleware.operations.limit_preview import preview_limits
from budget_middleware.operations.limits import clear_limits, list_limits, set_limits
from budget_middleware.operations.operator_changes import list_operator_changes, note_change
from budget_middleware.operations.reasons import reason_by

_SHOWN_MAX = 500
_CHANGES_MAX = 20


@dataclass(frozen=True, slots=True)
class _Asked:
    """The fields of the form as they were given."""

    account: str = ""
    limits: str = ""
    reason: str = ""
    is_new: bool = False


async def limits_page(visit: Visit, context: OperatorContext) -> Response:
    asked = visit.request.query_params
    account = asked.get("account", "")[:2_000]
    done = {"set": "The limit is set: it binds at the next request.", "cleared": "The limit is cleared."}
    return await _page(visit, context, _Asked(account), done=done.get(asked.get("done", ""), ""))


async def change_limits(visit: Visit, context: OperatorContext, form: Mapping[str, Any]) -> Response:
    """Preview, set or clear, whichever button was pressed. A mistake comes back with the form as it was."""
    asked = _Asked(
        text_of(form, "account"), text_of(form, "limits"), text_of(form, "reason"), form.get("is_new") == "1"
    )
    what = text_of(form, "what")
    try:
        account = read_pattern(asked.account)
        if what == "clear":
            return await _clear(visit, context, account, form)
        limits = _limits(asked.limits)
        if what == "set":
            return await _set(visit, context, account, limits, form)
    except Unconfirmed as error:
        return await _page(visit, context, asked, status=409, mistake=str(error), needs_new=True)
    except (ValueError, Refused) as error:
        return await _page(visit, context, asked, status=422, mistake=str(error))
    preview = await preview_limits(context, account, limits)
    return await _page(visit, context, asked, preview=preview)


def _limits(text: str) -> SlotTerms:
    limits = parse_amounts(text)
    if not limits:
        raise ValueError(f"no limit is named; accepted are {ACCEPTED_LIMITS}")
    return limits


async def _set(
    visit: Visit, context: OperatorContext, account: str, limits: SlotTerms, form: Mapping[str, Any]
) -> Response:
    reason = reason_by(visit.operator.name, reason_of(form))
    await note_change(context, f"{account}={'; '.join(limit_text(*each) for each in limits.items())}", reason=reason)
    await set_limits(context, account, limits, is_new=form.get("is_new") == "1")
    return visit.go_to("/limits", done="set")


async def _clear(visit: Visit, context: OperatorContext, account: str, form: Mapping[str, Any]) -> Response:
    reason = reason_by(visit.operator.name, reason_of(form))
    which = text_of(form, "which")
    await note_change(context, f"{account}: {which or 'every limit'} cleared", reason=reason)
    change = await clear_limits(context, account, parse_choice(which) if which else every_slot)
    if not change.is_done:
        raise ValueError(f"{account} has no runtime limit {which}".strip())
    return visit.go_to("/limits", done="cleared")


async def _page(
    visit: Visit,
    context: OperatorContext,
    asked: _Asked,
    *,
    status: int = 200,
    mistake: str = "",
    done: str = "",
    preview: Any = None,
    needs_new: bool = False,
) -> Response:
    rows = await list_limits(context)
    changes = await list_operator_changes(context)
    return visit.page(
        "limits.html",
        status=status,
        rows=rows[:_SHOWN_MAX],
        total=len(rows),
        changes=changes[: -_CHANGES_MAX - 1 : -1],
        environment=context.settings.limits,
        asked=asked,
        mistake=mistake,
        done=done,
        preview=preview,
        needs_new=needs_new,
    )
