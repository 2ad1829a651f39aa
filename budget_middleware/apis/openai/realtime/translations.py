"""OpenAI's realtime translations: a session is billed by the length of the sound that its client sends.

A translation has no turns, and none of its events says what it has cost. So sound is held for by slices of time, and
one that is refused withholds the sound behind it: what is not heard is not translated. Where the source is transcribed
as well, that is held and booked in the same way, at the price of its own model.
Source: the types of OpenAI's SDK, `RealtimeTranslationClientEvent` and `RealtimeTranslationServerEvent`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from budget_middleware.apis.openai.realtime.config import Agreed
from budget_middleware.apis.openai.realtime.events import (
    SESSION_CREATED,
    SESSION_UPDATED,
    SESSION_UPDATES,
    error_event,
    head_of,
    models_in_query,
    sound_bytes_of,
)
from budget_middleware.apis.protocol.base import Api, Ask, Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.session_events import Asked, ServerEvent
from budget_middleware.apis.protocol.session_time import SessionTime, time_to_ask
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.core.money import ceil_div

_SOUND: Final = "input_audio_buffer.append"
_CLOSE: Final = "session.close"
# PCM of 16 bits at 24 kHz: other sound is refused by the API.
_BYTES_PER_MS: Final = 48
# The lanes: of the translation, and of the transcription of what is translated.
_SAID: Final = "said"
_HEARD: Final = "heard"


class OpenAITranslations(JsonApi):
    """`GET …/realtime/translations`, upgraded to a WebSocket."""

    name = "openai-translations"
    provider = "openai"
    path = ends_in("/realtime/translations")

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:  # noqa: ARG002 - all cost alike
        """A slice of time."""
        return time_to_ask(body)

    def read_json(self, document: object, seen: Seen) -> None:
        """Nothing: no event says what a translation has cost."""


class OpenAITranslationsSession:
    """`GET …/realtime/translations`, upgraded to a WebSocket."""

    api: Api = OpenAITranslations()

    def model_ahead(self, scope: Mapping[str, Any]) -> str | None:
        """That of the address."""
        return next(iter(models_in_query(scope)), None)

    def open(self, scope: Mapping[str, Any], *, path: str) -> "TranslationConversation":  # noqa: ARG002 - see the query
        """A session of the models that its address names."""
        return TranslationConversation(models_in_query(scope))


class TranslationConversation:
    """One session: what is agreed in it, and how much sound was sent."""

    may_interrupt = False

    def __init__(self, models: Sequence[str]) -> None:
        self._models = tuple(models)
        self._agreed = Agreed()
        self._times = {_SAID: SessionTime(), _HEARD: SessionTime()}

    def read_client(self, data: bytes) -> Sequence[Asked]:
        """The time that sound asks for, and whatever may be sound to others."""
        head = head_of(data)
        if head.type in SESSION_UPDATES:
            # What a client wishes counts at once where it may cost more.
            self._agreed = self._agreed.dearest_with(self._agreed.changed_by_event(data))
            return ()
        if head.type == _CLOSE:
            return ()
        n_bytes = sound_bytes_of(data) if head.type.endswith(_SOUND) else len(data)
        lanes = (_SAID,) if self._agreed.transcriber is None else (_SAID, _HEARD)
        return [asked for lane in lanes if (asked := self._hear(lane, n_bytes, str(head.event_id or "")))]

    def _hear(self, lane: str, n_bytes: int, event_id: str) -> Asked | None:
        time = self._times[lane]
        time_slice = time.next_slice()
        time.add(ceil_div(n_bytes, _BYTES_PER_MS))
        if time_slice is None:
            return None
        return Asked(lane, self._body_of(lane), is_maybe=True, event_id=event_id, time=time_slice)

    def _body_of(self, lane: str) -> dict[str, object]:
        agreed = self._agreed
        if lane == _HEARD:
            return {"model": agreed.transcriber or agreed.model}
        models = self._models or (agreed.model,)
        return {"model": models[0], "models": list(models[1:])}

    def read_server_event(self, data: bytes) -> ServerEvent | None:
        """None: no event is about a call. What is agreed is what the server says."""
        if head_of(data).type in SESSION_CREATED | SESSION_UPDATED:
            self._agreed = self._agreed.changed_by_event(data)
        return None

    def error_event(self, refusal: Refusal, asked: Asked) -> dict[str, object]:
        """An `error`, which names the event of the client that it is about."""
        return error_event(refusal, event_id=asked.event_id)

    def cancel_event(self, call_id: str) -> dict[str, object] | None:  # noqa: ARG002 - nothing begins by itself
        """None: what is withheld costs nothing."""
        return None
