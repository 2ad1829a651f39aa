"""Answers about batches: what they show of a batch that has ended is booked on its ticket, once.

    GET /batches/ID ──> its usage in sum: booked; nothing was answered: released; else its output file is remembered
    GET /files/ID/content, GET /messages/batches/ID/results ──> each line priced, the sum booked when all have passed

Results that break off upstream book nothing: the next reader shows them whole. Those whose client leaves are read to
their end. The lines pass through as they come.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.jobs.batch_states import BatchState, Look, LookKind, batch_named_by, read_batch, read_result
from budget_middleware.apis.jobs.batches import GEMINI_BATCH
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.streams.ndjson import LineSplitter
from budget_middleware.apis.streams.splitting import Event
from budget_middleware.core.costs.bill_packing import PricedCall, pack
from budget_middleware.core.costs.pricing import Line, Rates, Usage, breakdown, sum_nanos
from budget_middleware.core.costs.usage import tokens_of
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Job, Ledger, OpenTicket
from budget_middleware.ledger.jobs.tickets import KEPT_LONGER_MS, fact_name
from budget_middleware.request.bodies.field_masks import without_field_mask
from budget_middleware.request.jobs.background import at_least_asked, book_job
from budget_middleware.request.jobs.named_outputs import named_fact
from budget_middleware.request.jobs.plain_answers import KeptAnswer, pass_and_read
from budget_middleware.request.quotes.batches import FILE_KEPT_MS, batch_rates
from budget_middleware.stores.errors import NO_ANSWER

# So many answers are read at once; then others have their turn.
_AT_ONCE: Final = 20

_log = logging.getLogger("budget_middleware")


class BatchBill:
    """What the calls of a batch come to, at the price of batches; like lines of one model are one line of the bill.

    ``unclear``: how many calls were answered and show no usage, or have no price.
    """

    def __init__(self, ledger: Ledger, *, model: str) -> None:
        self.n_calls = self.unclear = self.tokens = 0
        self._ledger = ledger
        self._model = model
        self._lines: dict[str, tuple[Rates, list[Line]]] = {}

    def add(self, seen: Seen | None, *, calls: int = 1) -> None:
        """Add what one call has used; of ``calls`` together each is priced as one of their mean length."""
        if seen is None:
            return
        self.n_calls += calls
        prices = self._ledger.prices
        rates = prices.resolve(seen.model or self._model) or prices.resolve(self._model)
        usage = seen.whole_usage(Usage())
        if rates is None or usage is None:
            self.unclear += calls
            return
        self.tokens += tokens_of(usage, self._ledger.tokens_counted)
        self._add_lines(batch_rates(rates), usage, calls)
        for model, used in seen.extra_calls:
            self._add_lines(batch_rates((prices.resolve(model) if model else None) or rates), used, calls)

    def _add_lines(self, rates: Rates, usage: Usage, calls: int) -> None:
        # Long inputs cost more a token: of calls in sum none is as long as all of them.
        mean = replace(usage, input_tokens=usage.input_tokens // calls) if calls > 1 else usage
        rates_of = {line.unit: line.nanos_per_million for line in breakdown(rates, mean)}
        _, lines = self._lines.setdefault(rates.model, (rates, []))
        for line in breakdown(rates, usage):
            at = rates_of.get(line.unit, line.nanos_per_million)
            known = next((each for each in lines if (each.unit, each.nanos_per_million) == (line.unit, at)), None)
            if known is None:
                lines.append(Line(line.unit, line.count, at))
            else:
                known.count += line.count

    @property
    def nanos(self) -> int:
        return sum_nanos([line for _, lines in self._lines.values() for line in lines])

    def packed(self, nanos: int) -> str:
        calls = [PricedCall(rates, lines) for rates, lines in self._lines.values() if lines]
        return pack(nanos=nanos, calls=calls) if nanos == self.nanos else ""


async def pass_and_book_batch(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    look: Look,
    ledger: Ledger,
    max_line_bytes: int,
    is_sure: bool,
) -> None:
    """Let the app answer what it has of a batch; what that shows of its usage is booked.

    Not ``is_sure``: the app may read the path in another way, so that results may be none of this batch.
    """
    if look.kind is LookKind.BATCH:
        answer = KeptAnswer(max_line_bytes)
        book = partial(_book_answer, ledger, look, answer)
        whole = without_field_mask(scope)
        await pass_and_read(app, whole, receive, send, feed=answer.feed, at_end=book, reads_on=True)
        return
    found, fact = None, _fact_of(look)
    # What a client has got as a whole, and nobody knows, need not be asked for again.
    is_unknown = False
    if not ledger.tickets.closed.has(fact):
        with suppress(*NO_ANSWER):
            found, is_proven = await _ticket_of_results(ledger, look)
            is_unknown, is_sure = found is None, is_sure and is_proven
    if found is not None:
        reader = _ResultsReader(found, ledger, max_line_bytes)
        book = partial(_book_results, ledger, found, reader, is_sure)
        whole = without_field_mask(scope)
        await pass_and_read(app, whole, receive, send, feed=reader.feed, at_end=book, reads_on=True)
    elif is_unknown:
        remember = partial(_remember_unknown, ledger, fact)
        await pass_and_read(app, scope, receive, send, feed=None, at_end=remember)
    else:
        await app(scope, receive, send)


class _ResultsReader:
    """Prices the lines of results as they pass."""

    def __init__(self, found: OpenTicket, ledger: Ledger, max_line_bytes: int) -> None:
        self.bill = BatchBill(ledger, model=str(found.ticket.details.get("model", "")))
        self.n_lines = 0
        self._api = found.ticket.api
        self._lines = LineSplitter(max_event_bytes=max_line_bytes)

    def feed(self, piece: bytes) -> None:
        self._read(self._lines.feed(piece))

    def finish(self) -> BatchBill:
        self._read(self._lines.flush())
        # Lines that were too long to be read.
        self.bill.unclear += self._lines.n_skipped
        self.n_lines += self._lines.n_skipped
        return self.bill

    def _read(self, lines: Iterable[Event]) -> None:
        for line in lines:
            if line.data is not None:
                self.n_lines += 1
                self.bill.add(read_result(self._api, line.data))


async def _ticket_of_results(ledger: Ledger, look: Look) -> tuple[OpenTicket | None, bool]:
    """The ticket of a batch by its results, and whether more than their name proves that they are its own. They are
    read as they pass, so the store is asked before.
    """
    id_, is_proven = look.id, True
    if look.kind is LookKind.FILE:
        shown, named = _output_fact(look.id), named_fact(look.id)
        facts = await ledger.tickets.look_up_facts([shown, named])
        by_name = batch_named_by(look.id) if GEMINI_BATCH in look.apis else ""
        id_, is_proven = facts.get(shown) or facts.get(named) or by_name, shown in facts
    return (await ledger.tickets.look_up(*_jobs_of(look.apis, id_)) if id_ else None), is_proven


def _jobs_of(apis: Sequence[str], id_: str) -> list[Job]:
    return [Job(api, id_) for api in apis]


def _fact_of(look: Look) -> str:
    """The fact that leads from results to their batch."""
    return _output_fact(look.id) if look.kind is LookKind.FILE else Job(look.apis[0], look.id).fact_name


async def _remember_unknown(ledger: Ledger, fact: str) -> None:
    ledger.tickets.closed.add_unknown(fact)


def _output_fact(file_id: str) -> str:
    return fact_name("output", file_id)


async def _book_answer(ledger: Ledger, look: Look, answer: KeptAnswer) -> None:
    await book_batch(ledger, look.apis, answer.document, id_=look.id)


async def book_batch(ledger: Ledger, apis: Sequence[str], document: object, *, id_: str) -> None:
    """Book what a batch object shows of the batch of this id, which is one of these APIs'."""
    states = {api: read_batch(api, document) for api in apis}
    shown = [state for state in states.values() if state is not None and state.id == id_]
    # A batch that runs books nothing, and most who poll ask for one.
    if not any(state.is_over or state.output_file for state in shown):
        return
    is_over = all(state.is_over for state in shown)
    found = await ledger.tickets.find(*_jobs_of(apis, id_), is_over=is_over)
    state = states.get(found.ticket.api) if found is not None else None
    if found is None or state is None or state.id != id_:
        return
    if state.is_over and state.shows_usage:
        bill = BatchBill(ledger, model=str(found.ticket.details.get("model", "")))
        for n_read, seen in enumerate(state.seen, 1):
            bill.add(seen, calls=1 if state.is_each else max(state.done or 1, 1))
            if n_read % _AT_ONCE == 0:
                await asyncio.sleep(0)
        await _book_bill(ledger, found, bill)
    elif state.is_over and state.done == 0:
        await book_job(ledger, found, Amounts(requests=1))
    elif state.output_file:
        await _remember_output(ledger, state)


async def _book_results(ledger: Ledger, found: OpenTicket, reader: _ResultsReader, is_sure: bool) -> None:
    bill = reader.finish()
    # A batch of which nothing was answered has no results at all.
    if reader.n_lines:
        await _book_bill(ledger, found, bill, is_sure=is_sure)


async def _book_bill(ledger: Ledger, found: OpenTicket, bill: BatchBill, *, is_sure: bool = True) -> None:
    used = Amounts(bill.nanos, bill.tokens, requests=1)
    actual = at_least_asked(found, used) if bill.unclear or not is_sure else used
    if bill.unclear:
        _log.warning("of %s %d calls show no usage: booked at its estimate", found.ticket.job, bill.unclear)
    await book_job(ledger, found, actual, bill=bill.packed(actual.usd))


async def _remember_output(ledger: Ledger, state: BatchState) -> None:
    try:
        await ledger.tickets.keep_fact(_output_fact(state.output_file), state.id, keep_ms=FILE_KEPT_MS + KEPT_LONGER_MS)
    except NO_ANSWER as error:
        _log.warning("the output file of %s is not known to the store: %s", state.id, error)
