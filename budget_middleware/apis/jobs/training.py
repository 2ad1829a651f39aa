"""Fine-tuning and evaluations, as OpenAI and Azure have them: jobs for hours, priced by what they train or call."""

from collections.abc import Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import (
    MAX_TOKENS,
    id_in,
    list_of,
    mapping_of,
    name_in,
    text_in,
    token_count,
    whole_number,
)
from budget_middleware.apis.jobs.created import JobApi, JobPlan, JobState, Stage, used_by_itself
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.core.costs.job_kinds import JobKind
from budget_middleware.core.costs.usage import Usage

# What `auto` mostly comes to; for small files it is more, and what was trained is booked whole.
_USUAL_EPOCHS: Final = 3
_REINFORCEMENT: Final = "reinforcement"


class OpenAIFineTuning(JobApi):
    """`POST …/fine_tuning/jobs`."""

    name = "openai-fine-tuning"
    provider = "openai"
    kind = JobKind.FINE_TUNING
    path = ends_in("/fine_tuning/jobs")

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:  # noqa: ARG002 - the body says it all
        """The file that it trains on, so many times over; by the hour nobody knows beforehand."""
        method = mapping_of(body.get("method"))
        kind = text_in(method, "type") or "supervised"
        if kind == _REINFORCEMENT:
            return JobPlan(Usage())
        holders = (
            mapping_of(mapping_of(method.get(kind)).get("hyperparameters")),
            mapping_of(body.get("hyperparameters")),
        )
        epochs = [whole_number(holder, "n_epochs") for holder in holders if holder.get("n_epochs") != "auto"]
        times = min(max(filter(None, epochs), default=_USUAL_EPOCHS), MAX_TOKENS)
        return JobPlan(Usage(), file=id_in(body, "training_file") or "", times=times)

    def state(self, document: object) -> JobState | None:
        """The state of a job, and the tokens that it has trained. By the hour it is the time from its creation on: what
        of it was waiting, nobody says.

        OpenAI charges for training that has changed the model: for what was done before a cancellation, and for
        nothing of a job that has failed (help.openai.com, "Billing guide for the Reinforcement Fine Tuning API").
        """
        job = mapping_of(document)
        id_, status = id_in(job, "id"), job.get("status")
        if id_ is None or status is None:
            return None
        trained = token_count(job.get("trained_tokens"))
        is_timed = mapping_of(job.get("method")).get("type") == _REINFORCEMENT
        used = used_by_itself(Usage(training_tokens=trained or 0, training_ms=_lasted_ms(job) if is_timed else 0))
        if status == "succeeded":
            return JobState(id_, Stage.DONE, used)
        if status == "failed":
            return JobState(id_, Stage.FREE, used_by_itself(Usage(training_tokens=trained or 0)))
        return JobState(id_, Stage.STOPPED if status in ("cancelled", "canceled") else Stage.RUNNING, used)


def _lasted_ms(job: Mapping[str, object]) -> int:
    began, ended = (_time(job.get(name)) for name in ("created_at", "finished_at"))
    return max(ended - began, 0) * 1_000 if began and ended else 0


def _time(value: object) -> int:
    return value if type(value) is int and 0 < value < 1 << 40 else 0


class OpenAIEvals(JobApi):
    """`POST …/evals/ID/runs`: calls of models, which its end tells one by one."""

    name = "openai-evals"
    provider = "openai"
    kind = JobKind.EVALS
    path = ends_in(r"/evals/[^/]+/runs")

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:  # noqa: ARG002 - how much nobody knows
        """Nothing that is known beforehand."""
        return JobPlan(Usage())

    def state(self, document: object) -> JobState | None:
        """The state of a run, and what each model has used, whatever became of it: calls that were made cost."""
        run = mapping_of(document)
        id_, status = id_in(run, "id"), run.get("status")
        if id_ is None or status is None:
            return None
        used = tuple(filter(None, map(_used_by, list_of(run.get("per_model_usage")))))
        if status == "completed":
            return JobState(id_, Stage.DONE, used)
        is_over = status in ("failed", "canceled", "cancelled")
        return JobState(id_, Stage.FREE if is_over else Stage.RUNNING, used)


def _used_by(of_model: object) -> tuple[str, Usage] | None:
    usage, seen = mapping_of(of_model), Seen()
    cached = {"prompt_tokens_details": {"cached_tokens": usage.get("cached_tokens")}}
    read_openai_usage({"usage": {**usage, **cached}}, seen)
    return (name_in(usage, "model_name") or "", seen.usage) if seen.usage is not None else None
