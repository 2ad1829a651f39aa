"""Batches: which requests create one, and the calls that they plan.

Theory of operation. A batch is calls of another API, planned in the request itself or in a file that was uploaded
before, for half the price. The answer that creates it has its id. What later answers show is in ``batch_states``.

    POST /files ──> PlannedCall of each line, then POST /batches {"input_file_id"}             OpenAI
    POST /messages/batches {"requests"}, POST /models/M:batchGenerateContent {"batch"}         Anthropic, Gemini
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, NamedTuple

from budget_middleware.apis.anthropic.messages import AnthropicMessages
from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.bounded_answer import is_heavy
from budget_middleware.apis.bodies.reading import UNREADABLE, id_in, list_of, mapping_of, parse_body
from budget_middleware.apis.bodies.repeated_fields import repeated_field, repeated_within
from budget_middleware.apis.google.fields import values_of
from budget_middleware.apis.google.gemini import Gemini
from budget_middleware.apis.openai.chat import OpenAIChat
from budget_middleware.apis.openai.completions import OpenAICompletions
from budget_middleware.apis.openai.embeddings import OpenAIEmbeddings
from budget_middleware.apis.openai.images import OpenAIImages
from budget_middleware.apis.openai.responses import OpenAIResponses
from budget_middleware.apis.protocol.base import Api, Ask, Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.model_names import names_of
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import anthropic_error, google_error
from budget_middleware.apis.shared.json_api import JsonApi

OPENAI_BATCH: Final = "openai-batches"
ANTHROPIC_BATCH: Final = "anthropic-batches"
GEMINI_BATCH: Final = "gemini-batches"

IMAGES: Final = OpenAIImages()
BATCHED: Final[tuple[Api, ...]] = (OpenAIChat(), OpenAIResponses(), OpenAIEmbeddings(), OpenAICompletions(), IMAGES)
MESSAGES: Final = AnthropicMessages()
GEMINI: Final = Gemini()
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

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:  # noqa: ARG002 - see below
        """What it plans is read elsewhere: see `input_file` and `planned_calls`."""
        named = names_of({}, path=path, query=query, pattern=self.path)
        return Ask(model=named.model, other_models=named.others, is_unseen=True)

    def read_json(self, document: object, seen: Seen) -> None:
        """Take the id of the batch. Its answer reports no usage, and whatever it says may cost what was estimated."""
        seen.continues_unread = True
        if id_ := id_in(mapping_of(document), "id"):
            seen.job = self.name, id_

    def read_location(self, location: str, seen: Seen) -> None:
        """Take what the header `location` of its answer says."""

    def input_file(self, body: object) -> str:  # noqa: ARG002 - most have none
        """The id of the file that has its calls; "" if the request has them itself."""
        return ""

    def file_of_any_model(self, body: object) -> str:  # noqa: ARG002 - most have none
        """The name of a file whose calls name no model: the request does."""
        return ""

    def planned_calls(self, body: object, *, model: str | None, n_bytes: int) -> Iterator[PlannedCall]:  # noqa: ARG002
        """The calls that the request of so many bytes has itself. ``model`` is the one that its path names."""
        yield from ()


class OpenAIBatches(BatchApi):
    """`POST …/batches`, as OpenAI and those who follow it have it."""

    name = OPENAI_BATCH
    provider = "openai"
    path = ends_in("(?<!/messages)/batches")

    def input_file(self, body: object) -> str:
        """The id of the uploaded file; "" where another one is named beside it."""
        fields = mapping_of(body)
        return "" if fields.get("input_blob") is not None else id_in(fields, "input_file_id") or ""


class AnthropicBatches(BatchApi):
    """`POST …/messages/batches`."""

    name = ANTHROPIC_BATCH
    provider = "anthropic"
    path = ends_in("/messages/batches")

    def planned_calls(self, body: object, *, model: str | None, n_bytes: int) -> Iterator[PlannedCall]:  # noqa: ARG002
        """The requests; each counts as long as the others."""
        requests = list_of(mapping_of(body).get("requests"))
        for request in requests:
            params = mapping_of(request).get("params")
            api = MESSAGES if isinstance(params, dict) else None
            yield PlannedCall(api, "/v1/messages", params, n_bytes // len(requests))

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal as Anthropic's errors look."""
        return anthropic_error(refusal)


class GeminiBatches(BatchApi):
    """`POST …/models/MODEL:batchGenerateContent`, with its requests in it."""

    name = GEMINI_BATCH
    provider = "gemini"
    path = ends_in(r"/(?:tuned)?models/(?P<model>[^/]+?):batchGenerateContent")

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """What every batch has. BadRequestError where its calls are named twice, by both spellings of a field."""
        batch = mapping_of(mapping_of(body).get("batch"))
        sources = [*values_of(batch, "inputConfig")]
        if len(sources) > 1 or any(len([*values_of(mapping_of(source), "fileName")]) > 1 for source in sources):
            raise BadRequestError("the batch names its calls twice")
        return super().read_request(body, path=path, n_bytes=n_bytes, query=query)

    def read_json(self, document: object, seen: Seen) -> None:
        """Take the last segment of its name, `batches/ID`."""
        super().read_json({"id": (id_in(mapping_of(document), "name") or "").rpartition("/")[2]}, seen)

    def file_of_any_model(self, body: object) -> str:
        """The name of the uploaded file."""
        source = _source_in(body)
        return id_in(source, "fileName") or id_in(source, "file_name") or ""

    def planned_calls(self, body: object, *, model: str | None, n_bytes: int) -> Iterator[PlannedCall]:
        """The requests that are inlined."""
        requests = list_of(mapping_of(_source_in(body).get("requests")).get("requests"))
        for request in requests:
            asked = mapping_of(request).get("request")
            api = GEMINI if isinstance(asked, dict) else None
            yield PlannedCall(api, f"/v1beta/models/{model}:generateContent", asked, n_bytes // len(requests))

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal as Google's errors look."""
        return google_error(refusal)


def _source_in(body: object) -> Mapping[str, object]:
    """What a batch of Gemini's takes its calls from."""
    batch = mapping_of(mapping_of(body).get("batch"))
    return mapping_of(batch.get("inputConfig") or batch.get("input_config"))


BATCH_APIS: Final[tuple[BatchApi, ...]] = (OpenAIBatches(), AnthropicBatches(), GeminiBatches())


def batch_api_at(path: str) -> BatchApi | None:
    """The API whose batch a POST to this path creates, if any."""
    return next((api for api in BATCH_APIS if api.matches(path)), None)


def is_upload(path: str) -> bool:
    """Whether a POST to this path uploads a file, perhaps the calls of a batch."""
    return _UPLOAD.search(path) is not None


def planned_in(line: bytes) -> PlannedCall | None:
    """The call that a line of an uploaded file plans; None if the file is of something else."""
    if is_heavy(line):
        return PlannedCall(None, "", None, len(line))
    document = parse_body(line)
    if document is UNREADABLE or not isinstance(document, dict) or "body" not in document:
        return None
    if _has_two_readings(line, "body"):
        return PlannedCall(None, "", None, len(line))
    url = document.get("url")
    path = url if isinstance(url, str) else ""
    return PlannedCall(_batched_at(path), path, document["body"], len(line))


def _has_two_readings(line: bytes, call: str) -> bool:
    """Whether a field comes twice in a line, or in the call that it holds: the upstream may take either."""
    return bool(repeated_field(line) or repeated_within(line, call))


def read_google_line(line: bytes) -> Ask | None:
    """The call that a line of a file of Gemini's plans, without its model; None for what is none."""
    document = {} if is_heavy(line) else mapping_of(parse_body(line))
    asked = document.get("request")
    if not isinstance(asked, dict) or _has_two_readings(line, "request"):
        return None
    try:
        return GEMINI.read_request(asked, path="/v1beta/models/any:generateContent", n_bytes=len(line))
    except BadRequestError:
        return None


def _batched_at(path: str) -> Api | None:
    return next((api for api in BATCHED if api.matches(path)), None)
