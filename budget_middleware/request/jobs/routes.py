"""Requests that cost nothing themselves, and plan a job or show what one has used: each goes to whoever reads it.

POST /files ──> uploads, or a piece of one to Google ──> google_uploads
POST /uploads/ID/parts, /uploads/ID/complete ──> upload_parts
GET, POST of a background response or interaction, GET of a deferred completion ──> background
GET of a batch, its results or its output file, POST that cancels one ──> batch_results
POST of a webhook ──> webhooks
GET of a list of jobs ──> lists
POST that hangs up a call ──> direct_calls
GET of a video, of training, of an evaluation, POST that cancels one ──> job_states
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.batch_states import look_at
from budget_middleware.apis.job_lists import listed_at
from budget_middleware.apis.job_looks import job_look_at
from budget_middleware.apis.jobs import is_upload
from budget_middleware.apis.openai_realtime_direct import hung_up_at
from budget_middleware.apis.paths import is_plain, readings_of
from budget_middleware.ledger import Ledger
from budget_middleware.request.jobs.background import deferred_at, looked_up_at, pass_and_book
from budget_middleware.request.jobs.batch_results import pass_and_book_batch
from budget_middleware.request.jobs.direct_calls import correct_at_deadlines, pass_hangup
from budget_middleware.request.jobs.google_uploads import pass_piece, piece_of
from budget_middleware.request.jobs.job_states import pass_and_book_job
from budget_middleware.request.jobs.lists import pass_and_book_list
from budget_middleware.request.jobs.upload_parts import UploadStep, pass_completion, pass_part, upload_step_at
from budget_middleware.request.jobs.uploads import pass_upload
from budget_middleware.request.jobs.webhooks import Webhooks
from budget_middleware.request.quoting import Quoting
from budget_middleware.request.scopes import meant_methods
from budget_middleware.setting_types import Mode
from budget_middleware.settings import Settings


class JobRoutes:
    """Passes requests that are not metered on to the app, and reads those of jobs."""

    def __init__(self, app: ASGIApp, *, settings: Settings, ledger: Ledger, quoting: Quoting) -> None:
        self._app = app
        self._ledger = ledger
        self._quoting = quoting
        self._reads = settings.mode is not Mode.OFF
        self._max_bytes = settings.max_body_bytes
        self._webhooks = Webhooks(settings.webhooks, ledger)
        self._gone = settings.realtime_gone
        correct_at_deadlines(ledger)

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a request to the app, and read of it and of its answer what jobs hang on."""
        method, path = _as_answered(scope) if self._reads and scope["type"] == "http" else ("", "")
        if method not in ("GET", "POST"):
            await self._app(scope, receive, send)
        elif method == "POST" and self._webhooks.take(scope["path"]):
            await self._webhooks.pass_and_read(self._app, scope, receive, send)
        elif method == "POST" and (address := hung_up_at(scope)):
            app, ledger = self._app, self._ledger
            await pass_hangup(app, scope, receive, send, address=address, ledger=ledger, gone=self._gone)
        elif method == "POST" and is_upload(path):
            await self._pass_upload(scope, receive, send)
        elif method == "POST" and (step := upload_step_at(path)):
            await self._pass_step(step, scope, receive, send)
        else:
            await self._pass_look(method, path, scope, receive, send)

    async def _pass_look(self, method: str, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """What may be a look at a job, or a request that ends one."""
        app, ledger, max_bytes = self._app, self._ledger, self._max_bytes
        if api := looked_up_at(path):
            await pass_and_book(app, scope, receive, send, ledger=ledger, max_body_bytes=max_bytes, api=api)
        elif method == "GET" and (deferred := deferred_at(path)):
            await pass_and_book(app, scope, receive, send, ledger=ledger, max_body_bytes=max_bytes, deferred=deferred)
        elif job_look := job_look_at(method, path):
            await pass_and_book_job(app, scope, receive, send, look=job_look, ledger=ledger, max_body_bytes=max_bytes)
        elif look := look_at(method, path):
            await pass_and_book_batch(app, scope, receive, send, look=look, ledger=ledger, max_line_bytes=max_bytes)
        elif method == "GET" and (listed := listed_at(path)):
            await pass_and_book_list(app, scope, receive, send, listed=listed, ledger=ledger, max_body_bytes=max_bytes)
        else:
            await app(scope, receive, send)

    async def _pass_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, ledger, max_bytes = self._app, self._ledger, self._max_bytes
        if piece := piece_of(scope):
            await pass_piece(app, scope, receive, send, piece=piece, ledger=ledger, max_line_bytes=max_bytes)
            return
        quoting = self._quoting
        await pass_upload(app, scope, receive, send, quoting=quoting, ledger=ledger, max_line_bytes=max_bytes)

    async def _pass_step(self, step: UploadStep, scope: Scope, receive: Receive, send: Send) -> None:
        app, ledger, upload = self._app, self._ledger, step.upload
        if not step.is_part:
            await pass_completion(app, scope, receive, send, upload=upload, ledger=ledger)
            return
        quoting, max_bytes = self._quoting, self._max_bytes
        await pass_part(
            app, scope, receive, send, upload=upload, quoting=quoting, ledger=ledger, max_line_bytes=max_bytes
        )


def _as_answered(scope: Scope) -> tuple[str, str]:
    """The method and the path as the server may read them that answers in the end.

    Who could spell a request for a result so that it is answered and not seen here would have it for the estimate.
    """
    method, path = scope["method"], scope["path"]
    if method == "POST" and "GET" in meant_methods(scope):
        # As Google's servers, for one, take it.
        method = "GET"
    if is_plain(path):
        return method, path
    readings = readings_of(path, raw_path=scope.get("raw_path") or b"", root_path=scope.get("root_path") or "")
    return method, next(filter(is_plain, readings or ()), path)
