"""What is agreed in a realtime session: by the server's word, and by what its client has asked for and may get.

A `session.update` of the client counts at once where it makes a session dearer, and is forgotten when the server has
answered it: from then on the server's own `session.updated` says what holds. So nobody speaks to a model without a
hold because the server has not confirmed yet that it listens, and nobody pays for a model that the server has refused.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from budget_middleware.apis.bodies.bounded_answer import is_heavy
from budget_middleware.apis.bodies.bounded_json import UNWEIGHED_BYTES
from budget_middleware.apis.bodies.reading import (
    UNREADABLE,
    list_of,
    mapping_of,
    name_in,
    parse_body,
    text_in,
    token_count,
)
from budget_middleware.apis.bodies.repeated_fields import repeated_in_settings
from budget_middleware.apis.openai.realtime.events import MAXIMA, UNBOUNDED

_MISSING: Final = object()
# So many wishes of a client are kept until the server answers them.
_MOST_WISHES: Final = 64
# Bytes of sound for a second: of PCM at 24 kHz, and of the codecs of telephones.
_PCM_BYTES: Final = 48_000
_G711_BYTES: Final = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """The settings of a session that decide what its responses may cost.

    ``answers``: the server answers speech by itself. ``transcriber``: the model that transcribes it; "" for one that
    is not named, None for none. ``maximum`` is that of the output as it was written, None for as much as there is.
    ``bytes_per_s`` are those of the sound that is heard, ``spoken_bytes_per_s`` of that which is said.
    """

    model: str = ""
    # Speech is answered unless a session says otherwise.
    answers: bool = True
    transcriber: str | None = None
    maximum: object = None
    modalities: object = None
    instructions: object = None
    tools: object = None
    bytes_per_s: int = _PCM_BYTES
    spoken_bytes_per_s: int = _PCM_BYTES

    @property
    def most_output(self) -> int | None:
        """The maximum, if it is one."""
        return token_count(self.maximum) or None

    def maximum_of(self, response: Mapping[str, object]) -> dict[str, object]:
        """The maximum of a response by each of its names: its own, else that of the session."""
        own = {name: response[name] for name in MAXIMA if response.get(name) is not None}
        maxima = own or {MAXIMA[0]: self.most_output}
        return {name: None if UNBOUNDED in maxima.values() else maxima.get(name) for name in MAXIMA}

    def changed_by_event(self, data: bytes) -> "Agreed":
        """The settings after an event with a session object; one that cannot be read may say anything."""
        document = settings_in(data)
        if document is UNREADABLE:
            named = self.transcriber or ""
            return replace(
                self, answers=True, transcriber=named, maximum=None, modalities=None, bytes_per_s=_G711_BYTES
            )
        return self.changed_by(mapping_of(mapping_of(document).get("session")))

    def changed_by(self, session: Mapping[str, object]) -> "Agreed":
        """The settings after a session object, in today's shape or in that of the beta; what it leaves out stays."""
        given = mapping_of(mapping_of(session.get("audio")).get("input"))
        transcription = _either(given, "transcription", session, "input_audio_transcription")
        detection = _either(given, "turn_detection", session, "turn_detection")
        maximum = _either(session, MAXIMA[0], session, MAXIMA[1])
        modalities = _either(session, "output_modalities", session, "modalities")
        form = _either(given, "format", session, "input_audio_format")
        spoken = _spoken_form_of(session)
        return Agreed(
            model=name_in(session, "model") or self.model,
            answers=self._answers(session, detection),
            transcriber=self.transcriber if transcription is _MISSING else _transcriber_of(transcription),
            maximum=self.maximum if maximum is _MISSING else maximum,
            modalities=self.modalities if modalities is _MISSING else modalities,
            instructions=session.get("instructions", self.instructions),
            tools=session.get("tools", self.tools),
            bytes_per_s=self.bytes_per_s if form is _MISSING else _bytes_per_s(form),
            spoken_bytes_per_s=self.spoken_bytes_per_s if spoken is _MISSING else _bytes_per_s(spoken),
        )

    def spoken_bytes_per_s_of(self, response: Mapping[str, object]) -> int:
        """The bytes that a second of a response's sound has: by its own form, else by that of the session."""
        spoken = _spoken_form_of(response)
        return self.spoken_bytes_per_s if spoken is _MISSING else _bytes_per_s(spoken)

    def _answers(self, session: Mapping[str, object], detection: object) -> bool:
        if session.get("type") == "transcription":
            return False
        if detection is _MISSING:
            # What had no answers as a transcription may have some as a conversation.
            return self.answers or session.get("type") == "realtime"
        return detection is not None and mapping_of(detection).get("create_response") is not False

    def dearest_with(self, wished: "Agreed") -> "Agreed":
        """What may hold while the server has not answered a wish."""
        both = self.most_output, wished.most_output
        return replace(
            wished,
            answers=self.answers or wished.answers,
            transcriber=wished.transcriber if self.transcriber is None else self.transcriber,
            maximum=None if None in both else max(filter(None, both)),
            modalities=self.modalities if list_of(wished.modalities) == ["text"] else wished.modalities,
            bytes_per_s=min(self.bytes_per_s, wished.bytes_per_s),
        )


class Agreement:
    """What is agreed, and what the client has wished and the server has not answered."""

    def __init__(self, agreed: Agreed) -> None:
        self.agreed = agreed
        # By the word of the address alone.
        self._only_hears = not agreed.answers
        # In order: the id of the event, and the dearest that may hold with it.
        self._wishes: deque[tuple[str, Agreed]] = deque(maxlen=_MOST_WISHES)

    @property
    def is_open(self) -> bool:
        """Whether a wish has not been answered."""
        return bool(self._wishes)

    @property
    def known(self) -> Agreed:
        """The dearest that may hold."""
        return self._wishes[-1][1] if self._wishes else self.agreed

    def wish(self, data: bytes, event_id: str) -> None:
        """The client wishes something."""
        known = self.known
        if len(data) > UNWEIGHED_BYTES:  # Of long texts one is kept at most, until the server answers.
            self._wishes.clear()
        self._wishes.append((event_id, known.dearest_with(known.changed_by_event(data))))

    def confirm(self, data: bytes, *, is_answer: bool) -> bool:
        """The server says what holds; whether that gives the session another model, as an answer to a wish."""
        before, self.agreed = self.agreed, self.agreed.changed_by_event(data)
        if not (is_answer and self._wishes):
            return False
        self._wishes.popleft()
        return self.agreed.model not in ("", before.model)

    def take_answer(self) -> None:
        """The server answers, whatever the address has said."""
        if self._only_hears:
            self._only_hears = False
            self.agreed = replace(self.agreed, answers=True)

    def reject(self, event_id: str) -> None:
        """The server answers a wish with an error."""
        self._wishes = deque((wish for wish in self._wishes if wish[0] != event_id), maxlen=_MOST_WISHES)


def settings_in(data: bytes) -> object:
    """An event that has settings; UNREADABLE for one that others may read otherwise, or that has too many values."""
    return UNREADABLE if is_heavy(data) or repeated_in_settings(data) else parse_body(data)


def _either(first: Mapping[str, object], name: str, second: Mapping[str, object], other_name: str) -> object:
    return first[name] if name in first else second.get(other_name, _MISSING)


def _spoken_form_of(session: Mapping[str, object]) -> object:
    return _either(mapping_of(mapping_of(session.get("audio")).get("output")), "format", session, "output_audio_format")


def _transcriber_of(transcription: object) -> str | None:
    return None if transcription is None else text_in(mapping_of(transcription), "model") or ""


def _bytes_per_s(form: object) -> int:
    kind = text_in(mapping_of(form), "type") or form
    return _PCM_BYTES if kind in ("audio/pcm", "pcm16") else _G711_BYTES
