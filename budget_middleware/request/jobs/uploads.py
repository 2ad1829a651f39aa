"""Uploaded files: what a job may cost that reads one is kept under the file's id, while the file passes through.

Of the calls of a batch these are their sums, of what a model is trained on its length.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.bodies.form import FormReader
from budget_middleware.apis.bodies.reading import id_in, mapping_of
from budget_middleware.apis.jobs.batches import planned_in
from budget_middleware.apis.streams.ndjson import LineSplitter
from budget_middleware.apis.streams.splitting import Event
from budget_middleware.ledger import Ledger
from budget_middleware.request.jobs.upload_plans import TRAINING, keep_plan, pass_form, readable_boundary
from budget_middleware.request.quotes.batches import FILE_KEPT_MS, MOST_UNREAD, PlannedSums, file_fact
from budget_middleware.request.quotes.jobs import training_fact
from budget_middleware.request.quotes.quoting import Quoting

# A gateway may write other names of models into a file. One that grows by more is another file than was read.
_MOST_GROWTH: Final = 2


class UploadReader(FormReader):
    """Sums up the calls in the file of a form, line by line; nothing of them is kept."""

    def __init__(self, boundary: bytes, quoting: Quoting, *, max_line_bytes: int) -> None:
        super().__init__(boundary)
        self.sums = PlannedSums()
        self._quoting = quoting
        self._lines = LineSplitter(max_event_bytes=max_line_bytes)
        # Until its beginning, or a line, shows that the file is of something else.
        self.may_plan = True
        self.file_bytes = self.training_bytes = 0

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        super()._take_data(data, start, end)
        if not (self._part.is_file and self.may_plan) or self.is_training:
            return
        if self._part.n_bytes == end - start and data[start:end].lstrip()[:1] not in (b"{", b""):
            self.may_plan = False
        else:
            self._read(self._lines.feed(bytes(data[start:end])))

    def _end_part(self) -> None:
        if self._part.is_file and self.may_plan and not self.is_training:
            self._read(self._lines.flush())
        super()._end_part()
        if self._part.is_file:
            self.file_bytes += self._part.n_bytes
            self.training_bytes += self._part.n_bytes if self.is_training else 0

    @property
    def is_training(self) -> bool:
        """Whether the form says, before its file, that a model is to be trained on it."""
        return self._form.get("purpose") == TRAINING

    def _read(self, lines: Sequence[Event]) -> None:
        for line in lines:
            if line.data is None:
                continue
            call = planned_in(line.data)
            if call is not None:
                self.sums.add(call, self._quoting)
            elif self.sums.requests:
                self.sums.requests += 1
                self.sums.unread += 1
            else:
                self.may_plan = False
                return
        self.sums.requests += self._lines.n_skipped
        self.sums.unread += self._lines.n_skipped
        self._lines.n_skipped = 0
        if self.sums.unread > MOST_UNREAD:
            self.may_plan, self.sums = False, PlannedSums()


async def pass_upload(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, quoting: Quoting, ledger: Ledger, max_line_bytes: int
) -> None:
    """Let the app take a file; if it plans the calls of a batch, keep their sums for whoever creates it."""
    boundary = readable_boundary(scope["headers"])
    if boundary is None:
        await app(scope, receive, send)
        return
    reader = UploadReader(boundary, quoting, max_line_bytes=max_line_bytes)
    keep = partial(_keep, ledger, reader)
    await pass_form(app, scope, receive, send, reader=reader, wants_more=lambda: reader.may_plan, at_end=keep)


async def _keep(ledger: Ledger, reader: UploadReader, answer: object) -> None:
    if not (reader.sums.requests or reader.training_bytes):
        return
    file_id, n_bytes = id_in(mapping_of(answer), "id"), mapping_of(answer).get("bytes")
    if not file_id or (type(n_bytes) is int and n_bytes > _MOST_GROWTH * reader.file_bytes):
        return
    fact, text = file_fact(file_id), reader.sums.packed()
    if reader.training_bytes:
        fact, text = training_fact(file_id), str(reader.training_bytes)
    await keep_plan(ledger, fact, text, keep_ms=FILE_KEPT_MS)
