"""Gemini Live on a WebSocket: each turn of the model is a call.

A client sends `setup`, then what it says and shows; the model answers by itself whatever it takes for worth an answer.
So a turn is held ahead as soon as the client sends anything that may be answered, by what the session knows by then:
the conversation up to there, as the last usage counted it, and what was said since. Only `clientContent` with
`turnComplete` asks for a turn for certain, and so does the result of a tool that the turn under way waits for.

    BEGINS   the first output of a turn
    ENDS     `turnComplete`; or a usage behind a `toolCall`, for what the model says to its result is another generation
    neither  `setupComplete`, `goAway`, transcriptions of the client, handles to resume a session

A conversation goes on in another session by a handle (`sessionResumption`): what it has used last is known by that to
each session of a worker, and to others by a fact, so that it is held with all that was said, and booked for nothing
that was booked before.

The API has no error for a single turn: a refusal closes the session (1008), with the reason.
Source: the types of Google's SDK, `LiveClientMessage` and `LiveServerMessage`; both ways to write a field are read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from budget_middleware.apis.bodies.bounded_answer import is_heavy
from budget_middleware.apis.bodies.reading import UNREADABLE, list_of, mapping_of, parse_body, text_in
from budget_middleware.apis.bodies.repeated_fields import texts_below, texts_within
from budget_middleware.apis.counting.input import text_bytes_of
from budget_middleware.apis.google.live.call import FRAME_TOKENS, HEARD, GeminiLive, field_of, heard_tokens, usage_of
from budget_middleware.apis.google.live.resumption import Handles, ResumableConversations, unpack_usage
from budget_middleware.apis.protocol.base import Api, Refusal
from budget_middleware.apis.protocol.session_events import Asked, Conversation, ServerEvent, Step
from budget_middleware.apis.protocol.usage_rules import sum_of
from budget_middleware.core.costs.estimate import tokens_from_text_bytes
from budget_middleware.core.costs.usage import Usage

_SETUP: Final = ("systemInstruction", "tools", "generationConfig", "labels", "serviceTier")
# A gateway may heed another setup than Google does: the dearest model of these is held for.
_MOST_MODELS: Final = 8
# The names of its mode, without capitals, and how the only one is called that costs more.
_TIERS: Final = ("servicetier", "service_tier")
_PREMIUM: Final = "priority"


class GeminiLiveSession:
    """`GET …/ws/…BidiGenerateContent`, upgraded to a WebSocket."""

    api: Api = GeminiLive()

    def __init__(self) -> None:
        self._resumable = ResumableConversations()

    def model_ahead(self, scope: Mapping[str, Any]) -> str:  # noqa: ARG002 - it is not in the address
        """Every session is paid for, and `setup` names its model."""
        return ""

    def open(self, scope: Mapping[str, Any], *, path: str) -> Conversation:  # noqa: ARG002 - `setup` says all
        """A conversation of which nothing is known before its setup."""
        return GeminiLiveConversation(self._resumable)


class GeminiLiveConversation:
    """What was said in one session, as far as it counts."""

    may_interrupt = False

    def __init__(self, resumable: ResumableConversations) -> None:
        self._handles = Handles(resumable)
        # What the conversation has used last, where it was resumed and has said nothing since.
        self._used_before: Usage | None = None
        self._last_used: Usage | None = None
        self._setup: dict[str, object] = {}
        self._models: list[str] = []
        self._tier = self._why_unread = ""
        # The conversation as the last usage counted it, and what the client has sent since.
        self._context = Usage()
        self._sent = Usage()
        self._n_turns = 0
        self._is_turn_open = False
        # The turn under way has called a tool, and has not reported its usage.
        self._awaits_tool = False
        self._is_tool_answered = False

    def read_client(self, data: bytes) -> Sequence[Asked]:
        """The turn that a message may lead to."""
        document = UNREADABLE if is_heavy(data) else parse_body(data)
        if document is UNREADABLE or not isinstance(document, dict):
            # Others may be able to read it.
            self._take_unread(data)
            self._hear(Usage(input_tokens=len(data)))
            return (self._asked(is_maybe=True),)
        setup = field_of(document, "setup")
        if setup is not None:
            self._take_names(texts_within(data, "setup", "model"), texts_within(data, "setup", *_TIERS))
            self._take_setup(mapping_of(setup))
            self._resume(mapping_of(setup))
        content = mapping_of(field_of(document, "clientContent"))
        tool_response, spoken = field_of(document, "toolResponse"), mapping_of(field_of(document, "realtimeInput"))
        self._hear_text(field_of(content, "turns"), tool_response, spoken.get("text"))
        self._hear(Usage(input_tokens=(tokens := _sound_in(spoken)), input_audio_tokens=tokens))
        self._hear(Usage(input_tokens=(tokens := _frames_in(spoken)), input_image_tokens=tokens))
        if tool_response and self._awaits_tool:
            self._is_tool_answered = True
            return (self._asked(is_maybe=False),)
        if field_of(content, "turnComplete"):
            return (self._asked(is_maybe=False),)
        is_known = bool(setup is not None or content) or set(spoken) == {"activityStart"}
        return () if is_known and not tool_response else (self._asked(is_maybe=True),)

    def read_server_event(self, data: bytes) -> ServerEvent | None:
        """What a message says of the turn."""
        message = mapping_of(parse_body(data))
        content = mapping_of(field_of(message, "serverContent"))
        calls_tool = bool(field_of(message, "toolCall"))
        has_output = calls_tool or bool(field_of(content, "modelTurn") or field_of(content, "outputTranscription"))
        usage = usage_of(message)
        if usage is not None and usage == self._used_before and not has_output:
            # Told once more to who resumes: a prompt grows with each generation.
            return None
        if usage is not None:
            self._context, self._sent, self._last_used = _said(usage), Usage(), usage
        if has_output or usage is not None:
            self._used_before = None
        if update := mapping_of(field_of(message, "sessionResumptionUpdate")):
            self._handles.keep(text_in(update, "newHandle") or text_in(update, "new_handle"), self._last_used)
        ends = bool(field_of(content, "turnComplete")) or (usage is not None and (calls_tool or self._awaits_tool))
        if has_output and self._is_tool_answered:
            # The answer to a tool's result, while the generation that has called it has reported no usage.
            self._end_turn()
        if not self._is_turn_open:
            if not has_output and usage is None:
                return None
            # A usage behind the end of its turn is booked as one more turn.
            ends |= not has_output
            self._is_turn_open = True
            self._n_turns += 1
            if not ends:
                self._awaits_tool = calls_tool
                return self._event(Step.BEGINS)
        if ends:
            self._end_turn()
            return self._event(Step.ENDS)
        self._awaits_tool |= calls_tool
        return self._event(Step.GOES_ON)

    def error_event(self, refusal: Refusal, asked: Asked) -> dict[str, object] | None:  # noqa: ARG002 - there is none
        """None: the API's own server closes the session too."""
        return None

    def cancel_event(self, call_id: str) -> dict[str, object] | None:  # noqa: ARG002 - there is none
        """None: what the model says can only be talked over."""
        return None

    def _resume(self, setup: Mapping[str, object]) -> None:
        handle = text_in(mapping_of(field_of(setup, "sessionResumption")), "handle")
        used = self._handles.find(handle)
        if used is not None:
            self._go_on_from(used)

    def _go_on_from(self, used: Usage) -> None:
        self._used_before = self._last_used = used
        self._context = _said(used)

    def share(self, *, publish: Callable[[str, str], None], look_up: Callable[[str], None]) -> None:
        """See `SharedConversation`."""
        self._handles.publish, self._handles.look_up = publish, look_up

    def recall(self, text: str) -> None:
        """What another worker knows of the handle that was asked for; too late if a turn has been paid."""
        used = unpack_usage(text)
        if used is not None and self._last_used is None:
            self._go_on_from(used)

    def _end_turn(self) -> None:
        self._is_turn_open = self._awaits_tool = self._is_tool_answered = False

    def _event(self, step: Step) -> ServerEvent:
        body = {} if step is Step.GOES_ON else self._document()
        return ServerEvent(step, body=body, call_id=f"turn {self._n_turns}")

    def _asked(self, *, is_maybe: bool) -> Asked:
        return Asked(body=self._document(), is_maybe=is_maybe, why_unread=self._why_unread)

    def _document(self) -> dict[str, object]:
        """The turn to come, as a request on HTTP would ask for it."""
        # `projects/…/models/NAME`, `models/NAME`.
        names = [] if self._why_unread else [name.rpartition("/")[2] for name in self._models]
        named: dict[str, object] = {"model": names[0], "models": names[1:]} if names else {}
        tier = {"serviceTier": self._tier} if self._tier else {}
        return {**self._setup, **named, **tier, HEARD: sum_of(self._context, self._sent)}

    def _take_setup(self, setup: Mapping[str, object]) -> None:
        self._setup = {name: value for name in _SETUP if (value := field_of(setup, name)) is not None}

    def _take_unread(self, data: bytes) -> None:
        """Take over what a message names that has too many values to be parsed, or cannot be, if it has a setup."""
        found = texts_below(data, "setup", "model", *_TIERS)
        if found is None:
            self._why_unread = "A message has too many values, and names in it are escaped: it may be of any model."
        else:
            self._take_names(found["model"], [tier for name in _TIERS for tier in found[name]])

    def _take_names(self, models: Sequence[str], tiers: Sequence[str]) -> None:
        """Take over the models that a setup may mean, the last one first, and the dearest mode that it may."""
        names = [name for name in dict.fromkeys([*reversed(models), *self._models]) if name]
        if len(names) > _MOST_MODELS:
            self._why_unread = f"The session names more than {_MOST_MODELS} models."
        self._models = names[:_MOST_MODELS]
        self._tier = next((tier for tier in tiers if _PREMIUM in tier.casefold()), self._tier)

    def _hear_text(self, *values: object) -> None:
        n_bytes = sum(text_bytes_of(value) for value in values if value)
        self._hear(Usage(input_tokens=tokens_from_text_bytes(n_bytes)))

    def _hear(self, usage: Usage) -> None:
        if usage.input_tokens:
            self._sent = sum_of(self._sent, usage)


def _blobs_in(spoken: Mapping[str, object]) -> list[object]:
    return [field_of(spoken, "audio"), field_of(spoken, "video"), *list_of(field_of(spoken, "mediaChunks"))]


def _kind(blob: object) -> str:
    return str(field_of(mapping_of(blob), "mimeType"))


def _sound_in(spoken: Mapping[str, object]) -> int:
    return sum(heard_tokens(blob) for blob in _blobs_in(spoken) if blob and _kind(blob).startswith("audio/"))


def _frames_in(spoken: Mapping[str, object]) -> int:
    return FRAME_TOKENS * sum(1 for blob in _blobs_in(spoken) if blob and not _kind(blob).startswith("audio/"))


def _said(usage: Usage) -> Usage:
    """The conversation after a generation of this usage."""
    sound = usage.input_audio_tokens + usage.output_audio_tokens
    return Usage(
        input_tokens=usage.input_tokens + usage.output_tokens - usage.reasoning_tokens,
        input_audio_tokens=min(sound, usage.input_tokens + usage.output_tokens - usage.reasoning_tokens),
        input_image_tokens=usage.input_image_tokens,
        input_video_tokens=usage.input_video_tokens,
    )
