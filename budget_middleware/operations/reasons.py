"""The reasons of operators' changes, as the journal keeps them: who gave it, then why."""


def reason_by(who: str, why: str) -> str:
    return f"by {who}: {why}"


def who_gave(reason: str) -> str:
    """`by NAME` if the reason names an operator; else the whole reason, as of a program's own adjustment."""
    by_name, colon, _ = reason.partition(": ")
    return by_name if colon and by_name.startswith("by ") else f"as {reason!r}"
