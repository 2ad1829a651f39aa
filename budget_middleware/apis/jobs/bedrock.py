"""Amazon Bedrock's jobs, where a gateway exposes its paths: batches, and models that answer into a bucket.

    POST /model-invocation-job ──> {"jobArn"}       GET /model-invocation-job/ARN   how many records were answered
    POST /async-invoke ──> {"invocationArn"}        GET /async-invoke/ARN           whether it is done

Files lie in the customer's bucket and do not pass here. So a batch is held by the operator's rule and booked by its
answered records where these have a price (`batches/MODEL`). What an invocation makes, mostly a video, its request says.
"""

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from budget_middleware.apis.bodies.reading import (
    MAX_TOKENS,
    largest,
    last_segment,
    list_of,
    mapping_of,
    text_in,
    token_count,
)
from budget_middleware.apis.jobs.created import JobApi, JobPlan, JobState, Stage, size_modes, used_by_itself
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import message_error
from budget_middleware.core.costs.job_kinds import JobKind
from budget_middleware.core.costs.usage import Usage

_MOST_ID: Final = 256
# Failed ones have made nothing, and Amazon sells what was made.
_STAGES: Final = {
    "Completed": Stage.DONE,
    "PartiallyCompleted": Stage.DONE,
    "Failed": Stage.FREE,
    "Stopped": Stage.STOPPED,
    "Expired": Stage.STOPPED,
}
_SECONDS: Final = ("durationSeconds", "duration_seconds", "duration")
# As Luma writes a duration.
_WITH_UNIT: Final = re.compile(r"\s*([0-9]{1,9})\s*s(?:ec(?:onds?)?)?\s*", re.ASCII)
# Of Nova Reel, for each shot, and of others.
_SHOT_MS: Final = 6_000
_USUAL_MS: Final = 8_000


class _BedrockJob(JobApi):
    """A job by its ARN, of which the last segment tells it from all others."""

    provider = "aws"
    arn_field: ClassVar[str]

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """The model that it names, without its ARN."""
        fields = mapping_of(body)
        model = last_segment(text_in(fields, "modelId") or "")
        return super().read_request({**fields, "model": model}, path=path, n_bytes=n_bytes, query=query)

    def id_in(self, document: Mapping[str, object]) -> str:
        """The last segment of its ARN, which may be longer than a name."""
        return last_segment(text_in(document, self.arn_field) or "")[:_MOST_ID]

    def state(self, document: object) -> JobState | None:
        """The state of a job, and what it shows that was used."""
        job = mapping_of(document)
        id_, status = self.id_in(job), job.get("status")
        if not id_ or not isinstance(status, str):
            return None
        stage = _STAGES.get(status, Stage.RUNNING)
        answered = token_count(job.get("successRecordCount")) if stage is not Stage.RUNNING else None
        return JobState(id_, stage, used_by_itself(Usage(calls=answered or 0)))

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal as a bare message."""
        return message_error(refusal)


class BedrockBatches(_BedrockJob):
    """`POST …/model-invocation-job`; a list of them has one letter more."""

    name = "bedrock-batches"
    kind = JobKind.BATCHES
    path = ends_in("/model-invocation-jobs?")
    arn_field = "jobArn"

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:  # noqa: ARG002 - how many nobody knows
        """Nothing that is known beforehand."""
        return JobPlan(Usage(), counts_calls=True)


class BedrockInvocations(_BedrockJob):
    """`POST …/async-invoke`: a video, or what else a model takes its time for."""

    name = "bedrock-invocations"
    kind = JobKind.VIDEOS
    path = ends_in("/async-invoke")
    arn_field = "invocationArn"

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:  # noqa: ARG002 - the body says it all
        """The seconds and the size of a video. BadRequestError for a length that none has."""
        asked = mapping_of(body.get("modelInput"))
        config = mapping_of(asked.get("videoGenerationConfig"))
        shots = len(list_of(mapping_of(asked.get("multiShotManualParams")).get("shots")))
        is_reel = "nova-reel" in (text_in(body, "modelId") or "")
        lengths = [*_lengths_in(asked), *_lengths_in(config)]
        each_ms = _SHOT_MS * max(shots, 1) if is_reel or shots else _USUAL_MS
        used_ms = max([each_ms if shots else 0, *lengths]) or each_ms
        return JobPlan(
            Usage(video_ms=used_ms),
            size_modes(config.get("dimension"), asked.get("resolution"), config.get("resolution")),
        )


def _lengths_in(holder: Mapping[str, object]) -> Iterator[int]:
    """The lengths that are named, in milliseconds."""
    for name in _SECONDS:
        value = holder.get(name)
        found = _WITH_UNIT.fullmatch(value) if isinstance(value, str) else None
        seconds = largest({name: found[1] if found else value}, name)
        if seconds is not None:
            yield min(seconds, MAX_TOKENS) * 1_000
