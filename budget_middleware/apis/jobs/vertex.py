"""Vertex AI's batches and its tuning: jobs whose files lie in Google's storage, so that nothing of them passes here.

Neither request says how much it is, and the answers about a batch say only how many calls were answered. So both are
held at the operator's rule, a batch is booked by its answered calls where they have a price (`batches/MODEL`), and
tuning by the tokens of its file, as often as they were read: tokens of the file times epochs are what Google sells
(cloud.google.com/vertex-ai/generative-ai/pricing, model tuning).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Final

from budget_middleware.apis.bodies.reading import (
    MAX_TOKENS,
    id_in,
    largest,
    largest_count,
    last_segment,
    mapping_of,
    text_in,
)
from budget_middleware.apis.google.fields import both, values_of
from budget_middleware.apis.jobs.created import JobApi, JobPlan, JobState, Stage, used_by_itself
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import google_error
from budget_middleware.core.costs.job_kinds import JobKind
from budget_middleware.core.costs.usage import Usage

# What Google chooses for most files if it is not told; what was read is booked by what the answer says.
_USUAL_EPOCHS: Final = 3
_STAGES: Final = {
    "SUCCEEDED": Stage.DONE,
    "PARTIALLY_SUCCEEDED": Stage.DONE,
    "FAILED": Stage.FREE,
    "CANCELLED": Stage.STOPPED,
    "EXPIRED": Stage.STOPPED,
}
_SPECS: Final = ("supervisedTuningSpec", "preferenceOptimizationSpec", "distillationSpec", "reinforcementTuningSpec")


class _VertexJob(JobApi):
    """A job by its name, `projects/P/locations/L/KIND/ID`, and its `state`."""

    provider = "gcp.vertex_ai"
    model_fields: ClassVar[tuple[str, ...]]

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """The models that it names, without whose they are (`publishers/google/models/`)."""
        fields = mapping_of(body)
        named = [last_segment(name) for name in _texts_in(fields, *self.model_fields)]
        others = {**fields, "model": named[0] if named else None, "models": named[1:]}
        return super().read_request(others, path=path, n_bytes=n_bytes, query=query)

    def id_in(self, document: Mapping[str, object]) -> str:
        """The last segment of its name."""
        return last_segment(id_in(document, "name") or "")

    def state(self, document: object) -> JobState | None:
        """The state of a job, and what it shows that was used. What failed is free if it shows nothing of that."""
        job = mapping_of(document)
        id_, state = self.id_in(job), str(job.get("state")).removeprefix("JOB_STATE_")
        if not id_ or "state" not in job:
            return None
        stage = _STAGES.get(state, Stage.RUNNING)
        used = self.used(job) if stage is not Stage.RUNNING else Usage()
        return JobState(id_, stage, used_by_itself(used))

    def used(self, job: Mapping[str, object]) -> Usage:
        """What a job that is over shows that was used."""
        raise NotImplementedError

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """Google's RPC status."""
        return google_error(refusal)


class VertexBatches(_VertexJob):
    """`POST …/batchPredictionJobs`."""

    name = "vertex-batches"
    kind = JobKind.BATCHES
    path = ends_in("/batchPredictionJobs")
    model_fields = ("model",)

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:  # noqa: ARG002 - how many nobody knows
        """Nothing that is known beforehand."""
        return JobPlan(Usage(), counts_calls=True)

    def used(self, job: Mapping[str, object]) -> Usage:
        """The calls that were answered."""
        answered = [
            largest_count(mapping_of(stats), *both("successfulCount")) for stats in values_of(job, "completionStats")
        ]
        return Usage(calls=max(answered, default=0))


class VertexTuning(_VertexJob):
    """`POST …/tuningJobs`."""

    name = "vertex-tuning"
    kind = JobKind.FINE_TUNING
    path = ends_in("/tuningJobs")
    model_fields = ("baseModel", "customBaseModel")

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:  # noqa: ARG002 - how much nobody knows
        """Nothing that is known beforehand. BadRequestError for a number of epochs that is none."""
        _epochs_in(body, largest)
        return JobPlan(Usage())

    def used(self, job: Mapping[str, object]) -> Usage:
        """The tokens of its file, for each time that it was read."""
        tokens = [
            largest_count(of_kind, *both("totalBillableTokenCount"))
            for stats in values_of(job, "tuningDataStats")
            for of_kind in _holders_in(mapping_of(stats))
        ]
        return Usage(training_tokens=min(max(tokens, default=0) * _epochs_in(job, largest_count), MAX_TOKENS))


def _holders_in(stats: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The statistics of a data set, by the kind of tuning, and of those of a distillation what they have in them."""
    for of_kind in map(mapping_of, stats.values()):
        yield of_kind
        yield from (mapping_of(inner) for inner in values_of(of_kind, "trainingDatasetStats"))


def _epochs_in(job: Mapping[str, object], read: Callable[..., int | None]) -> int:
    """How often the file is read, by a request or by an answer that repeats it."""
    named = [
        read(mapping_of(parameters), *both("epochCount"))
        for spec in _SPECS
        for holder in values_of(job, spec)
        for parameters in values_of(mapping_of(holder), "hyperParameters")
    ]
    return min(max(filter(None, named), default=_USUAL_EPOCHS), MAX_TOKENS)


def _texts_in(fields: Mapping[str, object], *names: str) -> Iterator[str]:
    return (text for name in names for spelling in both(name) if (text := text_in(fields, spelling)))
