"""A request's body: read once for the estimate, then replayed to the app unchanged.

    receive ──> messages ──> text ──────────> document       what the request says
                   │         (inflated)
                   └────────> replayed, one by one           what the app gets

A form is read while it arrives, to its end, since any of its fields may come after its files; its messages are kept
as they came. Any other body is joined, inflated if need be, and parsed, if it is no longer than `max_bytes`; of a
longer one the app gets the rest from the server itself. All bytes that are kept count as `BodiesInHand` until the app
has taken them. Work on long bodies is done in steps, between which others run.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.bounded_json import UNWEIGHED_BYTES, TooManyValuesError, parse_in_steps
from budget_middleware.apis.bodies.charsets import is_read_as_utf8
from budget_middleware.apis.bodies.form import FormReader, UnclearFormError, boundary_of, is_urlencoded
from budget_middleware.apis.bodies.inflating import CannotInflateError, codings_of, inflate
from budget_middleware.apis.bodies.reading import UNREADABLE, parse_body
from budget_middleware.apis.bodies.repeated_fields import refuse_repeated
from budget_middleware.apis.protocol.base import Reason, Refusal
from budget_middleware.headers import HeaderTable
from budget_middleware.request.bodies.body_read import in_steps, one_reading
from budget_middleware.request.bodies.in_hand import BodiesInHand, TooManyBodiesError, Wait

# So much of a form is read before others may run: its parser takes up to 0.3 us for a byte.
_FORM_PIECE_BYTES: Final = 32_768
_MEGABYTE: Final = 1_000_000
_MAX_DIGITS: Final = 20


class RequestBody:
    """Reads a body up to its bounds, and replays it; nothing of it is kept after that.

    ``headers`` are the request's; ``fields`` are read of a JSON object even if it has too many values.
    """

    def __init__(
        self,
        receive: Receive,
        *,
        headers: HeaderTable,
        max_bytes: int,
        in_hand: BodiesInHand,
        fields: tuple[str, ...] = (),
    ) -> None:
        self.headers = headers
        self.text = b""  # What was read, inflated.
        self.n_bytes = 0  # How long that is, or how long the client has said that the body is, if that is more.
        # The fields of a form, else the JSON value of a whole body; or why it is neither, for its sender, where more
        # is known than that it is no JSON.
        self.document: object = UNREADABLE
        self.why_unread = ""
        self.refusal: Refusal | None = None  # It cannot go on: an unclear form, a body that stalls, no room for it.
        self.is_client_gone = False  # Before it had sent everything.
        self.has_more = True  # The client has not sent all of it yet: the app gets the rest from the server itself.
        self._receive = receive
        self._max_bytes = max_bytes
        self._in_hand = in_hand
        self._fields = fields
        self._codings = codings_of(headers.all(b"content-encoding")) if b"content-encoding" in headers else ()
        # Few are forms, and all types of forms have that word in them.
        name = b"content-type"
        content_type = headers.joined(name) if headers.repeated else headers.get(name, b"").lower()
        self._content_type = content_type
        self._may_be_form = b"form" in content_type
        announced = headers.get(b"content-length", b"")
        # int() would take signs, underscores and other alphabets' digits.
        self._announced = int(announced) if announced.isdigit() and len(announced) < _MAX_DIGITS else 0
        # What the app has not taken yet, as it came; and how much of it, and of `text`, counts as in hand.
        self._messages: deque[bytes] = deque()
        self._n_read = 0
        self._n_taken = 0
        self._is_replayed = False

    async def read(self) -> None:
        """Read the body; whatever comes of it, `close` must be called."""
        try:
            form = self._form_reader() if self._may_be_form else None
            await self._read_messages(form if not self._codings else None)
            if self.is_client_gone:
                return
            if form is not None and not self._codings:
                self.document = form.finish()
            elif self._n_read > self._max_bytes:
                self.why_unread = (
                    "The request is longer than BUDGET_MAX_BODY_BYTES, so its model and price cannot be determined."
                )
            else:
                await self._understand(form)
        except TooManyBodiesError:
            message = "Too many request bodies are being read (BUDGET_MAX_BODIES_BYTES); try again."
            self.refusal = Refusal(status=503, reason=Reason.BUSY, message=message)
        except TimeoutError:
            message = "The request body comes too slowly (BUDGET_BODY_TIMEOUT_S)."
            self.refusal = Refusal(status=408, reason=Reason.TOO_SLOW, message=message)
        except BadRequestError as error:
            self.refusal = Refusal(status=400, reason=Reason.BAD_REQUEST, message=f"{error}.")
        finally:
            self.n_bytes = max(self._n_read, len(self.text), self._announced if self.has_more else 0)

    def rewrite(self, text: bytes) -> None:
        """Give the app another text than the one that was read."""
        self._messages = deque((text,))
        self.text = b""

    def replayed(self) -> Message | None:
        """The next message that was read, for the app; None once it has them all."""
        if self._is_replayed:
            return None
        # An answer may take minutes, and a long conversation is thousands of objects.
        self.text, self.document = b"", UNREADABLE
        message = self._messages.popleft() if self._messages else b""
        self._is_replayed = not self._messages
        n_bytes = self._n_taken if self._is_replayed else len(message)
        self._n_taken -= n_bytes
        self._in_hand.n_bytes -= n_bytes
        return {"type": "http.request", "body": message, "more_body": self.has_more or not self._is_replayed}

    def replay_then(self, receive: Receive) -> Receive:
        """What gives an app the body that was read, then whatever the server has to say."""

        async def receive_again() -> Message:
            return self.replayed() or await receive()

        return receive_again

    def may_wait(self) -> bool:
        """Whether there is room for it beside the bodies of all that wait for budget."""
        return self._in_hand.n_waiting_bytes + self._n_taken <= self._in_hand.max_bytes // 2

    def begin_wait(self) -> Callable[[], None]:
        """Count it among those that wait, and what ends that: meanwhile nothing of it is taken or given back."""
        in_hand, n_bytes = self._in_hand, self._n_taken
        in_hand.n_waiting_bytes += n_bytes

        def end_wait() -> None:
            in_hand.n_waiting_bytes -= n_bytes

        return end_wait

    def close(self) -> None:
        """Give back what is still in hand."""
        self._messages.clear()
        self.text = b""
        if self._n_taken:
            self._in_hand.n_bytes -= self._n_taken
            self._n_taken = 0

    async def _read_messages(self, form: FormReader | None) -> None:
        # What there is no room for is refused at once, so far as its length is known.
        if self._in_hand.n_bytes + min(self._announced, self._max_bytes) > self._in_hand.max_bytes:
            raise TooManyBodiesError
        wait = Wait(self._in_hand.deadlines)
        try:
            while self.has_more and (form is not None or self._n_read <= self._max_bytes):
                message = await self._receive()
                if message["type"] != "http.request":
                    self.is_client_gone = True
                    return
                # Some layers put something else there that holds bytes, and only bytes can be parsed.
                body = bytes(message.get("body", b""))
                self.has_more = message.get("more_body", False)
                self._n_read += len(body)
                # Kept in any case: in shadow mode the app gets it.
                self._messages.append(body)
                self._in_hand.take(len(body))
                self._n_taken += len(body)
                if form is not None:
                    await self._feed(form, body)
                if self.has_more:
                    # A byte now and then is a stall too.
                    wait.progress(latest_s=wait.timeout_s * (1 + self._n_read / _MEGABYTE))
        except asyncio.CancelledError:
            if wait.end():
                raise TimeoutError from None
            raise
        finally:
            wait.end()

    async def _feed(self, form: FormReader, body: bytes) -> None:
        for start in range(0, len(body), _FORM_PIECE_BYTES):
            if start:
                await asyncio.sleep(0)
            form.feed(body[start : start + _FORM_PIECE_BYTES])

    async def _understand(self, form: FormReader | None) -> None:
        """Set `document` to what a whole body says."""
        if b"charset" in self._content_type and not is_read_as_utf8(self._content_type):
            raise BadRequestError("the content-type of the request names a charset that is not read here; send UTF-8")
        if len(self._messages) > 1:
            self._messages = deque((b"".join(self._messages),))
        self.text = self._messages[0] if self._messages else b""
        try:
            if self._codings:
                await self._inflate()
            if form is not None:
                await self._feed(form, self.text)
                self.document = form.finish()
            elif len(self.text) <= UNWEIGHED_BYTES:
                self.document = parse_body(self.text)
            else:
                self.document = await in_steps(parse_in_steps(self.text, fields=self._fields))
                # To look at all of its fields takes a step of its own.
                await asyncio.sleep(0)
        except (CannotInflateError, TooManyValuesError) as error:
            self.why_unread = f"The request cannot be read: {error}."
        else:
            if self._may_be_form and is_urlencoded(self.headers.get(b"content-type", b"")):
                self.document = one_reading(self.text, self.document)
            refuse_repeated(self.text, self.document)

    async def _inflate(self) -> None:
        packed, self.text = self.text, b""
        # `deflate` and `br` begin with nothing of their own: an app that ignores the header would read another body.
        if packed.lstrip()[:1] in (b"{", b"[") and await in_steps(parse_in_steps(packed)) is not UNREADABLE:
            raise CannotInflateError("its header says that it is compressed, but it is plain JSON")
        pieces = []
        for piece in inflate(packed, self._codings, max_bytes=self._max_bytes):
            self._in_hand.take(len(piece))
            self._n_taken += len(piece)
            pieces.append(piece)
            await asyncio.sleep(0)
        self.text = b"".join(pieces)

    def _form_reader(self) -> FormReader | None:
        """What reads the body as a form; None if it is none."""
        boundary = boundary_of(self.headers.all(b"content-type"))
        if boundary is not None and self._announced > self._in_hand.max_bytes:
            raise UnclearFormError("the form is longer than BUDGET_MAX_BODIES_BYTES")
        return FormReader(boundary) if boundary is not None else None
