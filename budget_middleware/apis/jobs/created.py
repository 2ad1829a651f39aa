"""Jobs that are no batches: which requests create one, what they plan, and what answers show of it later.

Theory of operation. A job makes something for minutes or days: a video, a fine-tuned model, the runs of an evaluation.
The request says what is to be made, the answer has an id, and later answers say how it stands with it.

    POST ──> JobPlan: so many seconds of video, tokens of training, in such modes          held
    GET, a cancellation ──> JobState: over or not, and what it shows that was used         booked

What a state does not show is taken as it was planned. A job that its provider does not charge for when it has failed is
released then: each API says whose rule that is.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import ClassVar, Final, NamedTuple

from budget_middleware.apis.bodies.reading import id_in, mapping_of
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.model_names import names_of
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.core.costs.job_kinds import JobKind
from budget_middleware.core.costs.outcome import Finish
from budget_middleware.core.costs.usage import Usage


class JobPlan(NamedTuple):
    """What a request plans to make.

    ``made_of`` is the job that it goes on from: what ``is_guess`` is then as it was there. ``file`` is the uploaded one
    that it reads ``times`` over. ``is_exact``: its answers count something else in it too. ``counts_calls``: it is sold
    by the calls that it makes, whose number its request does not show.
    """

    used: Usage
    modes: tuple[str, ...] = ()
    made_of: str = ""
    file: str = ""
    times: int = 1
    # How many pieces it makes, of which some may fail.
    pieces: int = 1
    is_guess: bool = False
    is_exact: bool = False
    counts_calls: bool = False


class Stage(Enum):
    """How it stands with a job."""

    RUNNING = auto()
    DONE = auto()
    # Over, and its provider charges only for what it shows.
    FREE = auto()
    # Over before its time, and its provider charges for what was done until then.
    STOPPED = auto()


class JobState(NamedTuple):
    """What an answer says of a job. ``used`` is what it shows, by the models that used it ("" for the job's own)."""

    id: str
    stage: Stage
    used: Sequence[tuple[str, Usage]] = ()
    modes: tuple[str, ...] = ()
    # How many of the planned pieces came to be.
    pieces: int | None = None
    cost_nanos: int | None = None


def used_by_itself(usage: Usage) -> tuple[tuple[str, Usage], ...]:
    """What the model of the job has used, as `JobState.used` has it: empty where an answer shows nothing of it."""
    return (("", usage),) if usage != Usage() else ()


class JobApi(JsonApi):
    """`POST` of a job. Its work goes on after the answer, whoever waits."""

    kind: ClassVar[JobKind]
    # The one that is used where a request names none.
    default_model: ClassVar[str] = ""

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:  # noqa: ARG002
        """The models that it names. What it plans is read by `plan`, which raises here where it cannot be."""
        fields = mapping_of(body)
        self.plan(fields, path=path)
        named = names_of(fields, path=path, query=query, pattern=self.path)
        return Ask(model=named.model, other_models=(*named.others, *named.maybe), is_unseen=True)

    def plan(self, body: Mapping[str, object], *, path: str) -> JobPlan:
        """What a request plans to make. BadRequestError for numbers that nothing can have."""
        raise NotImplementedError

    def state(self, document: object) -> JobState | None:
        """What an answer says of a job; None if it is about none."""
        raise NotImplementedError

    def id_in(self, document: Mapping[str, object]) -> str:
        """The id under which later answers know the job."""
        return id_in(document, "id") or ""

    def read_json(self, document: object, seen: Seen) -> None:
        """Take the id of the job. Unless it has failed at once, whatever it says may cost what was estimated."""
        answer = mapping_of(document)
        state = self.state(document)
        if state is not None and state.stage is Stage.FREE:
            seen.take_finish(Finish.FAILED)
            return
        seen.continues_unread = True
        if id_ := self.id_in(answer):
            seen.job = self.name, id_


class JobLook(NamedTuple):
    """A request whose answer may show how it stands with a job; ``id`` is "" where only its answer names it.

    ``shows_result``: its answer is what was made, so the job is done.
    """

    api: JobApi
    id: str
    shows_result: bool = False


_SIZE: Final = re.compile(r"([0-9]{2,5})\s*[x*:]\s*([0-9]{2,5})", re.ASCII)
# It is kept with the ticket, where no other word of a request may stand.
_MODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,11}", re.ASCII)


def size_modes(*names: object) -> tuple[str, ...]:
    """The modes that the size of a picture is priced by: as `720p`, and by the names that were given."""
    modes: list[str] = []
    for name in names:
        if not isinstance(name, str):
            continue
        if found := _SIZE.fullmatch(name):
            modes += [f"{min(int(found[1]), int(found[2]))}p", f"{int(found[1])}x{int(found[2])}"]
        elif _MODE.fullmatch(name):
            modes.append(name.lower())
    return tuple(modes)
