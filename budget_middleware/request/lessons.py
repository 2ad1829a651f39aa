"""What an answer teaches for the estimates of further requests: what it has come to, and who has answered."""

import time

from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.learning import answer_seen
from budget_middleware.core.costs.pricing import FEMTOS_PER_NANO
from budget_middleware.core.payers.payers import first_account
from budget_middleware.ledger import Ledger
from budget_middleware.prices import price_rank
from budget_middleware.request.admission import Admitted
from budget_middleware.request.bills.bill import Bill
from budget_middleware.request.bills.who_answers import Answered, is_more_expensive


def learn_from_answer(admitted: Admitted, *, seen: Seen, bill: Bill, ledger: Ledger) -> None:
    """Learn from a complete answer that reported its usage. One from a cache was never generated for this call."""
    quote = admitted.quote
    usage = seen.usage or seen.header_usage
    if quote.group is None or quote.rates is None or usage is None or seen.is_from_cache:
        return
    # Whoever names a dear model and is answered by a cheap one would teach others what the dear one comes to.
    if not bill.is_by_quoted_model(seen):
        return
    tokens = -(-usage.output_tokens // quote.ask.choices)
    answer = answer_seen(
        tokens=min(tokens, quote.rates.output_ceiling or tokens),
        seconds=time.monotonic() - admitted.hold.since_s,
        estimated=quote.fixed_femtos // FEMTOS_PER_NANO,
        billed=bill.fixed_femtos() // FEMTOS_PER_NANO,
    )
    if answer is not None:
        ledger.learner.add(quote.group, answer)


def remember_who_answered(admitted: Admitted, *, answered: Answered, ledger: Ledger) -> None:
    """Remember a model that costs more than the name that was asked, so that the next request is held at its price.

    Of several names in one request nobody knows which one has led to it, and whoever asked may have chosen it.
    """
    quote = admitted.quote
    if not answered.is_known or not quote.ask.model or quote.rates is None:
        return
    if not is_more_expensive(answered.rates, quote.rates):
        return
    account = first_account(admitted.hold.payers) if quote.ask.other_models or quote.ask.maybe_models else ""
    ledger.answering.add(quote.ask.model, answered.model, rank=price_rank(answered.rates), account=account)
