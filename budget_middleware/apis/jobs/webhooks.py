"""Webhooks of providers: signed messages to the operator's app that a job is over.

Theory of operation. Whoever can make us believe that a job has failed gets money back, so an event counts only if it is
signed with the secret of its path (Standard Webhooks, as OpenAI has them) and was signed in the last five minutes.
Everything else passes to the app as it came, and changes nothing here.

    webhook-id.webhook-timestamp.body ──> HMAC-SHA256 by the secret ──> one of the `v1,…` in webhook-signature

An event names no usage. So it books only what is known without one: what a provider does not charge for, and what was
planned exactly. Of anything else it says that somebody has to look.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from budget_middleware.apis.bodies.reading import mapping_of, name_in, parse_body
from budget_middleware.apis.jobs.batches import OPENAI_BATCH
from budget_middleware.apis.jobs.created import Stage
from budget_middleware.apis.jobs.training import OpenAIEvals, OpenAIFineTuning
from budget_middleware.apis.jobs.videos import OpenAIVideos
from budget_middleware.apis.openai.responses import OpenAIResponses
from budget_middleware.headers import HeaderTable

WEBHOOKS_ACCEPTED: Final = "/PATH=whsec_SECRET by ';' or in lines, or @FILE with these"
TOLERANCE_S: Final = 300

_ENTRY: Final = re.compile(r"(?P<path>/[^\s=?#]+)=whsec_(?P<secret>[A-Za-z0-9+/]+={0,2})")
_LEAST_SECRET_BYTES: Final = 16
_MOST_SIGNATURES: Final = 16
_SIGNED_BY: Final = (b"webhook-id", b"webhook-timestamp", b"webhook-signature")


class WebhookPath(NamedTuple):
    """A path at which a provider's webhooks arrive, and the key that signs them."""

    path: str
    key: bytes

    def __repr__(self) -> str:
        return f"WebhookPath(path={self.path!r}, key=***)"


def parse_webhooks(text: str) -> tuple[WebhookPath, ...]:
    """Read `/PATH=whsec_SECRET; …`. ValueError, in one line without any secret, for anything else."""
    entries = [entry for line in re.split(r"[;\n]", text) if (entry := line.strip()) and not entry.startswith("#")]
    return tuple(_webhook(entry, number) for number, entry in enumerate(entries, 1))


def _webhook(entry: str, number: int) -> WebhookPath:
    found = _ENTRY.fullmatch(entry)
    try:
        key = base64.b64decode(found["secret"], validate=True) if found else b""
    except binascii.Error:
        key = b""
    if found is None or len(key) < _LEAST_SECRET_BYTES:
        raise ValueError(f"entry {number}, which may hold a secret: accepted: {WEBHOOKS_ACCEPTED}")
    return WebhookPath(found["path"], key)


def is_signed(headers: HeaderTable, body: bytes, *, keys: list[bytes], now_s: float) -> bool:
    """Whether one of the keys has signed these very bytes, lately."""
    if any(len(headers.all(name)) != 1 for name in _SIGNED_BY):
        return False
    id_, timestamp, signatures = (headers.all(name)[0] for name in _SIGNED_BY)
    if re.fullmatch(rb"[0-9]{1,12}", timestamp) is None or abs(now_s - int(timestamp)) > TOLERANCE_S:
        return False
    signed = b".".join((id_, timestamp, body))
    is_found = False
    # Each is compared, and each in constant time: how long it takes says nothing of a key.
    for key in keys:
        due = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        for signature in signatures.split(b" ")[:_MOST_SIGNATURES]:
            is_found |= hmac.compare_digest(due, signature)
    return is_found


class JobEvent(NamedTuple):
    """What an event says: of which job, and how it stands with it. Without a ``stage`` only an answer shows that."""

    api: str
    job: str
    stage: Stage | None


# OpenAI does not charge for a batch whose file it could not take (its `failed`), nor for training that has failed, nor
# for a video that was not made: see `training` and `videos`. A batch that has expired or was cancelled, a response and
# an evaluation cost what they had done until then, which no event tells.
_EVENTS: Final[Mapping[str, tuple[str, Stage | None]]] = {
    "batch.failed": (OPENAI_BATCH, Stage.FREE),
    **{f"batch.{word}": (OPENAI_BATCH, None) for word in ("completed", "expired", "cancelled")},
    "fine_tuning.job.failed": (OpenAIFineTuning.name, Stage.FREE),
    **{f"fine_tuning.job.{word}": (OpenAIFineTuning.name, None) for word in ("succeeded", "cancelled")},
    "video.failed": (OpenAIVideos.name, Stage.FREE),
    "video.completed": (OpenAIVideos.name, Stage.DONE),
    **{f"eval.run.{word}": (OpenAIEvals.name, None) for word in ("succeeded", "failed", "canceled")},
    **{f"response.{word}": (OpenAIResponses.name, None) for word in ("completed", "failed", "incomplete", "cancelled")},
}


def read_event(body: bytes) -> JobEvent | None:
    """What an event says of a job; None for one about anything else."""
    event = mapping_of(parse_body(body))
    api, stage = _EVENTS.get(name_in(event, "type") or "", ("", None))
    job = name_in(mapping_of(event.get("data")), "id")
    return JobEvent(api, job, stage) if api and job else None
