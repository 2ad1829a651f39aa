"""Findings from the notes of gateways: routes that pass unmetered, models without a price, contradicting usages."""

import re
from collections.abc import Sequence
from typing import Final

from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.setting_types import Unmetered
from budget_middleware.settings import Settings
from budget_middleware.stores.notes import Note, Topic

_MEANINGS: Final = {
    Topic.UNPRICED: (
        "served without a price, booked at 0",
        "price it in BUDGET_PRICES, or set BUDGET_UNKNOWN_MODEL",
    ),
    Topic.JOBS: (
        "jobs have no price, so BUDGET_JOB_ESTIMATE_USD is held and booked for each",
        "price them in BUDGET_PRICES under that name, by video_second, training, training_hour, call or hold_at_most",
    ),
    Topic.USAGE: (
        "a usage contradicts itself, booked at the larger reading",
        "compare with the provider's bill, and have the gateway pass the usage on as it came",
    ),
    Topic.ANSWERED: (
        "another model answers to this name and costs more, so its requests are held at that price",
        "nothing, if the gateway is meant to; else mend its fallbacks, or list its models by one_of in BUDGET_PRICES",
    ),
    Topic.CORS: (
        "refusals carry no CORS headers, a browser takes them for a network error",
        "put CORSMiddleware outside of BudgetMiddleware: in Starlette, add it afterwards",
    ),
}
"""What a note means, and how to fix it."""


def note_findings(notes: Sequence[Note], settings: Settings) -> list[Finding]:
    """What gateways noted in the store since they began to keep it."""
    findings = [
        Finding("gateway", Health.WARN, _passed(note.text), "name its API in BUDGET_ROUTES, if it is one")
        if note.topic is Topic.UNMETERED
        else Finding("gateway", Health.WARN, f"{note.text}: {_MEANINGS[note.topic][0]}", _MEANINGS[note.topic][1])
        for note in notes
        if note.topic is Topic.UNMETERED or note.topic in _MEANINGS
    ]
    return [
        *(findings or [Finding("gateway", Health.OK, "no route passed unmetered, no model was unpriced")]),
        _unmetered_finding([note.text for note in notes if note.topic is Topic.UNMETERED], settings),
    ]


def _passed(text: str) -> str:
    method, path = _method_and_path(text)
    return f"{path}: {method} passes unmetered"


def _unmetered_finding(texts: Sequence[str], settings: Settings) -> Finding:
    """Whether what nobody meters is refused, and if not, the settings that refuse all but what has passed so far."""
    if settings.unmetered is Unmetered.REFUSE:
        return Finding("unmetered", Health.OK, "BUDGET_UNMETERED=refuse: requests on unknown routes are answered 403")
    message = "BUDGET_UNMETERED=pass: a request on a route that is not known costs nothing here"
    paths = dict.fromkeys(_method_and_path(text)[1].replace("{id}", "*") for text in texts)
    rules = "; ".join(f"-{path}" for path in paths if re.fullmatch(r"/[^\s=?#;,]+", path) and path.strip("/*"))
    keeping = f" and BUDGET_ROUTES='{rules}', without those that call a model" if rules else ""
    status = Health.WARN if texts else Health.OK
    return Finding("unmetered", status, message, f"set BUDGET_UNMETERED=refuse{keeping}")


def _method_and_path(text: str) -> tuple[str, str]:
    method, _, path = ("POST", "", text) if text.startswith("/") else text.partition(" ")
    return method, path
