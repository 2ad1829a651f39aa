"""What the parts of an uploaded file plan, and what the file plans that is made of them.

Theory of operation. A part may begin and end in the midst of a call, and nothing of a request is kept. So of its first
and its last line a part says only whether they are a call as they stand: a piece of a JSON object never is an object
itself. What is none where parts meet is one call that was cut, over as many parts as it goes on, and cannot be read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from budget_middleware.request.quotes.batches import PlannedSums, unpack_sums

_VERSION: Final = 1


@dataclass(slots=True)
class PartPlan:
    """What a part of a file plans. ``begins_cut``, ``ends_cut``: its first or last line is no call as it stands;
    ``is_piece``: that line is all there is.

    Without ``may_plan`` its file is of something else than calls.
    """

    n_bytes: int = 0
    begins_cut: bool = False
    ends_cut: bool = False
    is_piece: bool = False
    may_plan: bool = True
    sums: PlannedSums = field(default_factory=PlannedSums)

    def packed(self) -> str:
        """What is kept of it: counts and sums."""
        counts = [self.n_bytes, *map(int, (self.begins_cut, self.ends_cut, self.is_piece, self.may_plan))]
        return json.dumps({"v": _VERSION, "part": counts, "sums": self.sums.packed()})


def unpack_part(text: str) -> PartPlan | None:
    """None for what is no part, or of a newer version."""
    try:
        fields = json.loads(text)
        n_bytes, begins_cut, ends_cut, is_piece, may_plan = map(int, fields["part"])
        sums = unpack_sums(fields["sums"])
    except (ValueError, KeyError, TypeError):
        return None
    if fields["v"] != _VERSION or sums is None:
        return None
    return PartPlan(n_bytes, bool(begins_cut), bool(ends_cut), bool(is_piece), bool(may_plan), sums)


def sums_of(parts: Sequence[PartPlan]) -> PlannedSums | None:
    """The sums of a file that is made of these parts; None if it has none."""
    if not parts or not all(part.may_plan for part in parts):
        return None
    sums, is_in_call = PlannedSums(), False
    for part in parts:
        sums.add_sums(part.sums)
        # A call that the part before has begun is counted there.
        cut = (part.begins_cut and not is_in_call) + (part.ends_cut and not part.is_piece)
        sums.requests += cut
        sums.unread += cut
        is_in_call = part.ends_cut
    return sums if sums.requests else None
