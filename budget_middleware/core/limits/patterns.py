"""The parts of limit patterns: which subjects each stands for, and how specific it is.

    part         stands for                           mark
    search/ads   that one subject                     EXACT
    search/*     every subject that begins so         how many segments stand before the star
    *            every subject, and that of ABSENT    0

The higher the mark, the more specific the part: of several that reach a subject the one with the highest decides.
"""

from collections.abc import Sequence

from budget_middleware.core.payers.accounts import ANY, PREFIX_SEGMENTS_MAX

EXACT = PREFIX_SEGMENTS_MAX + 1

Marks = tuple[int, ...]
"""The mark of each part of a pattern."""


def is_open(part: str) -> bool:
    """Whether a part stands for more than one subject. No subject has a raw star."""
    return part.endswith(ANY)


def mark_of(part: str) -> int:
    return part.count("/") if is_open(part) else EXACT


def segments_of(subject: str) -> int:
    """How many segments a part that reaches a subject can have before its star."""
    return min(subject.count("/"), PREFIX_SEGMENTS_MAX)


def part_reaching(subject: str, mark: int) -> str:
    """The part of that mark that stands for a subject, or for all that another part does; "" if there is none."""
    if mark == EXACT:
        return subject
    segments = subject.split("/", mark)
    return "/".join((*segments[:mark], ANY)) if len(segments) > mark else ""


def parts_standing_for(part: str) -> tuple[str, ...]:
    """Itself, and every part that stands for all that it stands for."""
    if not part:
        return (part,)
    return tuple(dict.fromkeys((part, *(part_reaching(part, mark) for mark in range(segments_of(part) + 1)))))


def parts_reaching(subjects: Sequence[str], marks: Marks) -> tuple[str, ...]:
    return tuple(map(part_reaching, subjects, marks))


def specificity(marks: Marks) -> tuple[int, int, Marks]:
    """What orders patterns by their parts: more exact ones, then more prefixes, then the mark of the leftmost."""
    return sum(mark == EXACT for mark in marks), sum(mark > 0 for mark in marks), marks
