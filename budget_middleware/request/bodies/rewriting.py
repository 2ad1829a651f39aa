"""What the app gets in place of the client's request, so that its answer can be read and stays within a limit.

The body asks for the usage of its stream, and for no more output than may be paid for; the headers for an encoding that
is read here; the query for all fields of the answer.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from starlette.types import Scope

from budget_middleware.apis.bodies.form import Form
from budget_middleware.apis.bodies.reading import UNREADABLE
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.shared.clamping import clamp
from budget_middleware.request.bodies.body import RequestBody
from budget_middleware.request.bodies.field_masks import without_field_mask, without_other_request

# Google's servers heed field masks, whatever API they serve: on Vertex AI Claude and OpenAI's too.
_OF_GOOGLE: Final = ("gemini", "gcp.")
_ON_VERTEX: Final = "/locations/"
# Headers that a rewritten body changes or loses.
_OF_THE_BODY: Final = (b"content-length", b"content-encoding")


def for_the_app(api: Api, scope: Scope, body: RequestBody, *, at_most: int | None) -> tuple[bool, Scope]:
    """Make a request one whose answer can be read: whether its usage is asked for by us, and the scope.

    With ``at_most`` it asks for no more output tokens than these.
    """
    asks_for_usage, rewritten = _rewrite(api, body.text, body.document, at_most)
    if rewritten is not None:
        body.rewrite(rewritten)
        scope = _with_body_length(scope, len(rewritten))
    if api.provider.startswith(_OF_GOOGLE) or _ON_VERTEX in scope["path"]:
        scope = without_field_mask(scope)
    else:
        scope = without_other_request(scope)
    if b"accept-encoding" in body.headers:
        scope = _with_readable_answer(scope, body.headers.all(b"accept-encoding"))
    return asks_for_usage, scope


def _rewrite(api: Api, text: bytes, document: object, at_most: int | None) -> tuple[bool, bytes | None]:
    """Whether a body asks for its usage now and did not before, and its new text; None where it stays as it is."""
    # A form has no place for either.
    if document is UNREADABLE or isinstance(document, Form):
        return False, None
    rewritten = None
    if at_most is not None and (clamped := clamp(api.name, text, document, at_most=at_most)) is not None:
        rewritten, document = clamped
    asking = api.ask_for_usage(text if rewritten is None else rewritten, document)
    return (False, rewritten) if asking is None else (True, asking)


def _with_body_length(scope: Scope, length: int) -> Scope:
    """The scope of a request whose body was rewritten as plain text. Without a length before it has none now."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _OF_THE_BODY]
    if any(name.lower() == b"content-length" for name, _ in scope["headers"]):
        headers.append((b"content-length", str(length).encode()))
    return {**scope, "headers": headers}


def _with_readable_answer(scope: Scope, offers: Sequence[bytes]) -> Scope:
    """The scope of a request that offers these encodings, whose answer must come in one that can be read here."""
    if not offers:
        return scope
    kept = b"gzip, identity" if _takes_gzip(b",".join(offers).lower()) else b"identity"
    others = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept-encoding"]
    return {**scope, "headers": [*others, (b"accept-encoding", kept)]}


@lru_cache(64)
def _takes_gzip(offers: bytes) -> bool:
    """Whether an offer names gzip with a weight above 0, or names every coding and does not refuse gzip."""
    takes = {}
    for offer in offers.split(b","):
        coding, _, weight = offer.partition(b";")
        is_refused = weight.replace(b" ", b"").rstrip(b"0.") == b"q="  # q=0, q=0.000
        takes[coding.strip().removeprefix(b"x-")] = not is_refused
    return takes.get(b"gzip", takes.get(b"*", False))
