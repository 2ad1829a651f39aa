"""What an operator has to confirm: an account that nobody ever used, an amount beyond anything on its counters.

A slip of the pen in an account or a namespace books money where nobody looks for it, and a slip in an amount takes a
budget away or gives one for free. Confirmations are options (`--new`, `--yes`), so that scripts are never asked.
"""

from collections.abc import Iterable, Sequence

from budget_middleware.cli.binding import (
    BindingLimits,
    accounts_of_file,
    doubt_about,
    kinds_of_requests,
    runtime_limits_of,
)
from budget_middleware.cli.desk import Desk
from budget_middleware.cli.output import complain, usd
from budget_middleware.cli.parsing import CommandError, Parser
from budget_middleware.core.accounts import ANY, GLOBAL, parts_of
from budget_middleware.core.model import Counter, CounterView


def add_new(command: Parser) -> None:
    command.add_argument("--new", action="store_true", help="even if nobody ever used the account or the namespace")


def warn_of_unknown_kinds(name: str, desk: Desk) -> None:
    if doubt := doubt_about(name, desk.settings):
        complain(f"warning: {doubt}")


async def require_known(desk: Desk, name: str, *, is_new: bool) -> None:
    """CommandError for an account, or a pattern, that no gateway ever used, unless the operator says that it is new."""
    if is_new:
        return
    if (await desk.store.head()).seq == 0 and not (await desk.store.limits_page()).limits:
        others = await desk.store.neighbours()
        beside = f" (beside it: {', '.join(others[:5])})" if others else ""
        raise CommandError(
            f"namespace {desk.settings.namespace!r} has 0 counters and nothing was ever booked in it{beside}: check"
            " BUDGET_NAMESPACE and BUDGET_STORE_URL, or add --new"
        )
    if not await _is_known(desk, name):
        count = len(await desk.store.counters())
        raise CommandError(
            f"{name} has no counter and no limit of its own ({count} counters in namespace"
            f" {desk.settings.namespace!r}): check its spelling, or add --new"
        )


async def _is_known(desk: Desk, name: str) -> bool:
    runtime = await runtime_limits_of(desk, name)
    limits = BindingLimits(runtime=runtime, environment=desk.settings.limits)
    if name in limits.exact_accounts or any(pattern == name for pattern, _ in runtime.limits):
        return True
    parts = parts_of(name)
    if name == GLOBAL or any(subject == ANY for _, subject in parts):
        # It stands for accounts to come, whose kinds at least must exist.
        return {kind for kind, _ in parts} <= kinds_of_requests(desk.settings)
    return name in accounts_of_file(desk.settings) or bool(await desk.store.counters(name))


def require_confirmed(
    amount_nanos: int,
    *,
    counters: Iterable[tuple[Counter, int | None]],
    views: Sequence[CounterView],
    is_new: bool,
    is_confirmed: bool,
) -> None:
    """CommandError for an amount above the size of each of the counters, with their limits, that it changes.

    The size of a counter is its limit or what it has spent, whichever is more. A new account without a limit has none.
    """
    spent = {view.counter: abs(view.balance.spent) for view in views}
    sizes = [max(limit_nanos or 0, spent.get(counter, 0)) for counter, limit_nanos in counters]
    largest_nanos = max(sizes, default=0)
    if is_confirmed or (is_new and not largest_nanos):
        return
    if abs(amount_nanos) > largest_nanos:
        raise CommandError(
            f"{usd(amount_nanos)} USD is more than the limit and the spending of every counter that it changes"
            f" (at most {usd(largest_nanos)} USD): check the amount, or add --yes"
        )
