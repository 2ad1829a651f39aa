"""OpenAI realtime on a WebSocket, as OpenAI and Azure serve it, in today's shape and in that of the beta.

Theory of operation. A response is a call. It is asked for by `response.create`, or by nobody: with turn detection the
server answers what it has heard, as it is. So any sound that a client sends may be answered, and the session is told
so (`Asked.is_maybe`): it holds one response ahead, and another as soon as that has begun.

    response.create ────────────> response.created ──> … ──> response.done      answered under the response's own id,
    response.create, "none" ────> response.created ──> … ──> response.done      so that several go on side by side
    sound ── is held ahead ─────> response.created ──> … ──> response.done
    sound ── is held ahead ─────> …input_audio_transcription.completed          beside it, by a model of its own

What a response may cost nobody says in one place: the model stands in the address or in what the server says of the
session, the maximum in the session or in the response, and its input is the conversation so far, of which each
response reports the size. `Agreed` and `_context` keep what is known of these.

Source: the types of OpenAI's SDK, `RealtimeClientEvent` and `RealtimeServerEvent`, and those of its beta.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from budget_middleware.apis.bodies.reading import UNREADABLE, PartialBody, id_in, mapping_of, parse_body, token_count
from budget_middleware.apis.openai.realtime.begun import BegunResponses
from budget_middleware.apis.openai.realtime.call import CONTEXT, OUTLIVES, OWN_FIELDS, SPOKEN_MS, OpenAIRealtime
from budget_middleware.apis.openai.realtime.config import Agreed, Agreement, settings_in
from budget_middleware.apis.openai.realtime.events import (
    CREATE,
    ITEM_CREATE,
    MAXIMA,
    RESPONSE_CREATED,
    RESPONSE_DONE,
    SESSION_CREATED,
    SESSION_UPDATED,
    SESSION_UPDATES,
    SOUND,
    SPOKEN,
    TRANSCRIBED,
    UNKNOWN,
    EventHead,
    begins_anew,
    error_event,
    head_of,
    is_sideband,
    models_in_query,
    only_transcribes,
)
from budget_middleware.apis.openai.realtime.talk import USUAL_SPEECH_MS, Talk
from budget_middleware.apis.protocol.base import Api, Refusal
from budget_middleware.apis.protocol.ended_calls import EndedCalls
from budget_middleware.apis.protocol.session_events import Asked, ServerEvent, Step
from budget_middleware.apis.protocol.session_time import SessionTime, body_of_time
from budget_middleware.core.costs.usage import Usage

# The lanes: of the one conversation, of responses beside it, of transcriptions, and of the time that some bill.
_TALK: Final = "talk"
_BESIDE: Final = "beside"
_HEARD: Final = "heard"
_TIME: Final = "time"
_TAKEN: Final = OWN_FIELDS | {"output_modalities"}
# What transcribes by the second, where nobody has named it.
_USUAL_TRANSCRIBER: Final = "whisper-1"


class OpenAIRealtimeSession:
    """`GET …/realtime`, upgraded to a WebSocket."""

    api: Api = OpenAIRealtime()

    def model_ahead(self, scope: Mapping[str, Any]) -> str | None:
        """That of the address."""
        return next(iter(models_in_query(scope)), None)

    def open(self, scope: Mapping[str, Any], *, path: str) -> "RealtimeConversation":  # noqa: ARG002 - the query names the model
        """A session of the models that its address names, by OpenAI's name for that or by Azure's."""
        return RealtimeConversation(scope)


class RealtimeConversation:
    """One session: what is agreed in it, and how much has been said."""

    may_interrupt = True

    def __init__(self, scope: Mapping[str, Any]) -> None:
        # Those that the client has asked for.
        self._models = tuple(models_in_query(scope))
        self._agreement = Agreement(Agreed(answers=not only_transcribes(scope)))
        self._is_sideband = is_sideband(scope)
        self._time = SessionTime(by_clock=True, if_priced=True)
        self._talk, self._begun, self._heard = Talk(), BegunResponses(), EndedCalls()
        # What sound asks for, while nothing changes that.
        self._ahead: tuple[Asked, ...] | None = None

    # From the client.

    def read_client(self, data: bytes) -> Sequence[Asked]:
        """What an event of the client asks for, or may be answered with; before that the time of the session."""
        time = self._time.next_slice() if self._agreement.known.answers else None
        asked = self._read_client(data)
        # The server's word for the model first: the address may have another name for it.
        models = (self._agreement.agreed.model, *self._models, self._agreement.known.model)
        return (Asked(_TIME, body_of_time(*models), is_maybe=True, time=time), *asked) if time is not None else asked

    def _read_client(self, data: bytes) -> Sequence[Asked]:
        head = head_of(data)
        if head.type == SOUND:
            self._talk.add_sound(len(data) * 3 // 4)  # In base64.
            return self._maybe()
        if head.type == CREATE:
            return (self._asked(data, str(head.event_id or "")),)
        if head.type in SESSION_UPDATES:
            self._agreement.wish(data, str(head.event_id or ""))
            self._ahead = None
        elif head.type == ITEM_CREATE:
            self._talk.add_item(data)
        elif head is UNKNOWN:
            # It may be sound to an app that takes frames of its own, and an event to one that reads JSON otherwise.
            return (Asked(_TALK, self._body({}), is_maybe=True),)
        return ()

    def _maybe(self) -> Sequence[Asked]:
        if self._ahead is None:
            known = self._agreement.known
            talk = (Asked(_TALK, self._body({}), is_maybe=True),) if known.answers else ()
            heard = (Asked(_HEARD, self._transcription(known), is_maybe=True),) if known.transcriber is not None else ()
            self._ahead = talk + heard
        return self._ahead

    def _asked(self, data: bytes, event_id: str) -> Asked:
        document = settings_in(data)
        response = mapping_of(mapping_of(document).get("response"))
        lane = _BESIDE if response.get("conversation") == "none" else _TALK
        body = self._body(response) if document is not UNREADABLE else self._unread_body()
        return Asked(lane, body, n_bytes=len(data), event_id=event_id)

    # What a call is estimated by.

    def _body(self, response: Mapping[str, object]) -> dict[str, object]:
        """A response, with what it takes from its session."""
        known = self._agreement.known
        modalities = response.get("output_modalities") or response.get("modalities") or known.modalities
        talk = self._talk.expected(bytes_per_s=known.bytes_per_s, is_heard=known.answers)
        return {
            "instructions": known.instructions,
            "tools": known.tools,
            **{name: value for name, value in response.items() if name not in _TAKEN},
            **known.maximum_of(response),
            "modalities": modalities,
            OUTLIVES: self._is_sideband,
            "model": self._models[0] if self._models else known.model,
            # What the server may take instead.
            "models": [*self._models[1:], known.model if self._agreement.is_open else None, response.get("model")],
            CONTEXT: Usage() if begins_anew(response) else talk,
        }

    def _unread_body(self) -> PartialBody:
        """A response of which nobody knows how long it may be, nor whether it is spoken."""
        body = PartialBody(n_texts=0, n_lists=0)
        body.update({**self._body({}), **dict.fromkeys((*MAXIMA, "modalities"))})
        return body

    def _transcription(self, known: Agreed) -> dict[str, object]:
        return {"model": known.transcriber or known.model, SPOKEN_MS: USUAL_SPEECH_MS}

    # From the server.

    def read_server_event(self, data: bytes) -> ServerEvent | None:
        """What an event says of a response, or of a transcription."""
        head = head_of(data)
        if head.type in (RESPONSE_CREATED, RESPONSE_DONE):
            return self._response_event(head, mapping_of(mapping_of(parse_body(data)).get("response")))
        if head.type.startswith("response."):
            return self._piece(head, data) if head.response_id is not None else None
        if head.type == TRANSCRIBED:
            return self._heard.told_once(self._transcribed(mapping_of(parse_body(data))))
        if head.type in SESSION_CREATED or head.type in SESSION_UPDATED:
            self._agree(head, data)
        elif head.type == "error":
            return self._error(mapping_of(mapping_of(parse_body(data)).get("error")))
        return None

    def _transcribed(self, event: Mapping[str, object]) -> ServerEvent:
        item, known = id_in(event, "item_id") or "", self._agreement.known
        usual = _USUAL_TRANSCRIBER if "seconds" in mapping_of(event.get("usage")) else self._agreement.agreed.model
        return ServerEvent(
            Step.ENDS,
            f"{_HEARD} {item}",
            body=self._transcription(known),
            # An item may have sound in several of its parts.
            call_id=f"{item}/{part}" if item and (part := token_count(event.get("content_index"))) else item,
            asked_in=(_HEARD,),
            model=known.transcriber or usual,
        )

    def _agree(self, head: EventHead, data: bytes) -> None:
        before = self._agreement.agreed.model
        if self._agreement.confirm(data, is_answer=head.type in SESSION_UPDATED):
            self._models = (self._agreement.agreed.model,)
        if self._agreement.agreed.model != before and self._time.is_over:
            # It may be billed by time, as the one before was not.
            self._time = SessionTime(by_clock=True, if_priced=True)
        self._ahead = None

    def _piece(self, head: EventHead, data: bytes) -> ServerEvent | None:
        """A piece of a response; one of which the beginning was lost begins with it."""
        id_ = str(head.response_id)
        if self._begun.has_ended(id_):
            return None
        event = ServerEvent(Step.GOES_ON, id_) if id_ in self._begun else self._begin(id_, {})
        spoken = self._begun.spoken_tokens(id_, data) if head.type.endswith(SPOKEN) else 0
        return event._replace(spoken_tokens=spoken)

    def _begin(self, id_: str, response: Mapping[str, object]) -> ServerEvent:
        self._agreement.take_answer()
        self._begun.begin(id_, bytes_per_s=self._agreement.agreed.spoken_bytes_per_s_of(response))
        model = self._agreement.agreed.model
        return ServerEvent(Step.BEGINS, id_, self._body({}), id_, asked_in=(_TALK, _BESIDE), model=model)

    def _response_event(self, head: EventHead, response: Mapping[str, object]) -> ServerEvent | None:
        id_ = id_in(response, "id") or ""
        is_end = head.type == RESPONSE_DONE
        if is_end and self._begun.has_ended(id_):
            return None
        is_beside = response.get("conversation_id", "") is None
        # One beside the conversation may not be told from others.
        event = self._begin(id_, response)._replace(asked_in=(_BESIDE, _TALK) if is_beside else (_TALK,))
        if not is_end:
            return event
        self._begun.end(id_)
        if not is_beside:
            self._talk.take_response(response)
            self._ahead = None
        return event._replace(step=Step.ENDS)

    def _error(self, error: Mapping[str, object]) -> ServerEvent:
        event_id = str(error.get("event_id") or "")
        if event_id:
            self._agreement.reject(event_id)
            self._ahead = None
        status = 500 if error.get("type") == "server_error" else 400
        return ServerEvent(Step.REFUSED, status=status, event_id=event_id)

    # To both.

    def error_event(self, refusal: Refusal, asked: Asked) -> dict[str, object]:
        """An `error`, which names the event of the client that it is about."""
        return error_event(refusal, event_id=asked.event_id)

    def cancel_event(self, call_id: str) -> dict[str, object]:
        """A `response.cancel`."""
        return {"type": "response.cancel", "response_id": call_id}
