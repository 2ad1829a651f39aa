"""Batches: which requests create one and what they plan, and what the answers about it show later.

Theory of operation. A batch is calls of another API, planned in the request itself (Anthropic) or in a file that was
uploaded before (OpenAI), for half the price. The answer that creates it has its id. Later answers show what it has
used: the batch object its state, and perhaps a usage of all calls together (OpenAI); its results, a line of JSON for
each call, the usage of each. A `Look` is a request for one of these answers.

    POST /files ──> PlannedCall of each line        GET /batches/ID ──> BatchState
    POST /batches {"input_file_id"}                 GET /files/ID/content ──> lines, read by `read_result`
    POST /messages/batches {"requests"}             GET /messages/batches/ID, …/results
"""

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import ClassVar, Final, NamedTuple

from budget_middleware.apis.anthropic_messages import AnthropicMessages
from budget_middleware.apis.base import Api, Ask, Refusal
from budget_middleware.apis.errors import anthropic_error
from budget_middleware.apis.json_api import JsonApi
from budget_middleware.apis.openai_chat import OpenAIChat
from budget_middleware.apis.openai_completions import OpenAICompletions
from budget_middleware.apis.openai_embeddings import OpenAIEmbeddings
from budget_middleware.apis.openai_responses import OpenAIResponses
from budget_middleware.apis.openai_usage import read_openai_usage
from budget_middleware.apis.paths import ends_in
from budget_middleware.apis.reading import UNREADABLE, list_of, mapping_of, name_in, parse_body, token_count
from budget_middleware.apis.seen import Seen
from budget_middleware.core.pricing import Usage

OPENAI_BATCH: Final = "openai-batches"
ANTHROPIC_BATCH: Final = "anthropic-batches"

_BATCHED: Final[tuple[Api, ...]] = (OpenAIChat(), OpenAIResponses(), OpenAIEmbeddings(), OpenAICompletions())
_MESSAGES: Final = AnthropicMessages()
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
_UPLOAD: Final = ends_in("/files")


class PlannedCall(NamedTuple):
    """A call that a batch plans; ``api`` is None where nobody knows what it is."""

    api: Api | None
    path: str
    body: object
    n_bytes: int


class BatchApi(JsonApi):
    """`POST` of a batch. Its work goes on after the answer, whoever waits."""

    created: ClassVar[str]

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:  # noqa: ARG002 - of no model
        """What it plans is read elsewhere: see `input_file` and `planned_calls`."""
        return Ask(is_unseen=True)

    def read_json(self, document: object, seen: Seen) -> None:
        """Take the id of the batch. Its answer reports no usage, and whatever it says may cost what was estimated."""
        seen.continues_unread = True
        if id_ := name_in(mapping_of(document), "id"):
            seen.job = self.name, id_

    def input_file(self, body: object) -> str:  # noqa: ARG002 - most have none
        """The id of the file that has its calls; "" if the request has them itself."""
        return ""

    def planned_calls(self, body: object, *, n_bytes: int) -> Iterator[PlannedCall]:  # noqa: ARG002 - most have none
        """The calls that the request of so many bytes has itself."""
        yield from ()


class OpenAIBatches(BatchApi):
    """`POST …/batches`, as OpenAI and those who follow it have it."""

    name = OPENAI_BATCH
    provider = "openai"
    path = ends_in("(?<!/messages)/batches")

    def input_file(self, body: object) -> str:
        """The id of the uploaded file."""
        return name_in(mapping_of(body), "input_file_id") or ""


class AnthropicBatches(BatchApi):
    """`POST …/messages/batches`."""

    name = ANTHROPIC_BATCH
    provider = "anthropic"
    path = ends_in("/messages/batches")

    def planned_calls(self, body: object, *, n_bytes: int) -> Iterator[PlannedCall]:
        """The requests; each counts as long as the others."""
        requests = list_of(mapping_of(body).get("requests"))
        for request in requests:
            params = mapping_of(request).get("params")
            api = _MESSAGES if isinstance(params, dict) else None
            yield PlannedCall(api, "/v1/messages", params, n_bytes // len(requests))

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal as Anthropic's errors look."""
        return anthropic_error(refusal)


BATCH_APIS: Final[tuple[BatchApi, ...]] = (OpenAIBatches(), AnthropicBatches())


def batch_api_at(path: str) -> BatchApi | None:
    """The API whose batch a POST to this path creates, if any."""
    return next((api for api in BATCH_APIS if api.matches(path)), None)


def is_upload(path: str) -> bool:
    """Whether a POST to this path uploads a file, perhaps the calls of a batch."""
    return _UPLOAD.search(path) is not None


def planned_in(line: bytes) -> PlannedCall | None:
    """The call that a line of an uploaded file plans; None if the file is of something else."""
    document = parse_body(line)
    if document is UNREADABLE or not isinstance(document, dict) or "body" not in document:
        return None
    url = document.get("url")
    path = url if isinstance(url, str) else ""
    return PlannedCall(_batched_at(path), path, document["body"], len(line))


def _batched_at(path: str) -> Api | None:
    return next((api for api in _BATCHED if api.matches(path)), None)


# What later answers show.


class LookKind(Enum):
    """What an answer about a batch is."""

    BATCH = auto()
    RESULTS = auto()
    # The results of a batch, under the id of their file.
    FILE = auto()


class Look(NamedTuple):
    """A request whose answer may show what a batch has used."""

    kind: LookKind
    api: str
    id: str


_LOOKS: Final = (
    (ends_in(r"/messages/batches/(?P<id>[^/]+)/results"), LookKind.RESULTS, ANTHROPIC_BATCH),
    (ends_in(r"/messages/batches/(?P<id>[^/]+)(?P<cancel>/cancel)?"), LookKind.BATCH, ANTHROPIC_BATCH),
    (ends_in(r"(?<!/messages)/batches/(?P<id>[^/]+)(?P<cancel>/cancel)?"), LookKind.BATCH, OPENAI_BATCH),
    (ends_in(r"/files/(?P<id>[^/]+)/content"), LookKind.FILE, OPENAI_BATCH),
)


def look_at(method: str, path: str) -> Look | None:
    """What a request looks at: a GET at a batch or its results, a POST at one that it cancels."""
    for pattern, kind, api in _LOOKS:
        found = pattern.search(path)
        if found is not None:
            is_cancel = kind is LookKind.BATCH and found["cancel"] is not None
            return Look(kind, api, found["id"]) if is_cancel is (method == "POST") else None
    return None


class BatchState(NamedTuple):
    """What a batch object says of itself. ``done``: how many calls were answered; ``seen`` has their usage together."""

    id: str
    is_over: bool
    done: int | None
    output_file: str
    seen: Seen


def read_batch(api: str, document: object) -> BatchState | None:
    """The state of a batch; None for what is no batch object."""
    batch = mapping_of(document)
    id_, counts, seen = name_in(batch, "id"), mapping_of(batch.get("request_counts")), Seen()
    if not id_:
        return None
    if api == ANTHROPIC_BATCH:
        is_over = batch.get("processing_status") == "ended"
        return BatchState(id_, is_over, token_count(counts.get("succeeded")), "", seen)
    is_over = batch.get("status") in _ENDED
    if is_over:
        read_openai_usage(batch, seen)
    if seen.usage == Usage():
        seen.usage = None
    return BatchState(id_, is_over, token_count(counts.get("completed")), name_in(batch, "output_file_id") or "", seen)


def read_result(api: str, line: bytes) -> Seen | None:
    """What one call of a batch has used, by its line of the results; None for one that was not answered."""
    result: Mapping[str, object] = mapping_of(parse_body(line))
    seen = Seen()
    if api == ANTHROPIC_BATCH:
        outcome = mapping_of(result.get("result"))
        if outcome.get("type") in ("errored", "canceled", "expired"):
            return None
        _MESSAGES.read_json(outcome.get("message"), seen)
        return seen
    response = mapping_of(result.get("response"))
    body = mapping_of(response.get("body"))
    status = response.get("status_code")
    if result and (not response or (isinstance(status, int) and status >= 300)):
        return None
    _OF_OBJECT.get(str(body.get("object")), _BATCHED[0]).read_json(body, seen)
    return seen


_OF_OBJECT: Final[Mapping[str, Api]] = {
    "chat.completion": _BATCHED[0],
    "response": _BATCHED[1],
    "list": _BATCHED[2],
    "text_completion": _BATCHED[3],
}
