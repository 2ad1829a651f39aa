"""Realtime sessions that go around the gateway: it only sees that somebody gets a secret for one, or an address.

With an ephemeral secret, or over WebRTC, a browser talks to the provider itself, and no usage comes by here. So what
creates such a session is refused, or a job of which nothing is known: BUDGET_REALTIME_DIRECT.
"""

from enum import StrEnum
from typing import Final

from budget_middleware.apis.base import Api
from budget_middleware.apis.jobs import BatchApi
from budget_middleware.apis.openai_live import OpenAILive
from budget_middleware.apis.openai_realtime import OpenAIRealtime
from budget_middleware.apis.openai_translations import OpenAITranslations
from budget_middleware.apis.paths import ends_in
from budget_middleware.apis.reading import mapping_of, name_in
from budget_middleware.apis.seen import Seen


class RealtimeDirect(StrEnum):
    """What happens to a request for a realtime session that goes around the gateway."""

    REFUSE = "refuse"
    HOLD = "hold"


class OpenAIRealtimeDirect(BatchApi):
    """`POST …/realtime/client_secrets`, `…/sessions`, `…/calls`, `…/live/sessions`; in the beta an offer to it."""

    name = "openai-realtime-direct"
    provider = "openai"
    path = ends_in(
        r"(?:/realtime(?:(?:/translations)?/(?:client_secrets|sessions|transcription_sessions|calls)|/calls/[^/]+/accept)"
        r"|/live/(?:client_secrets|sessions/[^/]+/accept))"
    )

    def read_json(self, document: object, seen: Seen) -> None:
        """Take the session's id, of which there may be none: a secret names it, an answer of WebRTC does not."""
        answer = mapping_of(document)
        super().read_json({"id": name_in(mapping_of(answer.get("session")), "id") or name_in(answer, "id")}, seen)


REALTIME_DIRECT: Final = OpenAIRealtimeDirect()

SESSION_APIS: Final = frozenset({OpenAIRealtime.name, OpenAITranslations.name, OpenAILive.name})
"""The names of the APIs of the sessions themselves, on a WebSocket."""


def realtime_direct_at(path: str) -> Api | None:
    """The API of a POST to this path, if it creates a session that goes around the gateway."""
    return REALTIME_DIRECT if REALTIME_DIRECT.matches(path) else None


def as_posted(api: Api | None) -> Api | None:
    """The API of a POST where sessions have this one: an offer of WebRTC."""
    return REALTIME_DIRECT if api is not None and api.name in SESSION_APIS else api
