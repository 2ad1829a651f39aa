"""Admits the calls of one session: those that its client asks for, and those that the server begins by itself."""

from collections.abc import Mapping
from typing import NamedTuple

from starlette.types import Scope

from budget_middleware.apis.bodies.reading import list_of
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.protocol.session_events import Asked
from budget_middleware.apis.protocol.session_time import CONTINUES
from budget_middleware.core.costs.usage import UsageClass
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import ClientWait, Ledger
from budget_middleware.request.admission import Admission, Admitted, Refused
from budget_middleware.request.bodies.in_hand import BodiesInHand
from budget_middleware.sessions.call import SessionCall
from budget_middleware.sessions.event_body import EventBody, read_event_body
from budget_middleware.sessions.inbox import Inbox, WaitingSession
from budget_middleware.settings import Settings


class SessionContext(NamedTuple):
    """What all sessions of a middleware share. ``waits``: calls may wait for budget (BUDGET_WAIT_S)."""

    settings: Settings
    ledger: Ledger
    admission: Admission
    payers_fields: tuple[str, ...]
    in_hand: PerEventLoop[BodiesInHand]
    waits: bool


class Asking:
    """Makes calls of what one session's events ask for. ``client_wait`` is shared by all of them."""

    def __init__(self, context: SessionContext, api: Api, scope: Scope, *, path: str, inbox: Inbox) -> None:
        self.client_wait = ClientWait()
        self._context = context
        self._api = api
        self._scope = scope
        self._headers = HeaderTable(scope["headers"])
        self._path = path
        self._inbox = inbox

    async def admit_asked(self, asked: Asked, data: bytes) -> SessionCall | Refused | None:
        """A call that a client's event asks for, which may wait for its budget; None if the client has left."""
        if asked.body is not None:
            continues = {CONTINUES: True} if asked.time is not None and asked.time.continues else {}
            document = {**asked.body, **continues}
            body = EventBody(document, headers=self._headers, n_bytes=asked.n_bytes, why_unread=asked.why_unread)
        else:
            body = await read_event_body(
                data,
                headers=self._headers,
                max_bytes=self._context.settings.max_body_bytes,
                fields=self._context.payers_fields,
            )
        call = await self._admit(body, client=self._waiting_client(body), is_maybe=asked.is_maybe)
        return None if body.is_client_gone else call

    async def admit_unasked(
        self, body: Mapping[str, object], *, n_bytes: int, is_refused: bool = False
    ) -> SessionCall | Refused:
        """A call that the server has begun: that waits for nothing. One that ``is_refused`` will be paid all the same,
        until it is cancelled, so it holds what it may come to.
        """
        event_body = EventBody(body, headers=self._headers, n_bytes=n_bytes)
        return await self._admit(event_body, client=None, has_begun=is_refused)

    def costs_something(self, asked: Asked) -> bool:
        """Whether what is asked for has a price: the time of most sessions has none."""
        if asked.time is None or not asked.time.if_priced:
            return True
        names = [asked.model, *list_of((asked.body or {}).get("models"))]
        rates = [self._context.ledger.prices.resolve(str(name)) for name in names if name]
        if any(each is not None and UsageClass.AUDIO_MS in each.by_unit for each in rates):
            return True
        if rates:
            asked.time.forgo()
        return False

    def _waiting_client(self, body: EventBody) -> WaitingSession | None:
        context = self._context
        if not context.waits:
            return None
        return WaitingSession(
            body, self._inbox, headers=self._headers, in_hand=context.in_hand.current(), settings=context.settings
        )

    async def _admit(
        self, body: EventBody, *, client: WaitingSession | None, is_maybe: bool = False, has_begun: bool = False
    ) -> SessionCall | Refused:
        context = self._context
        decided = await context.admission.admit(
            self._api, self._scope, body, path=self._path, client=client, has_begun=has_begun
        )
        if isinstance(decided, Admitted):
            decided.hold.session_wait = self.client_wait
            return SessionCall(self._api, decided, settings=context.settings, ledger=context.ledger, is_maybe=is_maybe)
        self.count_refused(decided)
        return decided

    def count_refused(self, refused: Refused) -> None:
        """Count a call that its client is refused."""
        self._context.admission.count_refused(refused)
