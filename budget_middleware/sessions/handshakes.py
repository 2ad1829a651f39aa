"""Refuses a handshake whose caller has nothing left: not even the smallest call would be let through.

The store alone knows what is left, by rules of its own (windows that roll, what was carried over, credits). So it is
asked for the smallest hold there is, a billionth of a dollar and a token, which is given back at once. Only what has
been spent refuses: what is held, or a rate, may be free again while the session is open. A model that costs nothing
stays usable when a budget is spent, so the first call decides where the handshake does not say whether it is one.
"""

from collections.abc import Mapping

from budget_middleware.apis.protocol.base import Reason
from budget_middleware.core.payers.accounts import encode_subject
from budget_middleware.core.payers.payers import PayerSubjects
from budget_middleware.core.units import Amounts
from budget_middleware.ledger import Hold, Ledger
from budget_middleware.request.admission import Admission, Refused
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, StoreUndecided

_SMALLEST = Amounts(usd=1, tokens=1)


async def find_spent(
    payers: Mapping[str, PayerSubjects], *, model: str | None, admission: Admission, ledger: Ledger
) -> Refused | None:
    """The refusal of a session whose payers have nothing left; None if they have, or if nobody knows.

    ``model`` is the one that the handshake names, "" where none can be named there; None: it may be a free one.
    """
    if model is None:
        return None
    rates = ledger.prices.resolve(model) if model else None
    if model and (rates is None or rates.is_free):
        return None
    hold = Hold(payers, _SMALLEST, model=encode_subject(rates.model or model) if rates is not None else "")
    try:
        answer = await ledger.reserve(hold)
    except (StoreUnavailable, StoreRefused, StoreUndecided):
        # What an outage means is decided for each call.
        if hold.is_uncertain:
            ledger.abandon(hold, reason="nothing was asked for yet")
        else:
            ledger.forget(hold)
        return None
    if answer.admits:
        ledger.release(hold, reason="looked whether anything is left")
        return None
    if answer.rejection is None:
        return None
    refused = admission.refused_by(hold, answer.rejection)
    return refused if refused.refusal.reason is Reason.SPENT else None
