"""Who pays for an ASGI request: the subject of each kind of account, from its token, headers, body, state and user."""

import logging
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

from budget_middleware.core.accounts import (
    ABSENT,
    KIND,
    AccountSource,
    Origin,
    Source,
    encode_subject,
    key_id,
)
from budget_middleware.lookups import Lookup

AccountsSource = Callable[[str], Awaitable[Mapping[str, str] | None]]
"""From a key's subject (16 hex digits) to subjects of other kinds, ``{"team": "search"}``; None: it has none."""

KEY = "key"

TOKEN_HEADERS = (
    b"authorization",
    b"x-litellm-api-key",
    b"x-api-key",
    b"api-key",
    b"x-goog-api-key",
    b"ocp-apim-subscription-key",
)
TOKEN_QUERY = "key"  # noqa: S105 - the name of a parameter, not a secret
_SCHEMES = ("bearer", "basic")

_REREAD_S = 1.0

_log = logging.getLogger("budget_middleware")


class AmbiguousTokenError(ValueError):
    """A request that carries two tokens that differ: whose it is cannot be told."""


class Payers:
    """Finds the payers of requests; ``payers_of`` is its one question.

    What the accounts file or ``accounts_source`` say of a key wins over what its request says of itself.
    """

    def __init__(
        self,
        sources: Sequence[AccountSource],
        *,
        hash_secret: str = "",
        directory: "AccountsFile | None" = None,
        accounts_source: AccountsSource | None = None,
        known_keys_only: bool = False,
    ) -> None:
        self._sources = sources
        self._hash_secret = hash_secret
        self._directory = directory
        self._accounts_source = Lookup(accounts_source) if accounts_source else None
        self._known_keys_only = known_keys_only
        self.reads_body = any(place.origin is Origin.BODY for source in sources for place in source.alternatives)

    async def payers_of(self, scope: Scope, body: object) -> dict[str, str | None]:
        """The encoded subject of each kind, None where the request lacks it.

        Raises AmbiguousTokenError; an ``accounts_source`` that fails raises what it raises.
        """
        request = _Request(scope, body, self._hash_secret)
        payers = {source.kind: _first(source, request) for source in self._sources}
        key = payers.get(KEY)
        if self._directory is not None:
            known = self._directory.subjects_of(key)
            if known is None and key is not None and self._known_keys_only:
                payers[KEY] = ABSENT
            payers |= dict.fromkeys(self._directory.kinds - payers.keys())
            payers |= known or {}
        if self._accounts_source is not None and key is not None:
            told = await self._accounts_source(key) or {}
            payers |= {kind: encode_subject(subject) for kind, subject in told.items() if subject}
        return payers


def _first(source: AccountSource, request: "_Request") -> str | None:
    for place in source.alternatives:
        raw, is_token = request.read(place)
        if raw:
            hashed = is_token or source.kind == KEY
            return key_id(raw, secret=request.hash_secret) if hashed else encode_subject(raw)
    return None


class _Request:
    """Where in a request the places of ``Source`` are."""

    def __init__(self, scope: Scope, body: object, hash_secret: str) -> None:
        self._scope = scope
        self._body = body
        self.hash_secret = hash_secret

    def read(self, place: Source) -> tuple[str, bool]:
        """The raw subject at a place ("" if there is none), and whether it is a token, to be hashed in any kind."""
        match place.origin:
            case Origin.TOKEN:
                return token_of(self._scope), True
            case Origin.HEADER:
                name = place.name.encode("latin-1")
                if name in TOKEN_HEADERS:
                    return next(filter(None, map(_bare, _header_values(self._scope, name))), ""), True
                return next(filter(None, _header_values(self._scope, name)), ""), False
            case Origin.QUERY:
                return _query_value(self._scope, place.name), place.name == TOKEN_QUERY
            case Origin.BODY:
                return _text(_at_path(self._body, place.name.split("."))), False
            case Origin.STATE:
                return _text(_state(self._scope).get(place.name)), False
            case Origin.USER:
                return _identity(self._scope), False


def token_of(scope: Scope) -> str:
    """The request's token, "" if it has none. Raises AmbiguousTokenError."""
    tokens = {token for name in TOKEN_HEADERS for token in map(_bare, _header_values(scope, name)) if token}
    if in_query := _query_value(scope, TOKEN_QUERY):
        tokens.add(in_query)
    if len(tokens) > 1:
        raise AmbiguousTokenError("the request carries two API keys that differ; send one")
    return tokens.pop() if tokens else ""


def _bare(value: str) -> str:
    """A token without its scheme. Other schemes sign each request anew, and name no payer."""
    scheme, space, rest = value.partition(" ")
    if not space:
        return "" if scheme.lower() in _SCHEMES else scheme
    return rest.strip() if scheme.lower() in _SCHEMES else ""


def _header_values(scope: Scope, name: bytes) -> Iterator[str]:
    # Latin-1 is how bytes come through HTTP; read as UTF-8 where they are, so that a name has one account.
    for key, value in scope["headers"]:
        if key == name or key.lower() == name:
            try:
                yield value.decode("utf-8").strip()
            except UnicodeDecodeError:
                yield value.decode("latin-1").strip()


def _query_value(scope: Scope, name: str) -> str:
    query = scope.get("query_string", b"")
    if not query:
        return ""
    pairs = parse_qsl(query.decode("latin-1"), max_num_fields=None)
    return next((value for key, value in pairs if key == name), "")


def _at_path(value: object, path: Sequence[str]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _state(scope: Scope) -> Mapping[str, object]:
    state = scope.get("state")
    return state if isinstance(state, dict) else {}


def _identity(scope: Scope) -> str:
    try:
        return _text(scope["user"].identity)
    # An unauthenticated user has none, and says so in many ways.
    except (KeyError, AttributeError, NotImplementedError):
        return ""


class AccountsFile:
    """Which team and user a key belongs to; reread when the file changes, looked at once a second at most.

    Raises ValueError, in one line, if the file cannot be used at first. A later version that cannot be used is
    logged, and the last good one stays.
    """

    def __init__(self, path: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock_s = clock_s
        self._looked_s = clock_s()
        self._version = self._stat()
        self._keys = _read_accounts(path)
        self.kinds = _kinds(self._keys)

    def subjects_of(self, key: str | None) -> Mapping[str, str] | None:
        """The encoded subjects that belong to a key; None: the file does not know it."""
        self._reread()
        return self._keys.get(key) if key is not None else None

    def _reread(self) -> None:
        now_s = self._clock_s()
        if now_s - self._looked_s < _REREAD_S:
            return
        self._looked_s = now_s
        version = self._stat()
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = _read_accounts(self._path)
            self.kinds = _kinds(self._keys)
        except ValueError as error:
            _log.error("BUDGET_ACCOUNTS_FILE has changed and cannot be used, the last good one stays: %s", error)

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)


def _kinds(keys: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    return frozenset(kind for subjects in keys.values() for kind in subjects)


def _read_accounts(path: Path) -> dict[str, dict[str, str]]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    keys = document.pop("keys", {})
    if document or not isinstance(keys, dict):
        raise ValueError(f'{path}: accepted are tables such as [keys."1f3a9c0b2d4e5f60"] and nothing else')
    return {key.lower(): _read_subjects(path, key, subjects) for key, subjects in keys.items()}


def _read_subjects(path: Path, key: str, subjects: Any) -> dict[str, str]:
    if not isinstance(subjects, dict):
        raise ValueError(  # noqa: TRY004 - a wrong file, as all the others here
            f'{path}: [keys."{key}"] must be a table such as team = "search"'
        )
    for kind, subject in subjects.items():
        if not KIND.fullmatch(kind) or kind == KEY or not isinstance(subject, str) or not subject:
            raise ValueError(f'{path}: [keys."{key}"] {kind}: accepted is KIND = "SUBJECT", such as team = "search"')
    return {kind: encode_subject(subject) for kind, subject in subjects.items()}
