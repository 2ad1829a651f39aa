"""Findings from the notes of gateways: routes that pass unmetered, models without a price, contradicting usages."""

import re
from collections.abc import Sequence
from typing import Final

from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.routing import pattern_of
from budget_middleware.setting_types import RouteRule, Unmetered
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

_ROUTES: Final = """
    /v1/chat/completions /openai/deployments/MODEL/chat/completions /v1/completions /v1/embeddings /v1/responses
    /openai/responses /v1/messages /v1/messages/batches /v1/batches /openai/batches /v1/rerank /v2/rerank
    /v1/projects/P/locations/L/publishers/anthropic/models/MODEL:rawPredict /v1beta/models/MODEL:generateContent
    /v1beta/models/MODEL:streamGenerateContent /v1beta/models/MODEL:embedContent /v1beta/models/MODEL:predict
    /v1/projects/P/locations/L/publishers/google/models/MODEL:predict /v1beta/models/MODEL:batchGenerateContent
    /v1beta/models/MODEL:predictLongRunning /v1/projects/P/locations/L/endpoints/E:predict /v1beta/decisions
    /v1beta/interactions /v1beta1/projects/P/locations/L/interactions /api/chat /api/generate /api/embed
    /model/MODEL/converse /model/MODEL/converse-stream /model/MODEL/invoke /model/MODEL/invoke-with-response-stream
    /v1/images/generations /v1/images/edits /v1/images/variations /v1/audio/speech /v1/audio/transcriptions
    /v1/audio/translations /v1/containers /v1/realtime /openai/realtime /v1/realtime/translations /v1/live/sessions
    /v1/live/sessions/ID/fork /vertex_ai/live
    /ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent
    /ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent /v1/projects/P/locations/L/batchPredictionJobs
    /model-invocation-job /v1/videos /v1/videos/ID/remix /v1/videos/edits /v1/videos/generations
    /openai/v1/video/generations/jobs /async-invoke /v1/fine_tuning/jobs /openai/fine_tuning/jobs
    /v1/projects/P/locations/L/tuningJobs /v1/evals/E/runs
"""
METERED_ROUTES: Final = tuple(_ROUTES.split())
"""A path of each kind that is metered, which no advice may except."""

# What is noted has come from clients, and the advice is pasted into a shell.
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9._~/*:@%+-]+")


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
    rules = "; ".join(f"-{path}" for path in paths if _may_be_excepted(path))
    keeping = f" and BUDGET_ROUTES='{rules}', without those that call a model" if rules else ""
    status = Health.WARN if texts else Health.OK
    return Finding("unmetered", status, message, f"set BUDGET_UNMETERED=refuse{keeping}")


def _may_be_excepted(path: str) -> bool:
    """Whether a rule of this path says nothing else to a shell, and excepts nothing that is metered."""
    if not _PLAIN_PATH.fullmatch(path) or not path.strip("/*"):
        return False
    pattern = pattern_of(RouteRule(path, None))
    return not any(map(pattern.search, METERED_ROUTES))


def _method_and_path(text: str) -> tuple[str, str]:
    method, _, path = ("POST", "", text) if text.startswith("/") else text.partition(" ")
    return method, path
