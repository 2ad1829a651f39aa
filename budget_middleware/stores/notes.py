"""What gateways leave in the store for operators."""

from dataclasses import dataclass
from enum import StrEnum


class Topic(StrEnum):
    """The subjects of a gateway's notes for operators."""

    UNMETERED = "unmetered"  # A route, as a template, at which no LLM API of ours is.
    UNPRICED = "unpriced"  # A model that was served without a price, or a tool or a mode of one.
    JOBS = "jobs"  # A kind of job, and a model, of which a job was created that has no price.
    USAGE = "usage"  # A model, why a usage of it contradicts itself, and the names of its fields.
    ANSWERED = "answered"  # A model's name, and another that has answered to it and costs more.
    CORS = "cors"  # A route whose preflights a CORS layer inside of the middleware answers.
    SETTINGS = "settings"  # The fingerprint of its settings: see core/fingerprint.py.
    OPERATOR = "operator"  # What an operator changed that is no counter, and why.
    MIGRATION = "migration"  # The generation of the ledger that this one takes the place of.


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a gateway saw, and when it last began to (milliseconds, the store's clock)."""

    topic: Topic
    text: str
    time_ms: int
