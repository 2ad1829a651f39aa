"""The demo's screen: live counters, the journal entries of one request, the result of the audit."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from budget_middleware.core.answers import CounterView, Entry
from budget_middleware.core.limits.limits import Slot
from budget_middleware.core.model import Balance
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.windows import Period
from budget_middleware.demo.callers import CALLERS, Outcome, Tally
from budget_middleware.operations.binding import BindingLimits

_BAR_CELLS = 24
_OWNERS = {caller.account: caller.name for caller in CALLERS}
_ACCOUNTS = (*dict.fromkeys(f"team:{caller.team}" for caller in CALLERS), *_OWNERS)
_STYLES = {
    Outcome.ANSWERED: "green",
    Outcome.CANCELLED: "yellow",
    Outcome.FAILED: "magenta",
    Outcome.REFUSED: "red",
}


def counters_table(views: Sequence[CounterView], limits: BindingLimits, tally: Tally, *, has_bars: bool) -> Group:
    """A row for each account, what callers saw below it, and the first refusal in its own words."""
    balances = {view.counter.account: view.balance for view in views}
    table = _table("account", "", "limit", amounts=("spent", "reserved", "available"))
    if has_bars:
        table.add_column(Text.assemble(("spent ", "green"), ("reserved ", "yellow"), ("available", "dim")))
    for account in _ACCOUNTS:
        bound = limits.of(account).get(Slot(Period.DAY))
        limit_nanos = bound.terms.amount if bound else None
        balance = balances.get(account, Balance())
        table.add_row(*_cells(account, balance, limit_nanos), *_bars(balance, limit_nanos, has_bars))
    refusal = Text(tally.refusal, style="red") if tally.refusal else Text("")
    return Group(table, _request_counts(tally), refusal)


def _cells(account: str, balance: Balance, limit_nanos: int | None) -> tuple[str | Text, ...]:
    return (
        account,
        _OWNERS.get(account, ""),
        "none" if limit_nanos is None else f"{limit_nanos / NANOS_PER_USD:.2f}/day",
        Text(_usd(balance.spent), style="green"),
        Text(_usd(balance.reserved), style="yellow" if balance.reserved else "dim"),
        "" if limit_nanos is None else _usd(limit_nanos - balance.spent - balance.reserved),
    )


def _bars(balance: Balance, limit_nanos: int | None, has_bars: bool) -> tuple[Text, ...]:
    if not has_bars:
        return ()
    used = balance.spent + balance.reserved
    # Who watches may have lowered a limit below what is used, or lifted it.
    whole = max(limit_nanos or 0, used, 1)
    spent = round(_BAR_CELLS * balance.spent / whole)
    reserved = round(_BAR_CELLS * used / whole) - spent
    free = _BAR_CELLS - spent - reserved
    return (Text.assemble(("█" * spent, "green"), ("█" * reserved, "yellow"), ("░" * free, "dim")),)


def _request_counts(tally: Tally) -> Text:
    counted = [(f"{tally.outcomes[outcome]} {outcome}", _STYLES[outcome]) for outcome in Outcome]
    pieces = [("requests: ", ""), *(piece for part in counted for piece in (part, (", ", "")))]
    return Text.assemble(*pieces[:-1])


def stories(entries: Sequence[Entry], reservation_ids: Mapping[Outcome, str]) -> list[Group]:
    """The journal of the last answered and the last cancelled request."""
    titles = {
        Outcome.ANSWERED: "One request that was answered: finalized with its real cost.",
        Outcome.CANCELLED: "One whose client hung up: finalized with what had been streamed.",
    }
    return [
        _story(title, [entry for entry in entries if entry.reservation_id == reservation_ids[outcome]])
        for outcome, title in titles.items()
        if outcome in reservation_ids
    ]


def _story(title: str, entries: Sequence[Entry]) -> Group:
    """Every change that one request made to its counters, before and after."""
    table = _table("seq", "time", "op", "account", amounts=("reserved", "spent"))
    for _, written in groupby(entries, key=lambda entry: entry.op):
        for entry in written:
            table.add_row(
                str(entry.seq),
                f"{datetime.fromtimestamp(entry.time_ms / 1000, UTC):%H:%M:%S.%f}"[:-3],
                entry.op,
                _OWNERS.get(entry.counter.account, entry.counter.account),
                _change(entry.reserved_before, entry.reserved),
                _change(entry.spent_before, entry.spent),
            )
        table.add_section()
    return Group(Text(f"\n{title}", style="bold"), table)


def _table(*names: str, amounts: Sequence[str]) -> Table:
    # Narrow enough for 80 columns.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in amounts:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _change(before_nanos: int, after_nanos: int) -> str | Text:
    if before_nanos == after_nanos:
        return Text(_usd(after_nanos), style="dim")
    return f"{_usd(before_nanos)} -> {_usd(after_nanos)}"


def _usd(nanos: int) -> str:
    return f"{nanos / NANOS_PER_USD:.4f}"
