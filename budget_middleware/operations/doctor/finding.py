"""What a check found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's; ``fix`` is empty where nothing has to be done."""

    check: str
    status: Health
    message: str
    fix: str = ""
