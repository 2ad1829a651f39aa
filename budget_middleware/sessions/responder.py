"""One handshake: refuses a caller for whom nobody can be charged, else runs the session."""

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.reading import UNREADABLE
from budget_middleware.apis.session_events import SessionDialect
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.payers.payers import fields_of_the_body
from budget_middleware.request.admission import Admission, Refused
from budget_middleware.request.refusals import refuse_handshake
from budget_middleware.request.scopes import as_metered
from budget_middleware.sessions.event_body import EventBody
from budget_middleware.sessions.session import Session
from budget_middleware.settings import Settings


class SessionResponder:
    """Runs metered sessions; raises what the app raises."""

    def __init__(self, app: ASGIApp, *, settings: Settings, ledger: Ledger, admission: Admission) -> None:
        self._app = app
        self._settings = settings
        self._ledger = ledger
        self._admission = admission
        self._payers_fields = fields_of_the_body(settings.accounts)

    async def respond(self, dialect: SessionDialect, scope: Scope, receive: Receive, send: Send, *, path: str) -> None:
        """Run a session, or refuse its handshake. ``path`` is the reading of its path that the dialect knows."""
        nothing_asked = EventBody(UNREADABLE, headers=HeaderTable(scope["headers"]), n_bytes=0)
        payers = await self._admission.find_payers(scope, nothing_asked)
        if isinstance(payers, Refused):
            self._admission.count_refused(payers)
            await refuse_handshake(dialect.api, payers.refusal, scope, receive=receive, send=send)
            return
        session = Session(
            dialect,
            as_metered(scope),
            path=path,
            payers_fields=self._payers_fields,
            receive=receive,
            send=send,
            admission=self._admission,
            settings=self._settings,
            ledger=self._ledger,
        )
        await session.run(self._app)
