"""Requests that cost nothing themselves, and plan a job or show what one has used: each goes to whoever reads it.

POST /files ──> uploads, or a piece of one to Google ──> google_uploads
POST /uploads/ID/parts, /uploads/ID/complete ──> upload_parts
GET, POST of a background response or interaction, GET of a deferred completion ──> background
GET of a batch, its results or its output file, POST that cancels one ──> batch_results
POST of a webhook ──> webhooks
GET of a list of jobs ──> lists
GET of a list of files ──> named_outputs
POST that hangs up a call ──> direct_calls
GET of a video, of training, of an evaluation, POST that cancels one ──> job_states
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.jobs.batch_states import look_at
from budget_middleware.apis.jobs.batches import is_upload
from budget_middleware.apis.jobs.lists import listed_at
from budget_middleware.apis.jobs.looks import job_look_at
from budget_middleware.apis.jobs.realtime_direct import hung_up_at
from budget_middleware.apis.routes.paths import is_plain, readings_of
from budget_middleware.ledger import Ledger
from budget_middleware.request.jobs.background import deferred_at, looked_up_at, pass_and_book
from budget_middleware.request.jobs.batch_results import pass_and_book_batch
from budget_middleware.request.jobs.direct_calls import correct_at_deadlines, pass_hangup
from budget_middleware.request.jobs.google_uploads import pass_piece, piece_of
from budget_middleware.request.jobs.job_states import pass_and_book_job
from budget_middleware.request.jobs.lists import pass_and_book_list
from budget_middleware.request.jobs.named_outputs import lists_files, pass_file_list
from budget_middleware.request.jobs.upload_parts import UploadStep, pass_completion, pass_part, upload_step_at
from budget_middleware.request.jobs.uploads import pass_upload
from budget_middleware.request.jobs.webhooks import Webhooks
from budget_middleware.request.quotes.quoting import Quoting
from budget_middleware.request.scopes import meant_methods
from budget_middleware.request.unmetered.unmetered import refuse_unclear
from budget_middleware.setting_types import Mode
from budget_middleware.settings import Settings

_Passing = Callable[[ASGIApp, Scope, Receive, Send], Awaitable[None]]


class _Found(NamedTuple):
    """What a request is to jobs, which tells it from others, and who passes it on and reads it."""

    what: object
    passing: _Passing


class JobRoutes:
    """Passes requests that are not metered on to the app, and reads those of jobs."""

    def __init__(self, app: ASGIApp, *, settings: Settings, ledger: Ledger, quoting: Quoting) -> None:
        self._app = app
        self._ledger = ledger
        self._quoting = quoting
        self._reads = settings.mode is not Mode.OFF
        self._refuses_unclear = settings.mode is Mode.ENFORCE
        self._max_bytes = settings.max_body_bytes
        self._webhooks = Webhooks(settings.webhooks, ledger)
        self._gone = settings.realtime_gone
        correct_at_deadlines(ledger)

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a request to the app, and read of it and of its answer what jobs hang on."""
        if not self._reads or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if found := self._found_as_sent(scope):
            await found.passing(self._app, scope, receive, send)
            return
        asked = _as_answered(scope)
        # Many clients double a slash, which leaves one reading. To who has several, the app may answer by another one:
        # with a text of the client's own, say, that reads like the end of a job.
        is_sure = asked is not None and len({path for _, path in asked}) == 1
        found_by_what = {
            found.what: found for each in asked or () if (found := self._find(*each, scope, is_sure=is_sure))
        }
        if self._refuses_unclear and (asked is None or len(found_by_what) > 1 or (found_by_what and not is_sure)):
            await refuse_unclear(scope, send, ledger=self._ledger)
            return
        passing = next((found.passing for found in found_by_what.values()), None)
        await (passing(self._app, scope, receive, send) if passing is not None else self._app(scope, receive, send))

    def _found_as_sent(self, scope: Scope) -> _Found | None:
        """What proves something by its very address, and by no other reading of it."""
        if scope["method"] != "POST":
            return None
        if self._webhooks.take(scope["path"]):
            return _Found(Webhooks, self._webhooks.pass_and_read)
        # An answer to another method, such as OPTIONS, hangs nothing up.
        if (address := hung_up_at(scope)) and meant_methods(scope) == {"POST"}:
            return _Found(address, partial(pass_hangup, address=address, ledger=self._ledger, gone=self._gone))
        return None

    def _find(self, method: str, path: str, scope: Scope, *, is_sure: bool) -> _Found | None:
        if method == "POST" and is_upload(path):
            return self._upload(scope)
        if method == "POST" and (step := upload_step_at(path)):
            return self._step(step)
        return self._look(method, path, is_sure=is_sure)

    def _look(self, method: str, path: str, *, is_sure: bool) -> _Found | None:
        """What may be a look at a job, or a request that ends one; ``is_sure`` if its path has no other reading."""
        ledger, max_bytes = self._ledger, self._max_bytes
        if api := looked_up_at(path):
            return _Found(api, partial(pass_and_book, ledger=ledger, max_body_bytes=max_bytes, api=api))
        if method == "GET" and (job := deferred_at(path)):
            read = partial(pass_and_book, ledger=ledger, max_body_bytes=max_bytes, deferred=job, is_sure=is_sure)
            return _Found(job, read)
        if job_look := job_look_at(method, path):
            return _Found(job_look, partial(pass_and_book_job, look=job_look, ledger=ledger, max_body_bytes=max_bytes))
        if look := look_at(method, path):
            read = partial(pass_and_book_batch, look=look, ledger=ledger, max_line_bytes=max_bytes, is_sure=is_sure)
            return _Found(look, read)
        if method == "GET" and (listed := listed_at(path)):
            return _Found(listed, partial(pass_and_book_list, listed=listed, ledger=ledger, max_body_bytes=max_bytes))
        if method == "GET" and lists_files(path):
            return _Found(pass_file_list, partial(pass_file_list, ledger=ledger, max_body_bytes=max_bytes))
        return None

    def _upload(self, scope: Scope) -> _Found:
        ledger, max_bytes = self._ledger, self._max_bytes
        if piece := piece_of(scope):
            return _Found(piece, partial(pass_piece, piece=piece, ledger=ledger, max_line_bytes=max_bytes))
        return _Found(pass_upload, partial(pass_upload, quoting=self._quoting, ledger=ledger, max_line_bytes=max_bytes))

    def _step(self, step: UploadStep) -> _Found:
        ledger, max_bytes, upload = self._ledger, self._max_bytes, step.upload
        if not step.is_part:
            return _Found(step, partial(pass_completion, upload=upload, ledger=ledger))
        read = partial(pass_part, upload=upload, quoting=self._quoting, ledger=ledger, max_line_bytes=max_bytes)
        return _Found(step, read)


def _as_answered(scope: Scope) -> Sequence[tuple[str, str]] | None:
    """The methods and the paths as the server may read them that answers in the end; None if they are too many.

    Who could spell a request for a result so that it is answered and not seen here would have it for the estimate.
    """
    own = scope["method"].upper()
    # As Google's servers, for one, take what a header says. Nothing turns a GET into another look.
    meant = (own,) if own == "GET" else dict.fromkeys((own, *sorted(meant_methods(scope))))
    methods = [method for method in meant if method in ("GET", "POST")]
    path = scope["path"]
    if not methods or is_plain(path):
        return [(method, path) for method in methods]
    readings = readings_of(path, raw_path=scope.get("raw_path") or b"", root_path=scope.get("root_path") or "")
    if readings is None:
        return None
    paths = [*filter(is_plain, readings)] or [path]
    return [(method, each) for method in methods for each in paths]
