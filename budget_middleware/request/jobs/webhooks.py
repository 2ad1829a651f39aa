"""Webhooks that pass to the operator's app: a signed one makes known how it stands with a job.

POST at a path of BUDGET_WEBHOOKS ──> its body is read while the app gets it
──> signed, lately ──> failed, and free of charge: released; a video is made: booked as planned
over, and its usage is in an answer alone: told in the log
──> else ──> nothing
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.jobs.created import JobState, Stage
from budget_middleware.apis.jobs.looks import job_api_named
from budget_middleware.apis.jobs.webhooks import WebhookPath, is_signed, read_event
from budget_middleware.core.units import Amounts
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Job, Ledger
from budget_middleware.request.jobs.background import book_job
from budget_middleware.request.jobs.job_states import book_state
from budget_middleware.request.jobs.plain_answers import KeptAnswer

# An event has some hundred bytes.
_MOST_BYTES: Final = 65_536

_log = logging.getLogger("budget_middleware")


class Webhooks:
    """The paths at which webhooks arrive."""

    def __init__(self, paths: Sequence[WebhookPath], ledger: Ledger) -> None:
        self._ledger = ledger
        self._keys: dict[str, list[bytes]] = {}
        for path, key in paths:
            self._keys.setdefault(path.rstrip("/"), []).append(key)

    def take(self, path: str) -> bool:
        """Whether webhooks arrive at a path."""
        return bool(self._keys) and path.rstrip("/") in self._keys

    async def pass_and_read(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app have a webhook; when all of it has come, act on it if it is signed."""
        body, headers = KeptAnswer(_MOST_BYTES), HeaderTable(scope["headers"])

        async def receive_and_read() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                body.feed(bytes(message.get("body", b"")))
                if not message.get("more_body", False):
                    self._act_on(scope["path"], headers, bytes(body.body))
            return message

        await app(scope, receive_and_read, send)

    def _act_on(self, path: str, headers: HeaderTable, body: bytes) -> None:
        keys = self._keys[path.rstrip("/")]
        # Its sender's clock and ours, not that of the store.
        if is_signed(headers, body, keys=keys, now_s=time.time()):
            self._ledger.run_in_background(_apply(self._ledger, body))
        else:
            _log.warning("a webhook at %r is not signed with its secret, or long ago: it changes nothing", path)


async def _apply(ledger: Ledger, body: bytes) -> None:
    event = read_event(body)
    found = await ledger.tickets.find(Job(event.api, event.job)) if event is not None else None
    if event is None or found is None:
        return
    api = job_api_named(event.api)
    if event.stage is None:
        _log.info("%s is over: an answer about it has to show what it has used", found.ticket.job)
    elif api is not None:
        await book_state(ledger, api, found, JobState(event.job, event.stage))
    elif event.stage is Stage.FREE:
        await book_job(ledger, found, Amounts(requests=1))
