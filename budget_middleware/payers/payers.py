"""Who pays for an ASGI request: the subject of each kind of account, from its token, headers, body, state and user."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from starlette.types import Scope

from budget_middleware.core.accounts import (
    ABSENT,
    GLOBAL,
    KEY,
    MODEL,
    AccountSource,
    Origin,
    Source,
    encode_subject,
    key_id,
)
from budget_middleware.core.limits import LimitRule
from budget_middleware.headers import HeaderTable
from budget_middleware.lookups import Lookup
from budget_middleware.payers.accounts_file import AccountsFile, can_own_keys
from budget_middleware.payers.credentials import (
    TOKEN_HEADERS,
    TOKEN_QUERY,
    CredentialSource,
    UnclearPayerError,
    ask_gateway,
    credential_in,
    credential_in_query,
    credential_of,
    only_one,
    query_values,
    text_of,
)

AccountsSource = Callable[[str], Awaitable[Mapping[str, str] | None]]
"""From a key's subject (16 hex digits) to subjects of other kinds, ``{"team": "search"}``; None: a key not known."""


class AccountsSourceError(UnclearPayerError):
    """The user's ``accounts_source`` has failed; its exception is the cause."""


class _Request(NamedTuple):
    """What a subject is read from. ``credential``: as the gateway's own parser gives it, None where there is none."""

    scope: Scope
    headers: HeaderTable
    body: object
    credential: str | None


class _Place(NamedTuple):
    """One place for the subject of a kind: how the raw subject is read there ("" if there is none), and whether only
    its hash may be known.
    """

    read: Callable[[_Request], str]
    is_secret: bool


class Payers:
    """Finds the payers of requests; ``payers_of`` is its one question.

    What the accounts file or ``accounts_source`` say of a key wins over what its request says of itself.
    ``claimed_kinds`` are those whose subject a request may simply claim, in a header, its body or its query.
    """

    def __init__(
        self,
        sources: Sequence[AccountSource],
        *,
        hash_secret: str = "",
        directory: AccountsFile | None = None,
        accounts_source: AccountsSource | None = None,
        credential_source: CredentialSource | None = None,
        known_keys_only: bool = False,
    ) -> None:
        self._sources = sources
        self.claimed_kinds = frozenset(source.kind for source in sources if any(map(_is_claim, source.alternatives)))
        self._credential_source = credential_source if any(map(_asks_for_token, sources)) else None
        self._places = {source.kind: tuple(map(_place, source.alternatives)) for source in sources}
        self._hash_secret = hash_secret
        self._directory = directory
        self._accounts_source = Lookup(accounts_source) if accounts_source else None
        self._known_keys_only = known_keys_only

    async def payers_of(self, scope: Scope, headers: HeaderTable, body: object) -> dict[str, str | None]:
        """The encoded subject of each kind, None where the request lacks it. Raises UnclearPayerError.

        ``headers`` are those of the scope.
        """
        credential = None
        if self._credential_source is not None:
            credential = await ask_gateway(self._credential_source, scope)
        payers = self._payers_named_in(_Request(scope, headers, body, credential))
        key = payers.get(KEY)
        filed = sourced = None
        if self._directory is not None:
            filed = self._directory.subjects_of(key)
            payers |= dict.fromkeys(self._directory.kinds - payers.keys())
        if self._accounts_source is not None and key is not None:
            sourced = await _sourced(self._accounts_source, key)
        if self._known_keys_only and key is not None and filed is None and sourced is None:
            payers[KEY] = ABSENT
        for subjects in (filed, sourced):
            if subjects:
                payers.update(subjects)
        return payers

    def _payers_named_in(self, request: _Request) -> dict[str, str | None]:
        payers: dict[str, str | None] = {}
        for kind, places in self._places.items():
            payers[kind] = None
            for place in places:
                if raw := place.read(request):
                    payers[kind] = key_id(raw, secret=self._hash_secret) if place.is_secret else encode_subject(raw)
                    break
        return payers

    def warnings_for(self, rules: Sequence[LimitRule]) -> Iterator[str]:
        """What of the limits binds nobody, since no request can have such an account; in a line each."""
        if self._accounts_source is None:
            known = {source.kind for source in self._sources} | (self._directory.kinds if self._directory else set())
            unknown = {kind for rule in rules for kind in rule.kinds} - {*known, MODEL, GLOBAL}
            if unknown:
                yield f"no request has a source for {', '.join(sorted(unknown))}, so limits on that never bind"

    def no_payers(self) -> dict[str, str | None]:
        """The payers of a request that could be anybody's."""
        return {source.kind: None for source in self._sources}


def fields_of_the_body(sources: Sequence[AccountSource]) -> tuple[str, ...]:
    """The fields of a request's body that say who pays."""
    places = [place for source in sources for place in source.alternatives if place.origin is Origin.BODY]
    return tuple(dict.fromkeys(place.name.partition(".")[0] for place in places))


async def _sourced(source: Lookup[Mapping[str, str] | None], key: str) -> dict[str, str] | None:
    try:
        subjects = await source(key)
        return _encoded(subjects) if subjects is not None else None
    except Exception as error:
        raise AccountsSourceError(f"accounts_source failed for {KEY}:{key}: {error!r}") from error


def _asks_for_token(source: AccountSource) -> bool:
    return any(alternative.origin is Origin.TOKEN for alternative in source.alternatives)


def _encoded(subjects: Mapping[str, str]) -> dict[str, str]:
    for kind in subjects:
        if not can_own_keys(kind):
            raise ValueError(f"{kind!r} is no kind of account that a key can belong to")
    return {kind: encode_subject(subject) for kind, subject in subjects.items() if subject}


def _place(source: Source) -> _Place:
    # A token is hashed in any kind.
    return _Place(_reader(source), is_secret=source.kind == KEY or _is_token(source))


def _is_claim(source: Source) -> bool:
    """Whether anybody may write any subject there; only who has a token can name its hash."""
    is_written_by_client = source.origin in (Origin.HEADER, Origin.BODY, Origin.QUERY)
    return is_written_by_client and not (source.kind == KEY or _is_token(source))


def _is_token(source: Source) -> bool:
    match source.origin:
        case Origin.TOKEN:
            return True
        case Origin.HEADER:
            return source.name.encode("latin-1") in TOKEN_HEADERS
        case _:
            return source.origin is Origin.QUERY and source.name == TOKEN_QUERY


def _reader(source: Source) -> Callable[[_Request], str]:
    name = source.name
    match source.origin:
        case Origin.TOKEN:
            return _credential
        case Origin.HEADER:
            header = name.encode("latin-1")
            if _is_token(source):
                return lambda request: credential_in(header, request.headers)
            return lambda request: _only_text(request.headers.all(header), name)
        case Origin.QUERY:
            if _is_token(source):
                return lambda request: credential_in_query(request.scope)
            several = f"several values of the query parameter {name}"
            return lambda request: only_one(query_values(request.scope, name), several)
        case Origin.BODY:
            path = name.split(".")
            return lambda request: _text(_at_path(request.body, path))
        case Origin.STATE:
            return lambda request: _text(_state(request.scope).get(name))
        case Origin.USER:
            return lambda request: _identity(request.scope)


def token_of(scope: Scope) -> str:
    """The request's token, "" if it has none. Raises AmbiguousTokenError."""
    return credential_of(scope, HeaderTable(scope["headers"]))


def _credential(request: _Request) -> str:
    if request.credential is not None:
        return request.credential
    return credential_of(request.scope, request.headers)


def _only_text(values: Sequence[bytes], name: str) -> str:
    # As nearly all come.
    if len(values) == 1:
        return text_of(values[0])
    return only_one(filter(None, map(text_of, values)), f"several values of the header {name}")


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
