"""Batches: what later answers show of one, such as whether it is over and what it has used.

    GET /batches/ID ──> BatchState: whether it is over, and perhaps a usage of all calls together (OpenAI)
    GET /files/ID/content, GET /messages/batches/ID/results ──> a line of JSON for each call, read by `read_result`
    GET /batches/ID ──> BatchState, with each answer in it (Gemini), or with the name of their file
    GET /files/ID:download ──> a line of JSON for each call (Gemini)

A `Look` is a request for one of these.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

import msgspec

from budget_middleware.apis.bodies.reading import id_in, list_of, mapping_of, token_count
from budget_middleware.apis.jobs.batches import (
    ANTHROPIC_BATCH,
    BATCHED,
    GEMINI,
    GEMINI_BATCH,
    IMAGES,
    MESSAGES,
    OPENAI_BATCH,
)
from budget_middleware.apis.jobs.result_lines import result_in
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.core.costs.usage import Usage

_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
_GEMINI_ENDED: Final = re.compile(r"(?:BATCH|JOB)_STATE_(?:SUCCEEDED|FAILED|CANCELLED|EXPIRED)")


class LookKind(Enum):
    """What an answer about a batch is."""

    BATCH = auto()
    RESULTS = auto()
    # The results of a batch, under the id of their file.
    FILE = auto()


class Look(NamedTuple):
    """A request whose answer may show what a batch has used."""

    kind: LookKind
    # Those of which it may be.
    apis: tuple[str, ...]
    id: str


_LOOKS: Final = (
    (ends_in(r"/messages/batches/(?P<id>[^/]+)/results"), LookKind.RESULTS, (ANTHROPIC_BATCH,)),
    (ends_in(r"/messages/batches/(?P<id>[^/]+)(?P<cancel>/cancel)?"), LookKind.BATCH, (ANTHROPIC_BATCH,)),
    (
        ends_in(r"(?<!/messages)/batches/(?P<id>[^/:]+)(?P<cancel>[/:]cancel)?"),
        LookKind.BATCH,
        # Their paths are the same.
        (OPENAI_BATCH, GEMINI_BATCH),
    ),
    (ends_in(r"/files/(?P<id>[^/]+)/content"), LookKind.FILE, (OPENAI_BATCH,)),
    (ends_in(r"/files/(?P<id>[^/:]+):download"), LookKind.FILE, (GEMINI_BATCH,)),
)

# There a file is no results: it is its text in pieces, or another file.
_OF_OTHERS: Final = ends_in("/(?:vector_stores|containers|skills|assistants)/[^/]+")


def look_at(method: str, path: str) -> Look | None:
    """What a request looks at: a GET at a batch or its results, a POST at one that it cancels."""
    for pattern, kind, apis in _LOOKS:
        found = pattern.search(path)
        if found is not None and kind is LookKind.FILE and _OF_OTHERS.search(path, 0, found.start()):
            return None
        if found is not None:
            is_cancel = kind is LookKind.BATCH and found["cancel"] is not None
            return Look(kind, apis, found["id"]) if is_cancel is (method == "POST") else None
    return None


class BatchState(NamedTuple):
    """What a batch object says of itself. ``done``: how many calls were answered, where it says so.

    ``seen`` has what it shows of their usage: that of all calls together, or of each (``is_each``), read one by one.
    """

    id: str
    is_over: bool
    done: int | None
    output_file: str = ""
    seen: Iterable[Seen] = ()
    is_each: bool = False
    shows_usage: bool = False


def read_batch(api: str, document: object) -> BatchState | None:
    """The state of a batch; None for what is no batch object."""
    batch = mapping_of(document)
    if api == GEMINI_BATCH:
        return _gemini_state(batch)
    id_, counts, seen = id_in(batch, "id"), mapping_of(batch.get("request_counts")), Seen()
    if not id_:
        return None
    if api == ANTHROPIC_BATCH:
        is_over = batch.get("processing_status") == "ended"
        return BatchState(id_, is_over, token_count(counts.get("succeeded")))
    is_over = str(batch.get("status")) in _ENDED
    read_openai_usage(batch, seen)
    done, output_file = token_count(counts.get("completed")), id_in(batch, "output_file_id") or ""
    return BatchState(id_, is_over, done, output_file, (seen,), shows_usage=seen.usage not in (None, Usage()))


def _gemini_state(operation: Mapping[str, object]) -> BatchState | None:
    name, metadata = id_in(operation, "name"), mapping_of(operation.get("metadata"))
    if not name:
        return None
    output = mapping_of(operation.get("response") or metadata.get("output"))
    inlined = list_of(mapping_of(output.get("inlinedResponses")).get("inlinedResponses"))
    answers = [mapping_of(answer)["response"] for answer in inlined if "response" in mapping_of(answer)]
    is_over = _GEMINI_ENDED.fullmatch(str(metadata.get("state"))) is not None
    # Where there is a file of them, they are not shown here; and one that has succeeded has some.
    is_shown = inlined or not str(metadata.get("state")).endswith("_SUCCEEDED")
    done = len(answers) if is_shown and not output.keys() - {"inlinedResponses"} else None
    file = (id_in(output, "responsesFile") or "").rpartition("/")[2]
    id_, seen = name.rpartition("/")[2], map(_seen_of_gemini, answers)
    return BatchState(id_, is_over, done, file, seen, is_each=True, shows_usage=bool(answers))


def _seen_of_gemini(answer: object) -> Seen:
    seen = Seen()
    GEMINI.read_json(answer, seen)
    return seen


def read_result(api: str, line: bytes) -> Seen | None:
    """What one call of a batch has used, by its line of the results; None for one that was not answered."""
    result, is_whole = result_in(line)
    seen = Seen(has_unread_output=not is_whole)
    if api == ANTHROPIC_BATCH:
        outcome = mapping_of(result.get("result"))
        if outcome.get("type") in ("errored", "canceled", "expired"):
            return None
        MESSAGES.read_json(outcome.get("message"), seen)
        return seen
    response = mapping_of(result.get("response"))
    if api == GEMINI_BATCH:
        if response or "error" not in result:
            GEMINI.read_json(response, seen)
            return seen
        return None
    body = mapping_of(response.get("body"))
    status = response.get("status_code")
    if (isinstance(status, int) and status >= 300) or (not response and result.get("error")):
        return None
    # Images alone do not say what they are.
    unnamed = IMAGES if "data" in body else BATCHED[0]
    _OF_OBJECT.get(str(body.get("object")), unnamed).read_json(body, seen)
    return seen


_OF_OBJECT: Final[Mapping[str, Api]] = {
    "chat.completion": BATCHED[0],
    "response": BATCHED[1],
    "list": BATCHED[2],
    "text_completion": BATCHED[3],
}


class NamedOutput(NamedTuple):
    """A file of results, and the batch that it is named after."""

    file: str
    batch: str


class _File(msgspec.Struct, gc=False):
    id: str | None = None
    purpose: str | None = None
    filename: str | None = None


class _Files(msgspec.Struct, gc=False):
    """A list of files; the rest is passed over."""

    data: list[_File] = []


_read_files = msgspec.json.Decoder(_Files).decode
_OUTPUT_NAME: Final = re.compile(r"(?P<batch>[A-Za-z0-9_-]{1,200})_output\.jsonl", re.ASCII)
_MOST_OUTPUTS: Final = 1_000


def outputs_named_in(text: bytes) -> Sequence[NamedOutput]:
    """The files of results in a list of files, whose provider names them after their batch.

    Nobody uploads a file for that purpose.
    """
    try:
        listed = _read_files(text)
    except (ValueError, RecursionError):
        return ()
    outputs = [
        NamedOutput(file.id, found["batch"])
        for file in listed.data
        if file.purpose == "batch_output" and file.id and (found := _OUTPUT_NAME.fullmatch(file.filename or ""))
    ]
    return outputs[:_MOST_OUTPUTS]


def batch_named_by(file_id: str) -> str:
    """The batch of Gemini's that a file of results is named after; "" if it is named otherwise."""
    return file_id.removeprefix(_GEMINI_OUTPUT) if file_id.startswith(_GEMINI_OUTPUT) else ""


_GEMINI_OUTPUT: Final = "batch-"
