"""The APIs that create jobs, and the requests whose answers show how it stands with one."""

from typing import Final

from budget_middleware.apis.jobs.bedrock import BedrockBatches, BedrockInvocations
from budget_middleware.apis.jobs.created import JobApi, JobLook
from budget_middleware.apis.jobs.training import OpenAIEvals, OpenAIFineTuning
from budget_middleware.apis.jobs.vertex import VertexBatches, VertexTuning
from budget_middleware.apis.jobs.videos import GeminiVideos, OpenAIVideos
from budget_middleware.apis.routes.paths import ends_in

_VIDEOS: Final = OpenAIVideos()
_OPERATIONS: Final = GeminiVideos()
_TUNING: Final = OpenAIFineTuning()
_EVALS: Final = OpenAIEvals()
_VERTEX_BATCHES: Final = VertexBatches()
_VERTEX_TUNING: Final = VertexTuning()
_BEDROCK_BATCHES: Final = BedrockBatches()
_INVOCATIONS: Final = BedrockInvocations()

JOB_APIS: Final[tuple[JobApi, ...]] = (
    *(_VIDEOS, _OPERATIONS, _TUNING, _EVALS, _VERTEX_BATCHES, _VERTEX_TUNING, _BEDROCK_BATCHES, _INVOCATIONS),
)

_NO_ID: Final = "(?!(?:generations|edits|extensions|characters)/*+\\Z)"
_LOOKS: Final = (
    ("GET", ends_in(rf"/videos/{_NO_ID}(?P<id>[^/]+)(?P<result>/content)?"), _VIDEOS),
    ("GET", ends_in(r"/video/generations/jobs/(?P<id>[^/]+)"), _VIDEOS),
    ("GET", ends_in(r"/operations/(?P<id>[^/:]+)"), _OPERATIONS),
    # The operation is named in its body, and in its answer.
    ("POST", ends_in(r"(?P<id>):fetchPredictOperation"), _OPERATIONS),
    ("GET", ends_in(r"/fine_tuning/jobs/(?P<id>[^/]+)"), _TUNING),
    ("POST", ends_in(r"/fine_tuning/jobs/(?P<id>[^/]+)/(?:cancel|pause|resume)"), _TUNING),
    ("GET", ends_in(r"/evals/[^/]+/runs/(?P<id>[^/]+)"), _EVALS),
    # Which cancels it.
    ("POST", ends_in(r"/evals/[^/]+/runs/(?P<id>[^/]+)"), _EVALS),
    ("GET", ends_in(r"/batchPredictionJobs/(?P<id>[^/:]+)"), _VERTEX_BATCHES),
    ("GET", ends_in(r"/tuningJobs/(?P<id>[^/:]+)"), _VERTEX_TUNING),
    # By an id, or by an ARN, which ends in the same words.
    ("GET", ends_in(r"[/:]model-invocation-job/(?P<id>[^/:]+)"), _BEDROCK_BATCHES),
    ("GET", ends_in(r"[/:]async-invoke/(?P<id>[^/:]+)"), _INVOCATIONS),
)


def job_api_at(path: str) -> JobApi | None:
    """The API whose job a POST to this path creates, if any."""
    return next((api for api in JOB_APIS if api.matches(path)), None)


def job_api_named(name: str) -> JobApi | None:
    return next((api for api in JOB_APIS if api.name == name), None)


def job_look_at(method: str, path: str) -> JobLook | None:
    """What a request looks at, if at a job."""
    for of_method, pattern, api in _LOOKS:
        if of_method == method and (found := pattern.search(path)):
            return JobLook(api, found["id"], "result" in pattern.groupindex and found["result"] is not None)
    return None
