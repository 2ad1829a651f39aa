"""`price --answer`: the bill that a gateway with these settings would book for a saved answer."""

from budget_middleware.apis.protocol.base import Ask
from budget_middleware.cli.bill_table import print_bill
from budget_middleware.cli.output import print_error, print_json, print_line
from budget_middleware.cli.price_checking import operators_book
from budget_middleware.cli.saved_answers import SavedAnswer, has_cost, name_of, read_saved_answer
from budget_middleware.core.costs.bill import unpack
from budget_middleware.core.costs.charges import Charge, End, OnAbort, charge_of
from budget_middleware.core.costs.outcome import Outcome
from budget_middleware.operations.bills import bill_row
from budget_middleware.operations.values import as_json
from budget_middleware.prices import PriceBook
from budget_middleware.request.bills.bill import Bill, reported_cost
from budget_middleware.request.quotes.quote import Quote
from budget_middleware.settings_loading import load


def price_answer(file: str, *, model: str, api: str, in_json: bool) -> int:
    """Print the bill of an answer. ``model`` is the one that was asked, empty if only the answer names one."""
    answer = read_saved_answer(file, api=api)
    if not has_cost(answer.seen):
        print_error(f"{name_of(file)}: {_why_no_usage(answer)}")
        return 1
    book = operators_book()
    asked, path = model or answer.seen.model or "", api if api.startswith("/") else ""
    ask = answer.api.read_request({"model": asked} if asked else {}, path=path, n_bytes=0)
    quote = Quote(Ask(model=ask.model, provider=ask.provider), book.resolve(ask.model or "", provider=ask.provider), 0)
    bill, charge = _billed(answer, quote, book)
    itemized = unpack(bill.packed(charge))
    if itemized is None or (quote.rates is None and not itemized.amounts and not itemized.sources):
        print_no_price(ask.model)
        return 1
    for what in sorted(bill.unpriced):
        print_error(f"{what} has no price, and is missing from this bill: give it one in BUDGET_PRICES")
    names = {"api": answer.api.name, "asked": ask.model, "answered": answer.seen.model}
    row = bill_row(itemized, reason=charge.reason)
    if in_json:
        print_json({**names, **as_json(row)})
        return 0
    by = f", answered by {answer.seen.model}" if answer.seen.model and answer.seen.model != ask.model else ""
    print_line(f"{ask.model or 'no model'} ({answer.api.name}){by}")
    print_bill(row)
    return 0


def _billed(answer: SavedAnswer, quote: Quote, book: PriceBook) -> tuple[Bill, Charge]:
    bill = Bill(quote, book)
    bill.reported_nanos = reported_cost(answer.reader.headers.get(load().cost_header.encode(), b"").strip())
    evidence = bill.evidence(answer.seen, end=End.COMPLETE, is_error=False, output_began=True)
    charge = charge_of(evidence, on_abort=OnAbort.PARTIAL)
    return bill, charge


def _why_no_usage(answer: SavedAnswer) -> str:
    if answer.seen.outcome(is_error_status=False, is_whole=True) is Outcome.FAILED_BEFORE_OUTPUT:
        return "it is an error without a usage: a gateway books nothing for it"
    return (
        f"an answer of {answer.api.name} that reports no usage: a gateway would book the input and output that it"
        " reads, or the estimate"
    )


def print_no_price(model: str | None) -> None:
    """Say what becomes of a model that has no price, and where to give it one."""
    if not model:
        print_error("the answer names no model: give the requested one with --model")
        return
    print_error(
        f"{model[:256]} has no price: BUDGET_UNKNOWN_MODEL=reject answers 400 where a limit binds the"
        " request, else books 0; give it a price in BUDGET_PRICES, or set BUDGET_UNKNOWN_MODEL to IN/OUT"
    )
