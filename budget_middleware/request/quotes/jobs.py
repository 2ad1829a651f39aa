"""What a job may cost, before it is created: by what its request plans, else by the operator's rule.

A price is the operator's or a published one (`PriceBook.price_of_job`). What a job makes is what the request says, or
as much as the job had that it goes on from, or the tokens of the file that it trains on, if these came by. Where that
leads to no price, `hold_at_most` of the price file is held, else BUDGET_JOB_ESTIMATE_USD.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.reading import mapping_of
from budget_middleware.apis.jobs.created import JobApi, JobPlan
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.core.costs.estimate import tokens_from_text_bytes
from budget_middleware.core.costs.pricing import Rates, Usage, UsageClass, estimate_nanos
from budget_middleware.ledger import Job, Ledger
from budget_middleware.ledger.jobs.tickets import fact_name
from budget_middleware.request.bodies.body_read import BodyRead
from budget_middleware.request.quotes.quote import Quote
from budget_middleware.request.quotes.shown_model import short
from budget_middleware.stores.notes import Topic

_MEASURES: Final = {
    UsageClass.VIDEO_MS: "video_ms",
    UsageClass.TRAINING: "training_tokens",
    UsageClass.TRAINING_MS: "training_ms",
}
"""What jobs are measured by -> its field of a usage, and its name in what is kept of a ticket."""
_NO_RATES: Final = Rates(model="", by_unit={})


def training_fact(file_id: str) -> str:
    """The name under which the length of an uploaded file is kept."""
    return fact_name("training", file_id)


def planned_usage(details: Mapping[str, object]) -> Usage:
    """What a job plans, by what was kept with its ticket."""
    counts = {name: details[name] for name in _MEASURES.values() if name in details}
    return Usage(calls=1, **{name: count for name, count in counts.items() if type(count) is int and count >= 0})


def planned_modes(details: Mapping[str, object]) -> tuple[str, ...]:
    modes = details.get("modes")
    return tuple(mode for mode in modes if isinstance(mode, str)) if isinstance(modes, list) else ()


class JobQuoting:
    """Quotes jobs. ``else_nanos`` is held for one of which nothing is known."""

    def __init__(self, ledger: Ledger, *, else_nanos: int) -> None:
        self._ledger = ledger
        self._else_nanos = else_nanos

    async def quote(self, api: JobApi, ask: Ask, body: BodyRead, *, path: str) -> Quote:
        """What a job may cost now."""
        plan = _plan_of(api, body, path)
        source = await self._source(api, plan)
        model = ask.model or str(source.get("model") or api.default_model)
        used = await self._used(plan, source)
        modes = plan.modes or planned_modes(source)
        rates = self._rates(api, model, ask.other_models)
        nanos = None if plan.counts_calls else _planned_nanos(rates, used, modes)
        if nanos is None:
            self._tell_operators(api, model, rates)
        most = rates.hold_at_most_nanos if rates else None
        held = nanos if nanos is not None else most or self._else_nanos
        details: dict[str, Any] = {name: getattr(used, name) for name in _MEASURES.values()}
        details |= {"modes": list(modes), "pieces": plan.pieces, "exact": plan.is_exact, "named": bool(ask.model)}
        return Quote(
            Ask(model=short(model) or None, is_unseen=True, modes=modes),
            rates or _NO_RATES,
            min(held, most or held),
            other_models=tuple(name for name in ask.other_models if name != model),
            job={name: value for name, value in details.items() if value},
        )

    async def _source(self, api: JobApi, plan: JobPlan) -> Mapping[str, object]:
        """What was planned of the job that this one goes on from."""
        if not plan.made_of:
            return {}
        return await self._ledger.tickets.details_of(Job(api.name, plan.made_of)) or {}

    async def _used(self, plan: JobPlan, source: Mapping[str, object]) -> Usage:
        used = replace(plan.used, calls=1)
        if plan.is_guess and source:
            known = planned_usage(source)
            return known if known.video_ms else used
        if plan.file and (text := await self._ledger.tickets.fact(training_fact(plan.file))):
            n_bytes = int(text) if text.isdecimal() else 0
            return replace(used, training_tokens=tokens_from_text_bytes(n_bytes) * plan.times)
        return used

    def _rates(self, api: JobApi, model: str, others: tuple[str, ...]) -> Rates | None:
        """The rates of a model; of several that are named, those of the most expensive one."""
        found = [
            self._ledger.prices.price_of_job(api.kind, short(name), provider=api.provider) for name in (model, *others)
        ]
        return max(filter(None, found), key=_rank, default=None)

    def _tell_operators(self, api: JobApi, model: str, rates: Rates | None) -> None:
        """Tell operators of a job without a price; where they have said what is held for such, they know."""
        if rates is None or rates.hold_at_most_nanos is None:
            self._ledger.add_note(Topic.JOBS, f"{api.kind}/{short(model)}" if model else str(api.kind))


def _plan_of(api: JobApi, body: BodyRead, path: str) -> JobPlan:
    try:
        return api.plan(mapping_of(body.document), path=path)
    except BadRequestError:
        # In shadow mode it passes all the same.
        return JobPlan(Usage())


def _rank(rates: Rates) -> int:
    return sum(rates.of(unit).nanos_per_million for unit in (*_MEASURES, UsageClass.CALL))


def is_priced(rates: Rates, used: Usage) -> bool:
    """Whether a price leads from what a job uses to what it costs: it measures that, or has one for the whole job."""
    priced = [getattr(used, name) for unit, name in _MEASURES.items() if unit in rates.by_unit]
    if used.input_tokens or used.output_tokens:
        priced.append(not rates.by_unit.keys().isdisjoint({UsageClass.INPUT, UsageClass.OUTPUT}))
    return any(priced) if priced else UsageClass.CALL in rates.by_unit


def _planned_nanos(rates: Rates | None, used: Usage, modes: tuple[str, ...]) -> int | None:
    """What it comes to as planned; None where something that it is sold by is not known yet."""
    if rates is None or not is_priced(rates, used):
        return None
    return estimate_nanos(rates.in_modes(modes), used) or (0 if rates.is_free else 1)
