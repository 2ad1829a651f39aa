"""Known POST routes that cost nothing: they pass without a reservation."""

from typing import Final

from budget_middleware.apis.routes.paths import ends_in

_FREE: Final = ends_in(
    r"(?:/moderations"
    r"|/tokenize(?:/count)?|/detokenize|/count_tokens|/count-tokens(?::rawPredict)?|/responses/input_tokens|:countTokens|:computeTokens"
    r"|/responses/[^/]+/cancel|/interactions/[^/]+[/:]cancel"
    # What a batch of Gemini's embeddings costs is not known here.
    r"|/jobs/[^/]+/(?:cancel|pause|resume)|/runs/(?!(?:stream|wait|batch)\Z)[^/]+|/videos/characters|:fetchPredictOperation|/operations/[^/:]+:cancel"
    r"|[/:]model-invocation-job/[^/]+/stop|/(?:batchPredictionJobs|tuningJobs)/[^/:]+:cancel"
    r"|/batches/[^/]+/cancel|/batches/[^/:]+:cancel|:asyncBatchEmbedContent"
    # What ends or hands over a call of OpenAI's realtime API.
    r"|/calls/[^/]+/(?:hangup|reject|refer)|/sessions/[^/]+/hangup"
    # What an agent is told of a task (A2A).
    r"|/tasks/[^/:]+:(?:cancel|subscribe)|/tasks/[^/]+/pushNotificationConfigs"
    r"|/files|/uploads(?:/[^/]+/(?:parts|complete|cancel))?"
    r"|/api/show)"
)


def is_free_route(path: str) -> bool:
    """Whether a POST to this path is known to cost nothing, behind any prefix."""
    # No route has more segments than these.
    return _FREE.search("/" + "/".join(path.rstrip("/").rsplit("/", 3)[1:])) is not None
