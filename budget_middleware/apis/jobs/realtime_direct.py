"""Realtime sessions that go around the gateway: it only sees that somebody gets a secret for one, or an address.

With an ephemeral secret, or over WebRTC, a browser talks to the provider itself, and no usage comes by here. So what
creates such a session is refused, or a job that holds what the session may cost: BUDGET_REALTIME_DIRECT.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from budget_middleware.apis.bodies.bounded_answer import is_heavy
from budget_middleware.apis.bodies.reading import UNREADABLE, id_in, list_of, mapping_of, parse_body, token_count
from budget_middleware.apis.bodies.repeated_fields import repeated_in_settings
from budget_middleware.apis.jobs.batches import BatchApi
from budget_middleware.apis.openai.realtime.call import OpenAIRealtime
from budget_middleware.apis.openai.realtime.config import Agreed
from budget_middleware.apis.openai.realtime.live import OpenAILive
from budget_middleware.apis.openai.realtime.translations import OpenAITranslations
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in

# Of a secret, by OpenAI's rule.
_USUAL_LIFE_S: Final = 600
_LONGEST_LIFE_S: Final = 7_200
_ID: Final = "[A-Za-z0-9_-]{1,200}"
_CALL_ID: Final = re.compile(_ID)
# In the address that an answer names.
_LOCATION: Final = re.compile(rf"/(?:calls|sessions)/({_ID})/*(?:[?#]|\Z)")
_ACCEPTED: Final = ends_in(f"/(?:calls|sessions)/({_ID})/accept")
# Whole paths, in one spelling: what proves something is not looked for in others.
_CREATES_CALL: Final = re.compile(rf"((?:/[^/]+)*)/realtime/calls(?:/{_ID}/accept)?")
_HANGS_UP: Final = re.compile(rf"((?:/[^/]+)*)/realtime/calls/({_ID})/hangup")
_REALTIME: Final = re.compile(r"((?:/[^/]+)*)/realtime")


class RealtimeDirect(StrEnum):
    """What happens to a request for a realtime session that goes around the gateway."""

    REFUSE = "refuse"
    HOLD = "hold"


class RealtimeGone(StrEnum):
    """What a hang-up proves that names a call which the provider does not know."""

    UNPROVEN = "unproven"
    ENDED = "ended"


class PlannedSession(NamedTuple):
    """What the request for a session says of its cost. ``lives_s``: so long its secret may open one."""

    model: str = ""
    transcriber: str = ""
    max_output_tokens: int | None = None
    only_writes: bool = False
    only_transcribes: bool = False
    lives_s: int = 0


class CallAddress(NamedTuple):
    """Where a call is: ``path`` is what stands before `/realtime` in the paths of its requests."""

    path: str
    id: str


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
        known = seen.job
        super().read_json({"id": id_in(mapping_of(answer.get("session")), "id") or id_in(answer, "id")}, seen)
        # What the request or the header names is the call itself.
        seen.job = known or seen.job

    def read_location(self, location: str, seen: Seen) -> None:
        """Take the id of a call, which an answer of WebRTC has in its address alone."""
        if found := _LOCATION.search(location):
            super().read_json({"id": found[1]}, seen)

    def job_named_in(self, path: str) -> tuple[str, str] | None:
        """The call that a request accepts, by its path: such an answer is empty."""
        found = _ACCEPTED.search(path)
        return (self.name, found[1]) if found is not None else None

    def path_of_calls(self, path: str) -> str | None:
        """What stands before `/realtime` where a request creates a call; None where it creates anything else, such as a
        secret, which may open several.
        """
        found = _CREATES_CALL.fullmatch(path)
        return found[1] if found is not None else None

    def session_of(self, body: object, *, model: str) -> PlannedSession:
        """The session that a request asks for; ``model`` is the one that its address names."""
        fields = mapping_of(body)
        given = fields.get("session", fields)
        if isinstance(given, str):
            # In a form it is a text.
            text = given.encode()
            given = UNREADABLE if is_heavy(text) or repeated_in_settings(text) else parse_body(text)
            # Whoever reads it otherwise may find any model in it, whatever the address names.
            model = "" if given is UNREADABLE else model
        session = mapping_of(given)
        agreed = Agreed(model=model).changed_by(session)
        is_heard_only = session.get("type") == "transcription" or (
            agreed.transcriber is not None and not (agreed.model or "type" in session)
        )
        return PlannedSession(
            agreed.model,
            agreed.transcriber or "",
            max_output_tokens=agreed.most_output,
            only_writes=list_of(agreed.modalities) == ["text"],
            only_transcribes=is_heard_only,
            lives_s=_life_of(fields),
        )


REALTIME_DIRECT: Final = OpenAIRealtimeDirect()

SESSION_APIS: Final = frozenset({OpenAIRealtime.name, OpenAITranslations.name, OpenAILive.name})
"""The names of the APIs of the sessions themselves, on a WebSocket."""


def _life_of(fields: Mapping[str, object]) -> int:
    seconds = token_count(mapping_of(fields.get("expires_after")).get("seconds"))
    return _USUAL_LIFE_S if seconds is None else min(seconds, _LONGEST_LIFE_S)


def realtime_direct_at(path: str) -> Api | None:
    """The API of a POST to this path, if it creates a session that goes around the gateway."""
    return REALTIME_DIRECT if REALTIME_DIRECT.matches(path) else None


def as_posted(api: Api | None) -> Api | None:
    """The API of a POST where sessions have this one: an offer of WebRTC."""
    return REALTIME_DIRECT if api is not None and api.name in SESSION_APIS else api


def hung_up_at(scope: Mapping[str, Any]) -> CallAddress | None:
    """The call that a POST hangs up, if it does so."""
    found = _HANGS_UP.fullmatch(scope["path"])
    return CallAddress(found[1], found[2]) if found is not None and _is_spelled_out(scope) else None


def says_gone(document: object) -> bool:
    """Whether the error of a hang-up is the provider's own: a gateway without such a route answers 404 too."""
    return mapping_of(mapping_of(document).get("error")).get("code") == "call_id_not_found"


def watched_at(scope: Mapping[str, Any]) -> CallAddress | None:
    """The call that a WebSocket is a sideband of: its address names that, and no model for a session of its own."""
    found, query = _REALTIME.fullmatch(scope["path"]), scope.get("query_string", b"")
    if found is None or b"call_id" not in query or b";" in query or not _is_spelled_out(scope):
        return None
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    ids = [value for name, value in fields if name == "call_id"]
    if len(ids) != 1 or not _CALL_ID.fullmatch(ids[0]) or {"model", "deployment"} & {name for name, _ in fields}:
        return None
    return CallAddress(found[1], ids[0])


def _is_spelled_out(scope: Mapping[str, Any]) -> bool:
    """Whether the path was sent as it is read: an app may pass on what was sent."""
    raw_path: bytes = scope.get("raw_path") or b""
    return not raw_path or raw_path.partition(b"?")[0].decode("latin-1") == scope["path"]
