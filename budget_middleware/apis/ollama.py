"""Ollama's own API: lines of JSON unless asked otherwise, with the usage on the last."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from budget_middleware.apis.bodies.reading import first_count, list_of, mapping_of, name_in, whole_number
from budget_middleware.apis.counting.input import Count, count_base64_images, utf8_bytes
from budget_middleware.apis.counting.output import OutputFields
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.ordinary import EventPart, Ignored, Name, OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import ollama_error
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.core.costs.pricing import Usage

_EMBEDDING: Final = ends_in("/api/embed")
_MESSAGE: Final = OutputFields(texts=("content", "thinking", "tool_calls"), silent=("role", "tool_name"))
_ANSWER: Final = OutputFields(
    texts=("response", "thinking"),
    silent=("message", "model", "created_at", "done_reason", "context", "remote_model", "remote_host", "logprobs"),
)
_COUNTS: Final = frozenset({"prompt_eval_count", "eval_count"})
# "num_predict": without end, or until the context is full.
_NO_MAXIMUM: Final = (-1, -2)


class _Message(EventPart, forbid_unknown_fields=True):
    content: str | None = None
    thinking: str | None = None
    role: Ignored = Ignored()


class Line(OrdinaryEvent, forbid_unknown_fields=True):
    """The ordinary line: a piece of a message, or of a text."""

    message: _Message | msgspec.UnsetType | None = msgspec.UNSET
    response: str | msgspec.UnsetType | None = msgspec.UNSET
    thinking: str | None = None
    model: Name | None = None
    created_at: Ignored = Ignored()
    done: bool = False

    def __post_init__(self) -> None:
        if self.done:
            raise ValueError

    def add_to(self, seen: Seen) -> None:
        """Add text and model."""
        message, response = self.message, self.response
        if message is not msgspec.UNSET or response is not msgspec.UNSET:
            texts = [response, self.thinking]
            if isinstance(message, _Message):
                texts += [message.content, message.thinking]
            seen.take_text(sum(utf8_bytes(text) for text in texts if text))
        if self.model:
            seen.take_model(self.model)


class Ollama(JsonApi):
    """`POST …/api/chat`, `…/api/generate` and `…/api/embed`."""

    name = "ollama"
    provider = "ollama"
    path = ends_in("/api/(?:chat|generate|embed)")
    input_fields = ("messages", "context")
    ordinary_event = Line

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        return replace(ask, max_output_tokens=0) if _EMBEDDING.search(path) else ask

    def count(self, body: Mapping[str, object]) -> Count:
        """Count what is sent to the model; its images are plain base64."""
        messages = list_of(body.get("messages"))
        texts = [_without_images(message) for message in messages] or body.get("messages")
        count = super().count({**_without_images(body), "messages": texts})
        for holder in (body, *map(mapping_of, messages)):
            count_base64_images(holder.get("images"), count)
        return count

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The option `num_predict`, unless it says that there is no maximum."""
        options = mapping_of(body.get("options"))
        return None if options.get("num_predict") in _NO_MAXIMUM else whole_number(options, "num_predict")

    def read_json(self, document: object, seen: Seen) -> None:
        """Read a whole answer, or a line of a stream."""
        answer = mapping_of(document)
        read_failure(answer, seen)
        seen.take_reason(answer.get("done_reason"))
        if "message" in answer or "response" in answer:
            message = mapping_of(answer.get("message"))
            seen.take_text(_MESSAGE.read(message, seen) + _ANSWER.read(answer, seen))
        seen.readable |= "embeddings" in answer
        seen.has_results |= bool(answer.get("embeddings"))
        seen.take_model(name_in(answer, "model"))
        # A prompt that is in its cache is not counted.
        if not _COUNTS.isdisjoint(answer):
            input_tokens, output_tokens = (first_count(answer, name) for name in ("prompt_eval_count", "eval_count"))
            seen.take_usage(Usage(input_tokens=input_tokens, output_tokens=output_tokens))
        seen.terminal |= answer.get("done") is True

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """A bare error."""
        return ollama_error(refusal)


def _without_images(holder: object) -> Any:
    """A message or a request without the images that it holds in a list; anything else as it is."""
    if isinstance(holder, dict) and isinstance(holder.get("images"), list):
        return {field: value for field, value in holder.items() if field != "images"}
    return holder
