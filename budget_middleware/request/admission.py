"""Admission: estimates a request, finds who pays, and reserves before the call."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from starlette.types import Scope

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.jobs.batches import BatchApi
from budget_middleware.apis.jobs.created import JobApi
from budget_middleware.apis.protocol.base import Api, Reason, Refusal
from budget_middleware.core.costs.charges import OnExpire, deadline_charge, expiry_charge
from budget_middleware.core.fast import maker_of
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.core.payers.accounts import encode_subject
from budget_middleware.core.payers.payers import PayerSubjects, TooManyTagsError, first_account
from budget_middleware.core.units import NOTHING, Amounts, Unit
from budget_middleware.ledger import Caller, CallerLeftError, Hold, Ledger
from budget_middleware.payers.credentials import AmbiguousTokenError, UnclearPayerError
from budget_middleware.payers.payers import Payers
from budget_middleware.prices import PriceBook
from budget_middleware.request.bodies.body_read import BodyRead, read_by_length
from budget_middleware.request.headers.refusals import is_callers_own, refusal_of
from budget_middleware.request.quotes.batches import BatchQuoting
from budget_middleware.request.quotes.quote import Quote, goes_on_elsewhere
from budget_middleware.request.quotes.quoting import Quoting, subject_asked, subject_of_model, unknown_model_message
from budget_middleware.request.quotes.shown_model import SHOWN_CHARS, shown_model
from budget_middleware.setting_types import Mode, OnStoreError
from budget_middleware.settings import Settings
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, StoreUndecided
from budget_middleware.stores.notes import Topic
from budget_middleware.telemetry import NO_PROVIDER, names
from budget_middleware.telemetry.traceparent import log_ids

_log = logging.getLogger("budget_middleware")


class Admitted(NamedTuple):
    """A request that may go on. Unprotected: the store is away, whether the hold was made is unknown."""

    hold: Hold
    quote: Quote
    balances: Sequence[Balance] = ()
    is_unprotected: bool = False


_admitted = maker_of(Admitted)


class Refused(NamedTuple):
    """A request that gets an answer from us instead of the app's. ``rejection``: with the figures to show."""

    refusal: Refusal
    rejection: Rejection | None = None
    hold: Hold | None = None


class Admission:
    """What is shared by all requests of a middleware before they are admitted."""

    def __init__(self, settings: Settings, *, ledger: Ledger, payers: Payers, prices: PriceBook) -> None:
        self._settings = settings
        self._ledger = ledger
        self._payers = payers
        self._enforces = settings.mode is Mode.ENFORCE
        self._expires_free = settings.on_expire is OnExpire.RELEASE
        self._n_waiting = 0
        self.quoting = Quoting(
            prices,
            ledger.learner,
            by=settings.estimate,
            spreads=settings.estimate_spread,
            default_output_tokens=settings.default_output_tokens,
            answering=ledger.answering,
        )
        self._batches = BatchQuoting(
            self.quoting, ledger, else_usd=settings.job_estimate_usd, session_s=settings.realtime_direct_s
        )

    async def admit(
        self,
        api: Api,
        scope: Scope,
        body: BodyRead,
        *,
        path: str,
        client: Caller | None = None,
        has_begun: bool = False,
    ) -> Admitted | Refused:
        """Estimate and reserve. The caller owes the ledger an ending for an admitted hold.

        ``path`` is the reading of its path that the API knows. A ``client`` may wait, and leave (``is_client_gone``).
        What ``has_begun`` by itself is spent, whatever limits and prices say: only an unclear payer refuses it.
        """
        try:
            ask = api.read_request(body.document, path=path, query=scope.get("query_string", b""), n_bytes=body.n_bytes)
        except BadRequestError as error:
            bad = _refused(400, Reason.BAD_REQUEST, f"{error}.")
            if self._enforces or (by_length := read_by_length(api, body, path=path)) is None:
                return bad
            ask = by_length
        payers = await self.find_payers(scope, body)
        if isinstance(payers, Refused):
            return payers
        if isinstance(api, (BatchApi, JobApi)):
            quote = await self._batches.quote(api, ask, body, path=path)
        else:
            quote = self.quoting.quote(ask, account=first_account(payers))
        rates, asked = quote.rates, (quote.ask.model or "")[:SHOWN_CHARS]
        provider = (rates.provider if rates is not None else "") or api.provider
        is_elsewhere = ask.is_unseen and goes_on_elsewhere(quote, api)
        hold = Hold(
            payers,
            Amounts(quote.estimate_nanos, quote.tokens, int(not ask.continues), inflight=int(not is_elsewhere)),
            model=subject_of_model(rates.model) if rates is not None and rates.model else subject_asked(quote),
            other_models=tuple(map(encode_subject, quote.other_models)) if quote.other_models else (),
            expiry_charge=NOTHING if self._expires_free and not quote.ask.is_unseen else self._expiry_charge(quote),
            expected_nanos=quote.expected_nanos if self._settings.last_cent else None,
            enforces=self._enforces and not has_begun,
            context=(context := self._ledger.telemetry.spans.parent(scope["headers"])),
            # An ending may be owed for long, and its hold is kept so long: no more of the request is kept with it.
            attributes=dict if context is NO_PROVIDER else partial(_span_attributes, provider, asked),
            estimate_attributes=partial(names.estimate_attributes, *quote.output) if quote.output else dict,
        )
        decided = await self._reserve(hold, quote, client)
        if (body.is_client_gone or rates is None or quote.unpriced_model) and isinstance(decided, Admitted):
            return self._unless_gone_or_unpriced(decided, body)
        return decided

    def _unless_gone_or_unpriced(self, admitted: Admitted, body: BodyRead) -> Admitted | Refused:
        """What becomes of a hold whose client has left meanwhile, or else whose model has no price."""
        hold, quote = admitted.hold, admitted.quote
        if body.is_client_gone:
            self._ledger.release(hold, reason="the client left while it waited")
            return _LEFT
        if self._refuses_unpriced(hold, quote):
            self._ledger.abandon(hold, reason="unpriced")
            return _refused(400, Reason.UNKNOWN_MODEL, unknown_model_message(quote, why_unread=body.why_unread))
        return admitted

    def count_refused(self, refused: Refused) -> None:
        """Count a request that got an answer from us instead of the app's."""
        context = refused.hold.context if refused.hold is not None else None
        self._ledger.telemetry.metrics.count_request(status=refused.refusal.reason, model="other", context=context)

    def _expiry_charge(self, quote: Quote) -> Amounts:
        of_input = Amounts(quote.input_nanos, quote.ask.input.input_tokens, requests=1)
        estimate = Amounts(quote.expected_nanos, quote.mean_tokens, requests=1)
        if quote.ask.is_unseen:
            return deadline_charge(self._settings.on_abort, of_input=of_input, estimate=estimate)
        return expiry_charge(self._settings.on_expire, of_input=of_input, estimate=estimate)

    async def find_payers(self, scope: Scope, body: BodyRead) -> Mapping[str, PayerSubjects] | Refused:
        """Who pays for a request, as far as its body is read."""
        try:
            return await self._payers.payers_of(scope, body.headers, body.document, refuses_many_tags=self._enforces)
        except TooManyTagsError as error:
            return _refused(400, Reason.BAD_REQUEST, f"{error}.")
        except UnclearPayerError as error:
            _log.warning("cannot determine who pays for a request: %s", error)
            if not self._enforces:
                return self._payers.no_payers()
            if isinstance(error, AmbiguousTokenError):
                return _refused(400, Reason.AMBIGUOUS_CREDENTIALS, f"{error}.")
            return _refused(
                503, Reason.UNAVAILABLE, "This gateway cannot determine who pays for this request at the moment."
            )

    def _refuses_unpriced(self, hold: Hold, quote: Quote) -> bool:
        """Whether a limit of money binds a request without a price. The store alone knows, so it follows a reserve."""
        if hold.enforces and any(target.limit is not None and target.unit is Unit.USD for target in hold.targets):
            return True
        model = encode_subject(quote.unpriced_model) if quote.unpriced_model else hold.model or "(none named)"
        if self._ledger.add_note(Topic.UNPRICED, model):
            _log.warning("model %s has no price: served, and booked at 0 as unpriced", model)
        return False

    async def _reserve(self, hold: Hold, quote: Quote, client: Caller | None) -> Admitted | Refused:
        # Who waits for budget is in nobody's way.
        most = self._settings.max_waiting
        if self._n_waiting >= most and self._n_waiting - self._ledger.n_waiting >= most:
            return _refused(503, Reason.BUSY, "This gateway has too many requests waiting for their budget; try again.")
        self._n_waiting += 1
        try:
            answer = await self._ledger.reserve(hold, caller=client)
        except CallerLeftError:
            return _LEFT
        except StoreUndecided as error:
            _log.warning("%s is not decided: %s", hold.id, error, extra=log_ids(hold.id, hold.reserve_trace))
            self._ledger.abandon(hold, reason="undecided")
            return _refused(503, Reason.BUSY, "The limits of this request are changing too fast; try again.")
        except (StoreUnavailable, StoreRefused) as error:
            return self._without_store(hold, quote, error)
        finally:
            self._n_waiting -= 1
        if answer.admits:
            return _admitted((hold, quote, answer.balances, False))
        if answer.rejection is None:
            return _refused(503, Reason.UNAVAILABLE, f"The budget store answered {answer.status}.")
        return self.refused_by(hold, answer.rejection)

    def _without_store(self, hold: Hold, quote: Quote, error: Exception) -> Admitted | Refused:
        """What the settings say of a request while the store is away."""
        policy, ids = self._settings.on_store_error, log_ids(hold.id, hold.reserve_trace)
        if hold.enforces and policy is OnStoreError.CLOSED:
            self._give_up(hold)
            return _refused(503, Reason.UNAVAILABLE, "The budget store is not available.")
        rejection = self._ledger.reserve_locally(hold) if hold.enforces and policy is OnStoreError.LOCAL else None
        if rejection is not None:
            _log.warning("the store is away, %s is refused by this worker's figures: %s", hold.id, error, extra=ids)
            self._give_up(hold)
            return self.refused_by(hold, rejection)
        _log.warning("the store is away, %s is served unprotected: %s", hold.id, error, extra=ids)
        return Admitted(hold, quote, is_unprotected=True)

    def _give_up(self, hold: Hold) -> None:
        # What the store was never asked for needs no release: endings that wait for it must not be crowded out.
        if hold.is_uncertain:
            self._ledger.abandon(hold, reason="store away")
        else:
            self._ledger.forget(hold)

    def refused_by(self, hold: Hold, rejection: Rejection) -> Refused:
        """The refusal of a hold that a limit rejects."""
        claimed_kinds = self._payers.claimed_kinds
        shows_figures = is_callers_own(rejection.target.account, claimed_kinds=claimed_kinds)
        refusal = refusal_of(
            rejection,
            claimed_kinds=claimed_kinds,
            exhausted_status=self._settings.exhausted_status,
            now_ms=self._ledger.store_time_ms(),
        )
        return Refused(refusal, rejection if shows_figures else None, hold)


def _refused(status: int, reason: Reason, message: str) -> Refused:
    return Refused(Refusal(status=status, reason=reason, message=message))


_LEFT: Final = _refused(503, Reason.BUSY, "The client has left.")


def _span_attributes(provider: str, model: str) -> names.Attributes:
    asked = {names.REQUEST_MODEL: shown_model(model)} if model else {}
    return {names.PROVIDER_NAME: names.provider_name(provider), **asked}
