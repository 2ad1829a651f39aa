"""What a batch may cost, before it is created: the sum of its calls, at the price of batches.

Of an uploaded file only these sums are kept, under the file's id; whichever worker creates the batch finds them. What
cannot be read counts as much as the calls that can be, and a batch of which nothing is known as
BUDGET_JOB_ESTIMATE_USD.
"""

import asyncio
import json
import math
from dataclasses import dataclass, replace
from typing import Final

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.reading import mapping_of, name_in
from budget_middleware.apis.jobs.batches import BatchApi, PlannedCall
from budget_middleware.apis.jobs.created import JobApi
from budget_middleware.apis.jobs.realtime_direct import OpenAIRealtimeDirect, PlannedSession
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.core.costs.pricing import Rates
from budget_middleware.core.costs.usage import Usage
from budget_middleware.core.money import MAX_NANOS, NANOS_PER_USD, ceil_div
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.jobs.tickets import fact_name
from budget_middleware.request.bodies.body_read import BodyRead
from budget_middleware.request.quotes.file_plans import FilePlan, google_file_fact, unpack_plan
from budget_middleware.request.quotes.jobs import JobQuoting
from budget_middleware.request.quotes.quote import Quote
from budget_middleware.request.quotes.quoting import Quoting
from budget_middleware.request.quotes.sessions import planned_details, session_nanos, session_tokens
from budget_middleware.request.quotes.shown_model import short

FILE_KEPT_MS: Final = 30 * 86_400_000
"""How long the sums of an uploaded file are kept; providers keep the files of batches about as long."""

MOST_UNREAD: Final = 10_000
"""Of a file with more lines that cannot be read nothing is known: no batch has them, and each of them takes time."""

_BATCH: Final = "batch"
_HALF: Final = 5_000
_VERSION: Final = 1
# So many calls are read at once; then others have their turn.
_AT_ONCE: Final = 100
_NO_RATES: Final = Rates(model="", by_unit={})


def batch_rates(rates: Rates) -> Rates:
    """The rates of a model in batches: those that the price book has for them, else half of all."""
    return rates.in_modes((_BATCH,)) if _has_own_batch_price(rates) else rates.times(_HALF)


def _has_own_batch_price(rates: Rates) -> bool:
    return _BATCH in rates.by_mode or _BATCH in rates.basis_points_by_mode


@dataclass(slots=True)
class PlannedSums:
    """The sums of the calls that a batch plans. ``unread`` are those that could not be read, or have no price."""

    requests: int = 0
    nanos: int = 0
    tokens: int = 0
    input_tokens: int = 0
    unread: int = 0
    model: str = ""
    unpriced_model: str = ""

    def add(self, call: PlannedCall, quoting: Quoting) -> None:
        """Add a call, at the price of batches."""
        self.requests += 1
        try:
            ask = call.api.read_request(call.body, path=call.path, n_bytes=call.n_bytes) if call.api else None
        except BadRequestError:
            ask = None
        quote = quoting.quote(replace(ask, modes=(*ask.modes, _BATCH)), account="") if ask else None
        if quote is None or quote.rates is None:
            self.unread += 1
            self.unpriced_model = self.unpriced_model or short(quote.model if quote else "")
            return
        has_own_price = _has_own_batch_price(quote.rates)
        self.nanos += quote.estimate_nanos if has_own_price else ceil_div(quote.estimate_nanos, 2)
        self.tokens += quote.tokens
        self.input_tokens += quote.ask.input.input_tokens
        self.model = self.model or short(quote.model)

    def add_sums(self, other: "PlannedSums") -> None:
        """Add the calls of another part of the same file."""
        self.requests += other.requests
        self.nanos = min(self.nanos + other.nanos, MAX_NANOS)
        self.tokens += other.tokens
        self.input_tokens += other.input_tokens
        self.unread += other.unread
        self.model = self.model or other.model
        self.unpriced_model = self.unpriced_model or other.unpriced_model

    def add_plan(self, plan: FilePlan, quoting: Quoting, *, model: str | None) -> None:
        """Add the calls of a file that names no model, as if all were of their mean length."""
        self.requests += plan.requests
        self.unread += plan.unread
        for n_calls, ask in plan.asks(model):
            quote = quoting.quote(ask, account="")
            if quote.rates is None:
                self.unread += n_calls
                self.unpriced_model = self.unpriced_model or short(quote.model)
                continue
            has_own_price = _has_own_batch_price(quote.rates)
            nanos = quote.estimate_nanos if has_own_price else ceil_div(quote.estimate_nanos, 2)
            self.nanos = min(self.nanos + nanos * n_calls, MAX_NANOS)
            self.tokens += quote.tokens * n_calls
            self.input_tokens += ask.input.input_tokens * n_calls
            self.model = self.model or short(quote.model)

    @property
    def whole_nanos(self) -> int | None:
        """The sum, with what could not be read at the mean of the rest; None if nothing could be."""
        read = self.requests - self.unread
        return min(self.nanos + ceil_div(self.nanos * self.unread, read), MAX_NANOS) if read else None

    def packed(self) -> str:
        """What is kept of them: counts, sums and the names of models; no text of a call."""
        sums = [self.requests, self.nanos, self.tokens, self.input_tokens, self.unread]
        return json.dumps({"v": _VERSION, "sums": sums, "models": [self.model, self.unpriced_model]})


def unpack_sums(text: str) -> PlannedSums | None:
    """None for what is no sum, or of a newer version."""
    try:
        fields = json.loads(text)
        requests, nanos, tokens, input_tokens, unread = map(int, fields["sums"])
        model, unpriced_model = map(str, fields["models"])
    except (ValueError, KeyError, TypeError):
        return None
    sums = PlannedSums(requests, nanos, tokens, input_tokens, unread, model, unpriced_model)
    return sums if fields["v"] == _VERSION else None


def file_fact(file_id: str) -> str:
    """The name under which the sums of an uploaded file are kept."""
    return fact_name("file", file_id)


class BatchQuoting:
    """Quotes batches by their calls, and other jobs by what they make.

    ``else_usd`` is held for a job of which nothing is known; sessions around the gateway last ``session_s``.
    """

    def __init__(self, quoting: Quoting, ledger: Ledger, *, else_usd: float, session_s: float) -> None:
        self._quoting = quoting
        self._ledger = ledger
        self._else_nanos = round(else_usd * NANOS_PER_USD)
        self._session_s = math.ceil(session_s)
        self._jobs = JobQuoting(ledger, else_nanos=self._else_nanos)

    async def quote(self, api: BatchApi | JobApi, ask: Ask, body: BodyRead, *, path: str) -> Quote:
        """What a job may cost now; see `Quoting.quote` for any other request."""
        if isinstance(api, JobApi):
            return await self._jobs.quote(api, ask, body, path=path)
        if isinstance(api, OpenAIRealtimeDirect):
            return self._quote_session(api, ask, body, path=path)
        sums = await self._sums(api, body, model=ask.model)
        nanos = sums.whole_nanos
        if nanos is not None and sums.unread:
            # A client chooses what cannot be read, as by cutting it, and that may cost more than all of the rest.
            nanos = max(nanos, self._else_nanos)
        model = sums.model or ask.model or ""
        rates = self._ledger.prices.resolve(model) if model else None
        return Quote(
            Ask(model=model or None, is_unseen=True, input=Usage(input_tokens=sums.input_tokens)),
            batch_rates(rates) if rates else _NO_RATES,
            max(self._else_nanos if nanos is None else nanos, 1),
            tokens=sums.tokens,
            mean_tokens=sums.tokens,
            unpriced_model=sums.unpriced_model,
        )

    def _quote_session(self, api: OpenAIRealtimeDirect, ask: Ask, body: BodyRead, *, path: str) -> Quote:
        nanos, session = max(((self._ceiling_of(each), each) for each in _sessions_of(api, ask, body)), key=_by_ceiling)
        place = api.path_of_calls(path)
        model = session.transcriber if session.only_transcribes else session.model
        prices, counted = self._ledger.prices, self._ledger.tokens_counted
        rates = prices.resolve(model) if model else None
        tokens = session_tokens(session, prices, seconds=self._session_s, counted=counted)
        return Quote(
            Ask(model=model or None, is_unseen=True),
            rates or _NO_RATES,
            nanos,
            tokens=tokens,
            mean_tokens=tokens,
            job=planned_details(session, seconds=self._session_s, path=place) if place is not None else None,
            named_job=api.job_named_in(path),
            job_deadline_s=self._session_s + session.lives_s,
        )

    def _ceiling_of(self, session: PlannedSession) -> int:
        nanos = session_nanos(session, self._ledger.prices, seconds=self._session_s)
        return self._else_nanos if nanos is None else nanos

    async def _sums(self, api: BatchApi, body: BodyRead, *, model: str | None) -> PlannedSums:
        file_id = api.input_file(body.document)
        text = await self._ledger.tickets.fact(file_fact(file_id)) if file_id else None
        sums = (unpack_sums(text) if text else None) or PlannedSums()
        if name := api.file_of_any_model(body.document):
            text = await self._ledger.tickets.fact(google_file_fact(name))
            if plan := unpack_plan(text) if text else None:
                sums.add_plan(plan, self._quoting, model=model)
        for call in api.planned_calls(body.document, model=model, n_bytes=body.n_bytes):
            sums.add(call, self._quoting)
            if sums.requests % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return sums


def _sessions_of(api: OpenAIRealtimeDirect, ask: Ask, body: BodyRead) -> list[PlannedSession]:
    """What a request may ask for: which of several models counts, of its address, its body or the session in that, is
    not ours to know.
    """
    session = api.session_of(body.document, model=ask.model or "")
    if session.only_transcribes:
        return [session]
    named = (ask.model, *ask.other_models, name_in(mapping_of(body.document), "model"))
    return [session, *(session._replace(model=name) for name in named if name)]


def _by_ceiling(priced: tuple[int, PlannedSession]) -> int:
    return priced[0]
