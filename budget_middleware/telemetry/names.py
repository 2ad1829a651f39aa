"""Every span and attribute name (see ``docs/tracing.md``), and the attributes of journal entries and refusals.

A subject never stands in a span name or in a metric's attribute.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from budget_middleware.core.answers import Entry
from budget_middleware.core.costs.bill import counts_and_sources
from budget_middleware.core.limits.modes import Crossing, Passed
from budget_middleware.core.model import Counter, Rejection
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.payers.accounts import kind_of
from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Amounts, Unit, figure_number

Attributes = Mapping[str, str | int | float | bool]
LazyAttributes = Callable[[], Attributes]
"""Makes attributes; called only where a sampler or a span reads them."""

COUNTER_SPAN = "budget.counter"
SOFT_LIMIT_EVENT = "budget.soft_limit"
SHADOW_LIMIT_EVENT = "budget.shadow_limit"
ALERT_EVENT = "budget.alert"
LIMIT_EVENTS = (SOFT_LIMIT_EVENT, SHADOW_LIMIT_EVENT, ALERT_EVENT)
RESERVATION_ID = "budget.reservation.id"
STATUS = "budget.status"
REASON = "budget.reason"
ESTIMATE_USD = "budget.estimate_usd"
ESTIMATE_BY = "budget.estimate.by"
ESTIMATE_OUTPUT_TOKENS = "budget.estimate.output_tokens"
ESTIMATE_MEAN_TOKENS = "budget.estimate.mean_tokens"
ESTIMATE_ANSWERS = "budget.estimate.answers"
AMOUNT_USD = "budget.amount_usd"
OP = "budget.op"
ACCOUNT = "budget.account"
ACCOUNT_KIND = "budget.account.kind"
PERIOD = "budget.period"
WINDOW = "budget.window"
UNIT = "budget.unit"
JOURNAL_SEQ = "budget.journal.seq"
JOURNAL_SHARD = "budget.journal.shard"
SPENT_BEFORE_USD = "budget.spent.before_usd"
SPENT_DELTA_USD = "budget.spent.delta_usd"
SPENT_AFTER_USD = "budget.spent.after_usd"
RESERVED_BEFORE_USD = "budget.reserved.before_usd"
RESERVED_DELTA_USD = "budget.reserved.delta_usd"
RESERVED_AFTER_USD = "budget.reserved.after_usd"
LIMIT_USD = "budget.limit_usd"
"""A name that ends with `usd` is of money; that of another unit ends with its name: see `in_unit`."""
LIMIT_MODE = "budget.limit.mode"
ALERT_PERCENT = "budget.alert.percent"
WAIT_S = "budget.wait.duration_s"
WAIT_END = "budget.wait.end"
USAGE_OF_CLASS = "budget.usage.<class>"
PRICE_SOURCE = "budget.price.source"

# GenAI semantic conventions, under these names since OpenTelemetry 1.37.
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"

# What price books call a provider, and these conventions otherwise.
_PROVIDERS = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}

UNPROTECTED = "unprotected"

ERRORS = frozenset(
    {
        Status.EXPIRED,
        Status.FINALIZED_LATE,
        Status.RELEASED_LATE,
        Status.FINALIZED_UNRESERVED,
        Status.CONFLICT,
        UNPROTECTED,
    }
)
"""Refusals are policy, not errors; these are what an operator wants to find."""


def provider_name(provider: str) -> str:
    """The well-known name of a provider, else the one that is given."""
    return _PROVIDERS.get(provider, provider)


def because(reason: str) -> LazyAttributes:
    """A reason and nothing else."""
    return lambda: {REASON: reason}


def estimate_attributes(by: str, output_tokens: int, mean_tokens: int, answers: int) -> Attributes:
    """What the output that a reserve holds was estimated by."""
    return {
        ESTIMATE_BY: str(by),
        ESTIMATE_OUTPUT_TOKENS: output_tokens,
        ESTIMATE_MEAN_TOKENS: mean_tokens,
        ESTIMATE_ANSWERS: answers,
    }


def bill_attributes(packed: str) -> Attributes:
    """What was counted of each class, and whose prices it was billed at; nothing for what is no bill."""
    counts, sources = counts_and_sources(packed)
    usage_of = USAGE_OF_CLASS.removesuffix("<class>")
    attributes: dict[str, str | int | float | bool] = {usage_of + unit: count for unit, count in counts.items()}
    if sources:
        attributes[PRICE_SOURCE] = ", ".join(sources)
    return attributes


def in_unit(name: str, unit: Unit) -> str:
    """The name of a figure of money, for the same figure of a unit: `budget.limit_usd` -> `budget.limit_tokens`."""
    return name if unit is Unit.USD else f"{name.removesuffix(Unit.USD)}{unit}"


_FIGURES = (
    SPENT_BEFORE_USD,
    SPENT_DELTA_USD,
    SPENT_AFTER_USD,
    RESERVED_BEFORE_USD,
    RESERVED_DELTA_USD,
    RESERVED_AFTER_USD,
    LIMIT_USD,
)
_COUNTED = tuple(Unit)[1:]
_USD: Final = Unit.USD
# To make the text of a member takes three times as long.
_TEXTS: Final[Mapping[str, str]] = {member: str(member) for kind in (Op, Status) for member in kind}
_FIGURES_IN = {unit: tuple(in_unit(name, unit) for name in _FIGURES) for unit in Unit}


def amounts_attributes(name: str, amounts: Amounts) -> Attributes:
    """An amount of money under its name, and those of other units that are not 0 under theirs."""
    attributes: dict[str, float] = {name: amounts.usd / NANOS_PER_USD}
    others = amounts[1:]
    if any(others):
        attributes |= {in_unit(name, unit): count for unit, count in zip(_COUNTED, others, strict=True) if count}
    return attributes


def counter_attributes(entry: Entry) -> Attributes:
    """What a counter span says of its journal entry; the journal keeps the exact amounts."""
    attributes = _of_money(entry) if entry.counter.unit is _USD else _of_a_count(entry)
    if entry.shard:
        attributes[JOURNAL_SHARD] = entry.shard
    return attributes


def _of_money(entry: Entry) -> dict[str, str | int | float | bool]:
    # As `_of_a_count`, in one display: most counters are of money, and of each of their entries spans are made.
    account, kind, period, window, unit = _texts_of(entry.counter)
    spent, spent_delta, reserved, reserved_delta = entry.spent, entry.spent_delta, entry.reserved, entry.reserved_delta
    attributes: dict[str, str | int | float | bool] = {
        OP: _TEXTS[entry.op],
        ACCOUNT: account,
        ACCOUNT_KIND: kind,
        PERIOD: period,
        WINDOW: window,
        UNIT: unit,
        RESERVATION_ID: entry.reservation_id,
        STATUS: _TEXTS[entry.status],
        JOURNAL_SEQ: entry.seq,
        SPENT_BEFORE_USD: (spent - spent_delta) / NANOS_PER_USD,
        SPENT_DELTA_USD: spent_delta / NANOS_PER_USD,
        SPENT_AFTER_USD: spent / NANOS_PER_USD,
        RESERVED_BEFORE_USD: (reserved - reserved_delta) / NANOS_PER_USD,
        RESERVED_DELTA_USD: reserved_delta / NANOS_PER_USD,
        RESERVED_AFTER_USD: reserved / NANOS_PER_USD,
    }
    if entry.limit is not None:
        attributes[LIMIT_USD] = entry.limit / NANOS_PER_USD
    return attributes


def _of_a_count(entry: Entry) -> dict[str, str | int | float | bool]:
    return {
        OP: _TEXTS[entry.op],
        **_counter_attributes(entry.counter),
        RESERVATION_ID: entry.reservation_id,
        STATUS: _TEXTS[entry.status],
        JOURNAL_SEQ: entry.seq,
        **_figures_of(entry),
    }


def _counter_attributes(counter: Counter) -> Mapping[str, str]:
    account, kind, period, window, unit = _texts_of(counter)
    return {ACCOUNT: account, ACCOUNT_KIND: kind, PERIOD: period, WINDOW: window, UNIT: unit}


@lru_cache(1_024)
def _texts_of(counter: Counter) -> tuple[str, str, str, str, str]:
    account, period, window, unit = counter
    return account, kind_of(account), str(period), window, str(unit)


def _figures_of(entry: Entry) -> dict[str, int]:
    figures = [entry.spent_before, entry.spent_delta, entry.spent]
    figures += [entry.reserved_before, entry.reserved_delta, entry.reserved]
    if entry.limit is not None:
        figures.append(entry.limit)
    return dict(zip(_FIGURES_IN[entry.counter.unit], figures, strict=False))


def rejection_attributes(rejection: Rejection) -> Attributes:
    """The counter that refused a reserve."""
    unit = rejection.target.counter.unit
    return {
        **_counter_attributes(rejection.target.counter),
        in_unit(SPENT_BEFORE_USD, unit): figure_number(rejection.balance.spent, unit),
        in_unit(RESERVED_BEFORE_USD, unit): figure_number(rejection.balance.reserved, unit),
        in_unit(LIMIT_USD, unit): figure_number(rejection.limit, unit),
    }


def passed_attributes(passed: Passed) -> Attributes:
    """A limit that a request went over and that did not refuse it: as of one that did, and its mode."""
    return {**rejection_attributes(passed.rejection), LIMIT_MODE: str(passed.mode)}


def crossing_attributes(crossing: Crossing) -> Attributes:
    """A threshold that was crossed."""
    unit = crossing.counter.unit
    return {
        **_counter_attributes(crossing.counter),
        LIMIT_MODE: str(crossing.threshold.mode),
        ALERT_PERCENT: crossing.threshold.percent,
        in_unit(LIMIT_USD, unit): figure_number(crossing.threshold.limit, unit),
        in_unit(SPENT_AFTER_USD, unit): figure_number(crossing.spent, unit),
    }
