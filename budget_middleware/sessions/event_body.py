"""What an event asks for, in the place of a request's body."""

from starlette.types import Message

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.bounded_json import UNWEIGHED_BYTES, TooManyValuesError
from budget_middleware.apis.bodies.reading import UNREADABLE
from budget_middleware.apis.bodies.repeated_fields import refuse_repeated
from budget_middleware.headers import HeaderTable
from budget_middleware.request.bodies.body_read import parse


class EventBody:
    """See `request.bodies.body_read`: an event that was received whole, so nobody waits for more of it."""

    def __init__(self, document: object, *, headers: HeaderTable, n_bytes: int, why_unread: str = "") -> None:
        self.document = document
        self.headers = headers
        self.why_unread = why_unread
        self.is_client_gone = False
        self.n_bytes = n_bytes


def data_of(message: Message) -> bytes:
    """The event in an ASGI message, which comes as text or as bytes."""
    text = message.get("text")
    return text.encode() if text is not None else message.get("bytes") or b""


async def read_event_body(data: bytes, *, headers: HeaderTable, max_bytes: int, fields: tuple[str, ...]) -> EventBody:
    """Parse an event of a client. One that is too long, or has too many values, counts by its length."""
    document: object = UNREADABLE
    why_unread = ""
    if len(data) > max(max_bytes, UNWEIGHED_BYTES):
        why_unread = "The event is longer than BUDGET_MAX_BODY_BYTES, so its model and price cannot be determined."
    else:
        try:
            document = await parse(data, fields=fields)
            refuse_repeated(data, document)
        except (TooManyValuesError, BadRequestError) as error:
            document, why_unread = UNREADABLE, f"The event cannot be read: {error}."
    return EventBody(document, headers=headers, n_bytes=len(data), why_unread=why_unread)
