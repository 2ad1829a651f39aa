"""What a file plans whose lines name no model: counts of calls and tokens, which become money when a batch names it."""

import json
from dataclasses import astuple, dataclass, replace
from typing import Final

from budget_middleware.apis.protocol.base import Ask
from budget_middleware.core.costs.usage import Usage
from budget_middleware.core.money import ceil_div
from budget_middleware.ledger.jobs.tickets import fact_name

_VERSION: Final = 1


@dataclass(slots=True)
class FilePlan:
    """Of so many ``requests`` the ``capped`` ones name a maximum of output, together ``output_tokens``.

    ``unread`` are those that could not be read. ``is_cut``: it ends in the midst of a call. Not ``may_plan``: the file
    is of something else.
    """

    requests: int = 0
    input_tokens: int = 0
    capped: int = 0
    output_tokens: int = 0
    unread: int = 0
    is_cut: bool = False
    may_plan: bool = True

    def add(self, ask: Ask | None) -> None:
        """Add a call; None for one that could not be read."""
        self.requests += 1
        if ask is None:
            self.unread += 1
            return
        self.input_tokens += ask.input.input_tokens
        if ask.max_output_tokens is not None:
            self.capped += 1
            self.output_tokens += ask.max_output_tokens * ask.choices

    def asks(self, model: str | None) -> tuple[tuple[int, Ask], ...]:
        """How many calls there are like which one: those that name a maximum, and the others, each of mean length."""
        read = self.requests - self.unread
        if not read:
            return ()
        mean = Usage(input_tokens=ceil_div(self.input_tokens, read))
        like = Ask(model=model, input=mean, worst_input=mean, modes=("batch",))
        capped = ceil_div(self.output_tokens, self.capped) if self.capped else None
        kinds = ((self.capped, replace(like, max_output_tokens=capped)), (read - self.capped, like))
        return tuple((n_calls, ask) for n_calls, ask in kinds if n_calls)

    def packed(self) -> str:
        """What is kept of it: counts alone."""
        return json.dumps({"v": _VERSION, "counts": [int(count) for count in astuple(self)]})


def unpack_plan(text: str) -> FilePlan | None:
    """None for what is no plan, or of a newer version."""
    try:
        fields = json.loads(text)
        requests, input_tokens, capped, output_tokens, unread, is_cut, may_plan = map(int, fields["counts"])
    except (ValueError, KeyError, TypeError):
        return None
    plan = FilePlan(requests, input_tokens, capped, output_tokens, unread, bool(is_cut), bool(may_plan))
    return plan if fields["v"] == _VERSION else None


def google_file_fact(name: str) -> str:
    """The name under which the plan of a file of Gemini's is kept; it is called `files/ID` there."""
    return fact_name("google-file", name.rpartition("/")[2])
