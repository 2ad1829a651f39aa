"""Reads the credential of a request, and refuses requests in which another app could read a different one.

We stand in front of the app's own authentication, and the account of a request is the hash of its credential. Should
the app read another credential than we do, its caller gets a fresh account with each spelling. Gateways differ in how
they read: LiteLLM removes every `Bearer ` wherever it stands, FastAPI cuts at the first space, others take the last
word, and a repeated header is its first value here and its last one there. So a credential is read only where all of
them must agree: one word without white space, behind `Bearer`, `Basic` or nothing. Whatever else could hold a
credential is refused as ambiguous.

Two forms of `authorization` are no such word and are read all the same. AWS Signature Version 4 names its access key
id, read where the whole header is well formed. Schemes that we do not know (`Digest`, `Negotiate`) sign each request
again and name nobody; they pass where they stand alone, for beside another credential the app could read either.
"""

import binascii
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from inspect import isawaitable
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Scope

from budget_middleware.core.fast import maker_of
from budget_middleware.headers import HeaderTable

CredentialSource = Callable[[Scope], Awaitable[str | None] | str | None]
"""The gateway's own parser: from an ASGI scope to the credential, None or "" where the request has none."""

AUTHORIZATION: Final = b"authorization"
TOKEN_HEADERS: Final = frozenset(
    {
        AUTHORIZATION,
        b"x-litellm-api-key",
        # LiteLLM prefers it to all others on its routes that pass requests through.
        b"litellm_user_api_key",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"ocp-apim-subscription-key",
    }
)
TOKEN_QUERY: Final = "key"  # noqa: S105 - the name of a parameter, not a secret
# Browsers cannot set headers of a handshake: Azure and Google take one in the query there, OpenAI among the
# subprotocols.
_HANDSHAKE_QUERIES: Final = ("api-key", "access_token")
_SUBPROTOCOLS: Final = b"sec-websocket-protocol"
_KEY_SUBPROTOCOL: Final = b"openai-insecure-api-key."
_TWO_KEYS: Final = "two API keys that differ"
_SCHEMES: Final = (b"bearer", b"basic")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
# A comma is how proxies join two headers of one name.
_CREDENTIAL: Final = re.compile(rb"(?i) *+(?:(?P<scheme>bearer|basic) ++)?(?P<word>[^\x00-\x20\x7f,]++) *+")
_OTHER_SCHEME: Final = re.compile(rb" *+[A-Za-z0-9!#$%&'*+.^_`|~-]++ ++[^\x00-\x1f\x7f]+")
# As Google's SDK sends a token that lives as long as one live session.
_GOOGLES_TOKEN: Final = re.compile(rb"(?i) *+token ++(auth_tokens/[a-z0-9._~-]{1,256}) *+")
_NESTED_SCHEME: Final = re.compile(rb"(?i)(?<![A-Za-z0-9_-])(?:bearer|basic) ")
_SIGNED: Final = re.compile(rb"(?i) *+aws4-")
# LiteLLM's clients that can only sign send its key as the access key id, with `Bearer` before it.
_SIGNATURE: Final = re.compile(
    rb" *+AWS4-HMAC-SHA256 ++Credential=(?P<bearer>Bearer )?(?P<id>[A-Za-z0-9_.~-]{1,256})"
    rb"/[0-9]{8}/[a-z0-9-]{1,64}/[a-z0-9-]{1,64}/aws4_request, ?"
    rb"SignedHeaders=[a-z0-9;_-]{1,4096}, ?Signature=[0-9a-f]{64} *"
)


class UnclearPayerError(Exception):
    """The payer of a request cannot be determined."""


class AmbiguousTokenError(UnclearPayerError):
    """The request carries a credential that could be read in two ways, or two that differ."""


class CredentialSourceError(UnclearPayerError):
    """The user's ``credential_source`` has failed. What it said may hold the credential and is not repeated."""


class _Found(NamedTuple):
    """A place that holds a credential; ``token`` is "" where that names nobody. Some may have no others beside it."""

    token: str
    must_be_alone: bool = False


_found = maker_of(_Found)


def credential_of(scope: Scope, headers: HeaderTable) -> str:
    """The request's credential, "" if it has none. Raises AmbiguousTokenError. ``headers`` are those of the scope."""
    found: list[_Found] = []
    for name in headers.keys() & TOKEN_HEADERS:
        for value in headers.all(name) if headers.repeated else (headers[name],):
            each = _read_header(name, value)
            if each is not None:
                found.append(each)
    if scope.get("query_string"):
        found += [_Found(_word(value)) for value in query_values(scope, TOKEN_QUERY)]
    if scope["type"] == "websocket":
        found += _in_handshake(scope, headers)
    if len(found) == 1:
        return found[0].token
    if any(each.must_be_alone for each in found):
        raise AmbiguousTokenError("the request carries a credential and an authorization of another kind; send one")
    return only_one((each.token for each in found), _TWO_KEYS)


async def ask_gateway(source: CredentialSource, scope: Scope) -> str:
    """The credential as the gateway's own parser reads it, "" for none. Raises CredentialSourceError."""
    try:
        result = source(scope)
        credential = await result if isawaitable(result) else result
    except Exception as error:  # noqa: BLE001 - its cause may quote the credential, and would be logged with it
        raise CredentialSourceError(f"credential_source failed with {type(error).__name__}") from None
    if credential is not None and not isinstance(credential, str):
        raise CredentialSourceError(f"credential_source answered {type(credential).__name__}, which is no text")
    return credential or ""


def credential_in(name: bytes, headers: HeaderTable) -> str:
    """The credential in one header, which may be repeated. Raises AmbiguousTokenError."""
    found = (_read_header(name, value) for value in headers.all(name))
    return only_one((each.token for each in found if each is not None and each.token), _TWO_KEYS)


def credential_in_query(scope: Scope) -> str:
    """The credential in `?key=`. Raises AmbiguousTokenError."""
    return only_one(map(_word, query_values(scope, TOKEN_QUERY)), _TWO_KEYS)


def _in_handshake(scope: Scope, headers: HeaderTable) -> Iterator[_Found]:
    """The credentials of a WebSocket in places where requests have none."""
    for field in _HANDSHAKE_QUERIES:
        yield from (_Found(_word(value, field)) for value in query_values(scope, field))
    # Some servers take the header out of the headers, and others leave the list of it empty.
    listed = [name.encode("latin-1", "replace") for name in scope.get("subprotocols") or ()]
    for value in (*headers.all(_SUBPROTOCOLS), *listed):
        for name in map(bytes.strip, value.split(b",")):
            if name.startswith(_KEY_SUBPROTOCOL):
                found = _read_header(_SUBPROTOCOLS, name.removeprefix(_KEY_SUBPROTOCOL))
                if found is not None:
                    yield found


def only_one(values: Iterable[str], several: str) -> str:
    """The only value, "" where there is none. Raises AmbiguousTokenError: apps differ in which of several they read."""
    different = set(values)
    if len(different) > 1:
        raise AmbiguousTokenError(f"the request carries {several}; send one")
    return different.pop() if different else ""


def query_values(scope: Scope, name: str) -> Iterator[str]:
    """All values of a query parameter that are not empty."""
    if query := scope.get("query_string", b""):
        # Lone surrogates keep apart what is not UTF-8.
        for key, value in parse_qsl(query.decode("latin-1"), errors="surrogateescape"):
            if key == name:
                yield value


def text_of(value: bytes) -> str:
    """The text of a header."""
    # Latin-1 is how bytes come through HTTP; read as UTF-8 where they are, so that a name has one account.
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()


def _read_header(name: bytes, value: bytes) -> _Found | None:
    """What a header holds; None for no credential at all."""
    match = _CREDENTIAL.fullmatch(value)
    if match is not None:
        scheme, word = match.groups()
        if value.endswith(b" ") and word.lower().endswith(_SCHEMES) and word.lower() not in _SCHEMES:
            # Gateways that take each `Bearer ` out of a value would read another key, if their server leaves the blank.
            raise AmbiguousTokenError("the API key of the request ends in the name of a scheme and a blank")
        if scheme is not None or not _SIGNED.match(value):
            return _read_word(scheme, word)
    if not value.strip(b" "):
        return None
    if name == AUTHORIZATION:
        return _read_other_scheme(value)
    raise AmbiguousTokenError(f"the header {name.decode()} must hold one API key without white space or commas")


def _read_word(scheme: bytes | None, word: bytes) -> _Found | None:
    if word.lower() in _SCHEMES:
        if scheme is None:
            return None
        raise AmbiguousTokenError("the authorization of the request has a scheme within a scheme")
    if scheme is not None and scheme.lower() == b"basic" and not _is_written_one_way(word):
        raise AmbiguousTokenError("the Basic authorization of the request is not in canonical base64")
    if word.isascii():
        return _found((word.decode(), False))
    if _has_space(word.decode("latin-1")) or _has_space(text_of(word)):
        raise AmbiguousTokenError("the API key of the request has white space in it")
    return _Found(text_of(word))


def _read_other_scheme(value: bytes) -> _Found:
    if _SIGNED.match(value):
        signature = _SIGNATURE.fullmatch(value)
        if signature is None:
            raise AmbiguousTokenError("the AWS signature of the request is not well formed")
        return _Found(signature["id"].decode(), must_be_alone=signature["bearer"] is not None)
    if (token := _GOOGLES_TOKEN.fullmatch(value)) is not None:
        return _Found(token[1].decode())
    if _OTHER_SCHEME.fullmatch(value) and not _NESTED_SCHEME.search(value):
        return _Found("", must_be_alone=True)
    raise AmbiguousTokenError("the authorization of the request must be one scheme and one word without white space")


def _is_written_one_way(word: bytes) -> bool:
    """False for a user and password whose base64 could be written otherwise and mean the same to a lenient reader."""
    try:
        meant = binascii.a2b_base64(word.translate(_URL_SAFE) + b"==")
        # An API key without a user, which some clients send as it is, decodes to no text.
        if ":" not in meant.decode("utf-8"):
            return True
    except ValueError:
        return True
    return binascii.b2a_base64(meant, newline=False) == word


def _word(text: str, name: str = TOKEN_QUERY) -> str:
    if _has_space(text) or "," in text:
        raise AmbiguousTokenError(f"the query parameter {name} must hold one API key without white space or commas")
    return text


def _has_space(text: str) -> bool:
    return any(char.isspace() or char < " " or char == "\x7f" for char in text)
