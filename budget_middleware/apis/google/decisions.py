"""Gemini's decisions: questions with a few possible answers each, about one input, by the usage of an interaction."""

from dataclasses import replace

from budget_middleware.apis.bodies.reading import mapping_of
from budget_middleware.apis.counting.input import text_bytes_of
from budget_middleware.apis.counting.media import GEMINI_MEDIA
from budget_middleware.apis.google.fields import bare_model, values_of
from budget_middleware.apis.google.steps import read_interaction_usage
from budget_middleware.apis.google.usage import take_input_as_whole
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import google_error
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.core.costs.outcome import Finish, finish_of


class GeminiDecisions(JsonApi):
    """`POST …/decisions`."""

    name = "gemini-decisions"
    provider = "gcp.gemini"
    path = ends_in("/decisions")
    media = GEMINI_MEDIA
    input_fields = ("input",)

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """Read a request; its questions are read with the input."""
        ask = super().read_request(body, path=path, n_bytes=n_bytes, query=query)
        return replace(ask, model=bare_model(ask.model)) if ask.model else ask

    def read_json(self, document: object, seen: Seen) -> None:
        """Read the usage, and answers where there is none."""
        answer = mapping_of(document)
        read_failure(answer, seen)
        if "answers" in answer:
            seen.take_text(text_bytes_of(answer["answers"]))
        for feedback in values_of(answer, "promptFeedback"):
            if reasons := [reason for reason in values_of(mapping_of(feedback), "blockReason") if reason]:
                seen.take_finish(finish_of(reasons[0]) or Finish.REFUSED)
        read_interaction_usage(mapping_of(answer.get("usage")), seen)
        take_input_as_whole(seen)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """Google's RPC status."""
        return google_error(refusal)
