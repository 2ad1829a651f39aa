"""Google's `:predict`, by which older models of the Gemini API and of Vertex AI work: pictures, music, embeddings.

What a request asks for is in `instances`, how many of each in `parameters`. Pictures are sold one by one, and those
count that came: Google does not charge for one that it filters out. Embeddings are sold by the tokens that the answer
counts, and music by the piece (`call` in the price file). Models that are deployed for one customer, `…/endpoints/ID`,
are sold by the hour, and are none of these.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.reading import MAX_TOKENS, largest, list_of, mapping_of, token_count
from budget_middleware.apis.counting.media import GEMINI_MEDIA
from budget_middleware.apis.google.fields import both
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.model_names import model_in_path
from budget_middleware.apis.routes.paths import ends_in_after
from budget_middleware.apis.shared.errors import google_error
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.core.costs.outcome import Finish
from budget_middleware.core.costs.usage import Usage

# What Imagen draws if it is not told how many.
_USUAL_PICTURES: Final = 4
_COUNTS: Final = (*both("sampleCount"), *both("numberOfImages"), *both("candidateCount"))
_FILTERED: Final = both("raiFilteredReason")
# What a prediction has beside what was made.
_SILENT: Final = frozenset({*_FILTERED, *both("mimeType"), *both("safetyAttributes"), "prompt", *both("contentType")})


class GooglePredict(JsonApi):
    """`POST …/models/MODEL:predict`, of the Gemini API and of Vertex AI."""

    name = "google-predict"
    provider = "gcp.vertex_ai"
    path = ends_in_after(("/models/",), "(?P<model>.+):(?=[a-z])predict")
    media = GEMINI_MEDIA
    input_fields = ("instances",)

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request: its input for those that are sold by tokens, and how many pieces for all others."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        pieces = _pieces(body, usual=_USUAL_PICTURES if "imagen-" in (model_in_path(self.path, path)[0] or "") else 1)
        return replace(
            ask,
            provider="google",
            input=replace(ask.input, images=pieces, calls=pieces),
            worst_input=replace(ask.worst_input, images=pieces, calls=pieces),
        )

    def unread_units(self, n_bytes: int) -> dict[str, int]:  # noqa: ARG002 - however long it is
        """As many pictures as are drawn unasked."""
        return {"images": _USUAL_PICTURES, "calls": 1}

    def texts_in(self, body: Mapping[str, object]) -> list[object]:
        """The parameters steer the call, as a negative prompt does not."""
        return super().texts_in({name: value for name, value in body.items() if name != "parameters"})

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:  # noqa: ARG002 - whatever it says
        """None at all."""
        return 0

    def read_json(self, document: object, seen: Seen) -> None:
        """Read how many pieces came, or the tokens of embeddings."""
        answer = mapping_of(document)
        read_failure(answer, seen)
        predictions = list_of(answer.get("predictions"))
        made, tokens = [each for each in predictions if _is_made(each)], 0
        for each in made:
            tokens += _tokens_of(mapping_of(each))
        seen.has_results |= bool(made)
        if tokens:
            seen.take_usage(Usage(input_tokens=tokens))
        elif made:
            seen.take_usage(Usage(images=len(made)))
        elif predictions:
            # All of them are filtered out.
            seen.take_finish(Finish.FAILED)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """Google's RPC status."""
        return google_error(refusal)


def _pieces(body: Mapping[str, object], *, usual: int) -> int:
    """How many pieces are asked for. BadRequestError for what is no number; one beyond all budgets is kept small."""
    of_all = largest(mapping_of(body.get("parameters")), *_COUNTS)
    pieces = 0
    for instance in list_of(body.get("instances")) or [{}]:
        # Of music each prompt may say how often.
        asked = [count for count in (of_all, largest(mapping_of(instance), *_COUNTS)) if count is not None]
        pieces += min(max(asked, default=usual), MAX_TOKENS)
    return min(pieces, MAX_TOKENS)


def _is_made(prediction: object) -> bool:
    """Whether a prediction is something, and not only the reason why it is nothing."""
    fields = mapping_of(prediction)
    if not any(name in fields for name in _FILTERED):
        return True
    return any(bool(value) for name, value in fields.items() if name not in _SILENT)


def _tokens_of(prediction: Mapping[str, object]) -> int:
    statistics = mapping_of(mapping_of(prediction.get("embeddings")).get("statistics"))
    return max(token_count(statistics.get(name)) or 0 for name in both("tokenCount"))
