"""Files that are uploaded in parts: each is summed up while it passes, and the file by the parts that it is made of.

    POST /uploads/U/parts ──> {"id": P}: sums of its calls, kept under (U, P); parts come in any order, at any worker
    POST /uploads/U/complete {"part_ids"} ──> {"file": {"id"}}: their sums in that order, kept under the file

Where anything is not sure (a part that did not come by, a request that names its parts twice, a file of another length
than its parts), nothing is known of the file.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.bodies.form import FormReader
from budget_middleware.apis.bodies.reading import id_in, list_of, mapping_of
from budget_middleware.apis.jobs.batches import planned_in
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.streams.ndjson import LineSplitter
from budget_middleware.apis.streams.splitting import Event
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.jobs.tickets import fact_name
from budget_middleware.request.jobs.plain_answers import KeptAnswer, pass_and_read
from budget_middleware.request.jobs.upload_plans import TRAINING, keep_plan, pass_form, readable_boundary
from budget_middleware.request.quotes.batches import FILE_KEPT_MS, MOST_UNREAD, file_fact
from budget_middleware.request.quotes.jobs import training_fact
from budget_middleware.request.quotes.part_plans import PartPlan, sums_of, unpack_part
from budget_middleware.request.quotes.quoting import Quoting
from budget_middleware.stores.errors import NO_ANSWER

# An upload that is not completed within an hour is gone at the provider.
PART_KEPT_MS: Final = 86_400_000
_MOST_ANSWER_BYTES: Final = 65_536
_MOST_REQUEST_BYTES: Final = 1_000_000
_STEP: Final = ends_in(r"/uploads/(?P<upload>[^/]+)/(?P<step>parts|complete)")


class UploadStep(NamedTuple):
    """A step of an upload in parts: one of them, or its completion."""

    upload: str
    is_part: bool


def upload_step_at(path: str) -> UploadStep | None:
    """The step that a POST to this path is, if any."""
    found = _STEP.search(path)
    return UploadStep(found["upload"], found["step"].lower() == "parts") if found is not None else None


class PartReader(FormReader):
    """Sums up the calls in a part of a file, line by line; nothing of them is kept."""

    def __init__(self, boundary: bytes, quoting: Quoting, *, max_line_bytes: int) -> None:
        super().__init__(boundary)
        self.plan = PartPlan()
        self._quoting = quoting
        self._lines = LineSplitter(max_event_bytes=max_line_bytes)
        self._is_first_line = True

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        super()._take_data(data, start, end)
        if self._part.is_file:
            self.plan.n_bytes += end - start
            self._read(self._lines.feed(bytes(data[start:end])) if self.plan.may_plan else (), is_last=False)

    def _end_part(self) -> None:
        if self._part.is_file:
            self._read(self._lines.flush(), is_last=True)
        super()._end_part()

    def _read(self, lines: Iterable[Event], *, is_last: bool) -> None:
        plan, sums = self.plan, self.plan.sums
        for line in lines:
            is_first, self._is_first_line = self._is_first_line, False
            if line.data is None or not plan.may_plan:
                continue
            call = planned_in(line.data)
            if call is not None:
                sums.add(call, self._quoting)
            elif is_first or is_last:
                plan.begins_cut |= is_first
                plan.ends_cut |= is_last
                plan.is_piece |= is_first and is_last
            elif sums.requests:
                sums.requests += 1
                sums.unread += 1
            else:
                plan.may_plan = False
        sums.requests += self._lines.n_skipped
        sums.unread += self._lines.n_skipped
        self._lines.n_skipped = 0
        plan.may_plan &= sums.unread <= MOST_UNREAD


async def pass_part(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    upload: str,
    quoting: Quoting,
    ledger: Ledger,
    max_line_bytes: int,
) -> None:
    """Let the app take a part of a file, and keep what it plans under its id."""
    boundary = readable_boundary(scope["headers"])
    if boundary is None:
        await app(scope, receive, send)
        return
    reader = PartReader(boundary, quoting, max_line_bytes=max_line_bytes)

    async def keep(answer: object) -> None:
        part = id_in(mapping_of(answer), "id")
        if part and reader.plan.n_bytes:
            await keep_plan(ledger, _part_fact(upload, part), reader.plan.packed(), keep_ms=PART_KEPT_MS)

    # The length of a part counts whatever is in it.
    await pass_form(app, scope, receive, send, reader=reader, wants_more=lambda: True, at_end=keep)


async def pass_completion(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, upload: str, ledger: Ledger
) -> None:
    """Let the app make a file of its parts, and keep what that plans for whoever creates a job with it."""
    if HeaderTable(scope["headers"]).all(b"content-encoding"):
        await app(scope, receive, send)
        return
    asked, answer = KeptAnswer(_MOST_REQUEST_BYTES), KeptAnswer(_MOST_ANSWER_BYTES)

    async def receive_and_read() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            asked.feed(bytes(message.get("body", b"")))
        return message

    async def keep() -> None:
        file = mapping_of(mapping_of(answer.document).get("file"))
        id_, parts = id_in(file, "id"), await _parts(ledger, upload, _part_ids(asked.body))
        n_bytes = sum(part.n_bytes for part in parts)
        if not id_ or file.get("bytes", n_bytes) != n_bytes:
            return
        if file.get("purpose") == TRAINING:
            if n_bytes:
                await keep_plan(ledger, training_fact(id_), str(n_bytes), keep_ms=FILE_KEPT_MS)
        elif (sums := sums_of(parts)) is not None:
            await keep_plan(ledger, file_fact(id_), sums.packed(), keep_ms=FILE_KEPT_MS)

    await pass_and_read(app, scope, receive_and_read, send, feed=answer.feed, at_end=keep)


def _part_ids(body: bytes | bytearray) -> list[str]:
    """The parts that a completion names, in their order; none if another server may read it in another way."""
    try:
        fields = mapping_of(json.loads(body, object_pairs_hook=_with_part_ids_once))
    except (ValueError, RecursionError):
        return []
    ids = list_of(fields.get("part_ids"))
    return [id_ for id_ in ids if isinstance(id_, str)] if all(isinstance(id_, str) for id_ in ids) else []


def _with_part_ids_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if sum(name.casefold() == "part_ids" for name, _ in pairs) > 1:
        raise ValueError("part_ids comes twice")
    return dict(pairs)


async def _parts(ledger: Ledger, upload: str, ids: Sequence[str]) -> list[PartPlan]:
    """What these parts plan, in their order; nothing if one of them is not known."""
    names = [_part_fact(upload, id_) for id_ in ids]
    try:
        texts = await ledger.tickets.look_up_facts(list(dict.fromkeys(names))) if names else {}
    except NO_ANSWER:
        return []
    known = {name: unpack_part(text) for name, text in texts.items()}
    parts = [part for name in names if (part := known.get(name)) is not None]
    return parts if len(parts) == len(names) else []


def _part_fact(upload: str, part: str) -> str:
    return fact_name("part", upload, part)
