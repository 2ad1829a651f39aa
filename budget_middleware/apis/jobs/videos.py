"""Videos: sold by the second and by their size, made for minutes after the request.

Two shapes: OpenAI's (`/videos`, which Azure, xAI, OpenRouter, Together and LiteLLM follow, each with names of its own),
and Google's operations (`:predictLongRunning`).
"""

from collections.abc import Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import (
    MAX_TOKENS,
    id_in,
    largest,
    list_of,
    mapping_of,
    milliseconds,
    name_in,
    text_in,
    token_count,
)
from budget_middleware.apis.jobs.created import JobApi, JobPlan, JobState, Stage, size_modes
from budget_middleware.apis.protocol.base import Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import google_error
from budget_middleware.apis.shared.openai_usage import take_cost
from budget_middleware.core.costs.job_kinds import JobKind
from budget_middleware.core.costs.usage import Usage

_SECONDS: Final = ("seconds", "duration", "duration_seconds", "n_seconds")
# Of a model that nobody knows: as long as most make them unasked.
_USUAL_MS: Final = 8_000
# Sora's own, unasked, and at most: a video that is edited is as long as it was.
_SORA_MS: Final = 4_000
_LONGEST_MS: Final = 20_000

# `failed` and its like: all of these sell seconds of video that were made (developers.openai.com/api/docs/pricing,
# docs.x.ai/developers/pricing), and a job that has failed has made none. OpenRouter and xAI name the cost in any case.
_FREE: Final = frozenset({"failed", "cancelled", "canceled", "expired", "error"})
_DONE: Final = frozenset({"completed", "succeeded", "done"})


class OpenAIVideos(JobApi):
    """`POST …/videos`, and what makes one of another: `…/videos/ID/remix`, `…/videos/edits`, `…/videos/extensions`."""

    name = "openai-videos"
    provider = "openai"
    kind = JobKind.VIDEOS
    default_model = "sora-2"
    path = ends_in(r"/(?:videos(?:/generations|/edits|/extensions|/[^/]+/remix)?|video/generations/jobs)")

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:
        """Its seconds and size; of one that is made of another, what that one had."""
        before, last = ["", *path.rstrip("/").split("/")][-2:]
        last, source = last.lower(), mapping_of(body.get("video"))
        made_of = before if last == "remix" else id_in(source, "id") or ""
        is_made_of = last in ("remix", "edits", "extensions") or "video" in body
        asked = _bounded(largest(body, *_SECONDS))
        is_sora = "sora" in (text_in(body, "model") or self.default_model)
        usual_ms = _LONGEST_MS if is_made_of else _SORA_MS if is_sora else _USUAL_MS
        videos = _bounded(largest(body, "n", "n_variants")) or 1
        width, height = body.get("width"), body.get("height")
        box = f"{width}x{height}" if width and height else None
        return JobPlan(
            Usage(video_ms=(asked * 1_000 if asked else usual_ms) * videos),
            size_modes(box, body.get("size"), body.get("resolution")),
            made_of,
            pieces=videos,
            is_guess=not asked,
            # Its answers say how long it is together with what it extends.
            is_exact=last == "extensions",
        )

    def id_in(self, document: Mapping[str, object]) -> str:
        """Its `id`; xAI's `request_id`."""
        return id_in(document, "id") or id_in(document, "request_id") or ""

    def state(self, document: object) -> JobState | None:
        """The state of a video object. xAI's names no id, and its length in `video`."""
        video = mapping_of(document)
        made = mapping_of(video.get("video"))
        status = str(video.get("status") or ("done" if "url" in made else "")).lower()
        if not status:
            return None
        stage = Stage.DONE if status in _DONE else Stage.FREE if status in _FREE else Stage.RUNNING
        seen = Seen()
        for holder in ("usage", "outputs"):
            take_cost(mapping_of(video.get(holder)), seen)
        lengths = [milliseconds(holder[name]) for holder in (video, made) for name in _SECONDS if name in holder]
        videos = _count(video.get("n_variants")) or 1
        used_ms = (next(filter(None, lengths), 0) * videos) if stage is Stage.DONE else 0
        return JobState(
            self.id_in(video),
            stage,
            ((name_in(video, "model") or "", Usage(video_ms=used_ms)),),
            size_modes(video.get("size"), video.get("resolution")),
            cost_nanos=seen.cost_nanos,
        )


def _bounded(number: int | None) -> int:
    """A number of a request, beyond which every budget is spent."""
    return min(number or 0, MAX_TOKENS)


def _count(value: object) -> int:
    return token_count(value) or 0


class GeminiVideos(JobApi):
    """`POST …/models/MODEL:predictLongRunning`, of the Gemini API and of Vertex."""

    name = "gemini-videos"
    provider = "gemini"
    kind = JobKind.VIDEOS
    path = ends_in(r"/models/(?P<model>[^/]+?):predictLongRunning")

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:  # noqa: ARG002 - the body says it all
        """Its seconds and size, for each of so many videos."""
        asked = mapping_of(body.get("parameters"))
        seconds = _bounded(largest(asked, "durationSeconds", "duration_seconds"))
        each = _bounded(largest(asked, "sampleCount", "sample_count", "numberOfVideos", "number_of_videos")) or 1
        videos = max(len(list_of(body.get("instances"))), 1) * each
        each_ms = seconds * 1_000 if seconds else _USUAL_MS
        return JobPlan(Usage(video_ms=each_ms * videos), size_modes(asked.get("resolution")), pieces=videos)

    def id_in(self, document: Mapping[str, object]) -> str:
        """The last segment of its name, `…/operations/ID`."""
        return (id_in(document, "name") or "").rpartition("/")[2]

    def state(self, document: object) -> JobState | None:
        """The state of an operation, and how many videos it has made.

        Google does not charge for a video that is blocked (ai.google.dev/gemini-api/docs/veo, limitations).
        """
        operation = mapping_of(document)
        id_ = self.id_in(operation)
        if not id_:
            return None
        if operation.get("done") is not True:
            return JobState(id_, Stage.RUNNING)
        if "error" in operation:
            return JobState(id_, Stage.FREE)
        answer = mapping_of(operation.get("response"))
        made = mapping_of(answer.get("generateVideoResponse")) or answer
        lists = [made[name] for name in ("generatedSamples", "generatedVideos", "videos") if name in made]
        pieces = len(list_of(lists[0])) if lists else 0
        if not pieces and _count(made.get("raiMediaFilteredCount")):
            return JobState(id_, Stage.FREE)
        return JobState(id_, Stage.DONE, pieces=pieces or None)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal as Google's errors look."""
        return google_error(refusal)
