"""The kinds of jobs that an operator can set prices for: what is made, whoever's API makes it."""

from enum import StrEnum


class JobKind(StrEnum):
    """The kinds, by the names under which the price file has them: alone, or before a model, as in `videos/sora-2`."""

    VIDEOS = "videos"
    FINE_TUNING = "fine-tuning"
    EVALS = "evals"
    BATCHES = "batches"


_KINDS = frozenset(JobKind)


def is_job_name(name: str) -> bool:
    """Whether a name of the price file is that of a kind of job, or of a model in one."""
    return name.partition("/")[0] in _KINDS
