"""What operators changed that is no counter: who set which limits, and why.

Changes of counters are in the journal with their reasons. A limit is no counter, so its change is noted in the store,
where it is kept as long as a counter is after its last change.
"""

from dataclasses import dataclass
from typing import Final

from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.values import iso
from budget_middleware.stores.notes import Topic

_WHAT_CHARS: Final = 300


@dataclass(frozen=True, slots=True)
class OperatorChange:
    """What was changed, and the reason with the name of who gave it."""

    time: str
    what: str
    reason: str


async def note_change(context: OperatorContext, what: str, *, reason: str) -> None:
    """Note a change before it is made: one that fails leaves a note too many, and none is missing."""
    now_ms = (await context.store.head()).now_ms
    shown = what if len(what) <= _WHAT_CHARS else f"{what[:_WHAT_CHARS]}…"
    # The time keeps two that are alike apart.
    await context.store.add_note(Topic.OPERATOR, f"{iso(now_ms)} {shown} {reason}")


async def list_operator_changes(context: OperatorContext) -> list[OperatorChange]:
    """Those that are kept, the oldest first."""
    notes = sorted(note.text for note in await context.store.notes() if note.topic is Topic.OPERATOR)
    return [_change_of(text) for text in notes]


def _change_of(text: str) -> OperatorChange:
    time, _, rest = text.partition(" ")
    what, by, reason = rest.partition(" by ")
    return OperatorChange(time, what, f"by {reason}" if by else "")
