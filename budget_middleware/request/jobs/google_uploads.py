"""Files that are uploaded to Gemini: the calls of a batch are counted piece by piece, and kept under the file's name.

Theory of operation. An upload begins with an address; then each of its pieces is a POST there, perhaps at another
worker, and the answer to the last one names the file. Its lines name no model: which one is to answer says who creates
the batch. So what is kept are counts of calls and tokens, which only then become money.

    POST ?upload_id=U, offset 0      ──> counts, kept under (U, where the piece ends)
    POST ?upload_id=U, offset N      ──> those of (U, N) and its own, kept again
    POST … "upload, finalize"        ──> {"file": {"name"}}: kept under the file

A call that two pieces share is counted and not read: nothing of a request is kept, not even for that. Of a piece whose
predecessor did not come by, nothing is known.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_middleware.apis.bodies.reading import id_in, mapping_of
from budget_middleware.apis.jobs.batches import read_google_line
from budget_middleware.apis.streams.ndjson import LineSplitter
from budget_middleware.apis.streams.splitting import Event
from budget_middleware.headers import HeaderTable
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.jobs.tickets import fact_name
from budget_middleware.request.jobs.pieces import feed_in_pieces
from budget_middleware.request.jobs.plain_answers import KeptAnswer, pass_and_read
from budget_middleware.request.jobs.upload_plans import keep_plan
from budget_middleware.request.quotes.batches import FILE_KEPT_MS, MOST_UNREAD
from budget_middleware.request.quotes.file_plans import FilePlan, google_file_fact, unpack_plan

_MOST_ANSWER_BYTES: Final = 65_536
_OFFSET: Final = re.compile(rb"[0-9]{1,15}")


class Piece(NamedTuple):
    """A piece of an upload: of which, from where on, and whether it is the last."""

    upload: str
    offset: int
    is_last: bool


def piece_of(scope: Scope) -> Piece | None:
    """The piece that a request uploads; None if it uploads none."""
    headers = HeaderTable(scope["headers"])
    words = [word.strip() for word in headers.get(b"x-goog-upload-command", b"").lower().split(b",")]
    upload = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("upload_id", [""])[0]
    offset = headers.get(b"x-goog-upload-offset", b"0").strip()
    if b"upload" not in words or not upload or not _OFFSET.fullmatch(offset) or headers.all(b"content-encoding"):
        return None
    return Piece(upload, int(offset), b"finalize" in words)


class PieceReader:
    """Counts the calls in a piece of a file, line by line; nothing of them is kept."""

    def __init__(self, plan: FilePlan, *, max_line_bytes: int) -> None:
        self.plan = plan
        self.n_bytes = 0
        self._lines = LineSplitter(max_event_bytes=max_line_bytes)
        # The rest of a call that the piece before has begun.
        self._skips_first = plan.is_cut
        self._ends_line = True

    def feed(self, data: bytes) -> None:
        if data:
            self.n_bytes += len(data)
            self._ends_line = data.endswith(b"\n")
        self._read(self._lines.feed(data))

    def finish(self, *, is_last: bool) -> FilePlan:
        """The counts with those of this piece."""
        rest = self._lines.flush()
        if is_last or self._ends_line:
            self._read(rest)
            self.plan.is_cut = False
        else:
            if not self._skips_first:
                self.plan.requests += 1
                self.plan.unread += 1
            self.plan.is_cut = True
        return self.plan

    def _read(self, lines: Sequence[Event]) -> None:
        for line in lines:
            if self._skips_first:
                self._skips_first = False
            elif line.data is not None and self.plan.may_plan:
                self._add(line.data)
        self.plan.requests += self._lines.n_skipped
        self.plan.unread += self._lines.n_skipped
        self._lines.n_skipped = 0
        self.plan.may_plan &= self.plan.unread <= MOST_UNREAD

    def _add(self, line: bytes) -> None:
        ask = read_google_line(line)
        if ask is None and not self.plan.requests:
            # A file of something else.
            self.plan.may_plan = False
        else:
            self.plan.add(ask)


async def pass_piece(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, piece: Piece, ledger: Ledger, max_line_bytes: int
) -> None:
    """Let the app take a piece of a file; if that plans the calls of a batch, keep their counts."""
    before = await _plan_before(ledger, piece)
    if before is None or not before.may_plan:
        await app(scope, receive, send)
        return
    reader, answer = PieceReader(before, max_line_bytes=max_line_bytes), KeptAnswer(_MOST_ANSWER_BYTES)

    async def receive_and_read() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            await feed_in_pieces(reader.feed, bytes(message.get("body", b"")))
        return message

    keep = partial(_keep, ledger, piece, reader, answer)
    await pass_and_read(app, scope, receive_and_read, send, feed=answer.feed, at_end=keep)


async def _plan_before(ledger: Ledger, piece: Piece) -> FilePlan | None:
    if not piece.offset:
        return FilePlan()
    text = await ledger.tickets.fact(_piece_fact(piece.upload, piece.offset))
    return unpack_plan(text) if text else None


def _piece_fact(upload: str, end: int) -> str:
    return fact_name("upload", upload, str(end))


async def _keep(ledger: Ledger, piece: Piece, reader: PieceReader, answer: KeptAnswer) -> None:
    plan = reader.finish(is_last=piece.is_last)
    name = _piece_fact(piece.upload, piece.offset + reader.n_bytes)
    if piece.is_last:
        file = mapping_of(mapping_of(answer.document).get("file"))
        id_, is_whole = id_in(file, "name"), _is_of_size(file, piece.offset + reader.n_bytes)
        if not (id_ and is_whole and plan.requests and plan.may_plan):
            return
        name = google_file_fact(id_)
    await keep_plan(ledger, name, plan.packed(), keep_ms=FILE_KEPT_MS)


def _is_of_size(file: Mapping[str, object], n_bytes: int) -> bool:
    """Whether a file has as many bytes as came by, where it says so: another upload may have been named than was read,
    or another place in it.
    """
    size = file.get("sizeBytes", file.get("size_bytes"))
    return size is None or size in (n_bytes, str(n_bytes))
