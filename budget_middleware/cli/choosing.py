"""Which of many counters `status` shows."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from budget_middleware.core.model import CounterView
from budget_middleware.core.windows import Period


def percent(text: str) -> int:
    """A whole percentage, with or without its sign."""
    digits = text.removesuffix("%")
    if not digits.isdecimal() or len(digits) > 6:
        raise ArgumentTypeError(f"{text!r}: accepted: a percentage, 80 or 80%")
    return int(digits)


def choose(
    views: Iterable[CounterView],
    limit_nanos: Callable[[str, Period], int | None],
    *,
    match: str | None,
    over_percent: int | None,
    top: int | None,
) -> list[CounterView]:
    """Those that match and are that far, in their order; with ``top`` the ones that have spent most, most first."""
    chosen = [view for view in views if match is None or _matches(view.counter.account, match)]
    if over_percent is not None:
        chosen = [
            view
            for view in chosen
            if (limit := limit_nanos(view.counter.account, view.counter.period)) is not None
            and 100 * (view.balance.spent + view.balance.reserved) >= over_percent * limit
        ]
    return chosen if top is None else sorted(chosen, key=lambda view: -view.balance.spent)[:top]


def _matches(account: str, pattern: str) -> bool:
    return fnmatchcase(account, pattern) if set(pattern) & set("*?") else pattern in account
