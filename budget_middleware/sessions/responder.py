"""One handshake: refuses a caller for whom nobody can be charged, else runs the session."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.bodies.reading import UNREADABLE
from budget_middleware.apis.protocol.session_events import SessionDialect
from budget_middleware.core.payers.payers import PayerSubjects
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.payers.payers import fields_of_the_body
from budget_middleware.request.admission import Admission, Refused
from budget_middleware.request.bodies.in_hand import BodiesInHand
from budget_middleware.request.headers.refusals import refuse_handshake
from budget_middleware.sessions.asking import SessionContext
from budget_middleware.sessions.call_watch import watch_of
from budget_middleware.sessions.event_body import EventBody
from budget_middleware.sessions.handshakes import find_spent
from budget_middleware.sessions.session import Session
from budget_middleware.setting_types import Mode
from budget_middleware.settings import Settings


class SessionResponder:
    """Runs metered sessions; raises what the app raises."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        ledger: Ledger,
        admission: Admission,
        in_hand: PerEventLoop[BodiesInHand],
    ) -> None:
        self._app = app
        self._admission = admission
        self._context = SessionContext(
            settings,
            ledger,
            admission,
            payers_fields=fields_of_the_body(settings.accounts),
            in_hand=in_hand,
            waits=settings.wait_s > 0 and settings.mode is Mode.ENFORCE,
        )

    async def _find_spent(
        self, payers: Mapping[str, PayerSubjects], dialect: SessionDialect, scope: Scope
    ) -> Refused | None:
        if self._context.settings.mode is not Mode.ENFORCE:
            return None
        model = dialect.model_ahead(scope)
        return await find_spent(payers, model=model, admission=self._admission, ledger=self._context.ledger)

    async def respond(self, dialect: SessionDialect, scope: Scope, receive: Receive, send: Send, *, path: str) -> None:
        """Run a session, or refuse its handshake. ``path`` is the reading of its path that the dialect knows."""
        nothing_asked = EventBody(UNREADABLE, headers=HeaderTable(scope["headers"]), n_bytes=0)
        payers = await self._admission.find_payers(scope, nothing_asked)
        refused = payers if isinstance(payers, Refused) else await self._find_spent(payers, dialect, scope)
        if refused is not None:
            self._admission.count_refused(refused)
            await refuse_handshake(dialect.api, refused.refusal, scope, receive=receive, send=send)
            return
        session = Session(self._context, dialect, scope, path=path, receive=receive, send=send)
        watch = await watch_of(dialect, scope, self._context.ledger)
        await (session.run(self._app) if watch is None else watch.run(session, self._app))
