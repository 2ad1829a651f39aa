"""Lists of jobs: each item says the same of a job as an answer about that job alone.

GET /batches, /messages/batches ──> {"data": [batch]}, {"operations": [batch]}
GET /videos, /fine_tuning/jobs, /evals/ID/runs, /operations ──> {"data": [job]}, {"operations": [job]}
GET /batchPredictionJobs, /tuningJobs ──> a list under that name; Bedrock calls its own summaries
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from budget_middleware.apis.bodies.reading import list_of, mapping_of
from budget_middleware.apis.jobs.batches import ANTHROPIC_BATCH, GEMINI_BATCH, OPENAI_BATCH, batch_api_at
from budget_middleware.apis.jobs.created import JobApi
from budget_middleware.apis.jobs.looks import JOB_APIS, job_api_at
from budget_middleware.apis.jobs.videos import GeminiVideos
from budget_middleware.apis.routes.paths import ends_in

_BY_NAME: Final = ("batchPredictionJobs", "tuningJobs", "invocationJobSummaries", "asyncInvokeSummaries")
_HOLDERS: Final = ("data", "operations", "batches", "jobs", *_BY_NAME)
# More than providers put on a page.
_MOST_ITEMS: Final = 1_000
_OPERATIONS: Final = ends_in("/operations")
_OF_OPERATIONS: Final = next(api for api in JOB_APIS if isinstance(api, GeminiVideos))


class Listed(NamedTuple):
    """What a list is of: batches of one of these APIs, or jobs of that one."""

    batches: tuple[str, ...] = ()
    jobs: JobApi | None = None


def listed_at(path: str) -> Listed | None:
    """What a GET of this path lists, if jobs: they are listed where they are created."""
    if (batches := batch_api_at(path)) is not None:
        # OpenAI's and Gemini's are listed at one path.
        return Listed((OPENAI_BATCH, GEMINI_BATCH) if batches.name != ANTHROPIC_BATCH else (ANTHROPIC_BATCH,))
    jobs = _OF_OPERATIONS if _OPERATIONS.search(path) else job_api_at(path)
    return Listed(jobs=jobs) if jobs is not None else None


def items_in(document: object) -> Sequence[object]:
    """The items of a list."""
    if isinstance(document, list):
        return document[:_MOST_ITEMS]
    fields = mapping_of(document)
    return [item for holder in _HOLDERS for item in list_of(fields.get(holder))][:_MOST_ITEMS]
