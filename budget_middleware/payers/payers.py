"""Who pays for an ASGI request: the subject of each kind of account, from its token, headers, body, state and user."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from starlette.types import Scope

from budget_middleware.core.limits.limits import LimitRule
from budget_middleware.core.payers.accounts import ABSENT, GLOBAL, KEY, MODEL
from budget_middleware.core.payers.payers import PayerSubjects, TooManyTagsError, encode_named
from budget_middleware.core.payers.sources import AccountSource, Origin
from budget_middleware.headers import HeaderTable
from budget_middleware.lookups import Lookup
from budget_middleware.payers.accounts_file import AccountsFile, can_own_keys
from budget_middleware.payers.credentials import CredentialSource, UnclearPayerError, ask_gateway
from budget_middleware.payers.places import is_claim, place_of, request_of

_log = logging.getLogger("budget_middleware")

Named = Mapping[str, str | Sequence[str]]
"""What is said of a key: raw subjects of other kinds, of the kind ``tag`` one or a list of them."""

AccountsSource = Callable[[str], Awaitable[Named | None]]
"""From a key's subject (16 hex digits) to subjects of other kinds, ``{"team": "search"}``; None: a key not known."""


class AccountsSourceError(UnclearPayerError):
    """The user's ``accounts_source`` has failed; its exception is the cause."""


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
        self.claimed_kinds = frozenset(source.kind for source in sources if any(map(is_claim, source.alternatives)))
        self._credential_source = credential_source if any(map(_asks_for_token, sources)) else None
        self._places = {
            source.kind: tuple(place_of(each, hash_secret=hash_secret) for each in source.alternatives)
            for source in sources
        }
        self._directory = directory
        self._accounts_source = Lookup(accounts_source) if accounts_source else None
        self._known_keys_only = known_keys_only
        self._asks_nobody = directory is None and accounts_source is None and not known_keys_only

    async def payers_of(
        self, scope: Scope, headers: HeaderTable, body: object, *, refuses_many_tags: bool = True
    ) -> dict[str, PayerSubjects]:
        """The encoded subjects of each kind, None where the request lacks it. Raises UnclearPayerError.

        ``headers`` are those of the scope. Of more tags than a request may have the first pay, or TooManyTagsError.
        """
        credential = None
        if self._credential_source is not None:
            credential = await ask_gateway(self._credential_source, scope)
        request = request_of((scope, headers, body, credential))
        payers: dict[str, PayerSubjects] = {}
        for kind, places in self._places.items():
            payers[kind] = None
            for place in places:
                if raw := place.read(request):
                    try:
                        payers[kind] = place.encode(raw)
                    except TooManyTagsError as error:
                        if refuses_many_tags:
                            raise
                        _log.warning("%s; the first of them are charged", error)
                        payers[kind] = error.first
                    break
        if self._asks_nobody:
            return payers
        return await self._with_known(payers)

    async def _with_known(self, payers: dict[str, PayerSubjects]) -> dict[str, PayerSubjects]:
        """The payers that a request names, and those that are known of its key."""
        key: Any = payers.get(KEY)  # Of keys there are never several.
        filed = sourced = None
        if self._directory is not None:
            filed = await self._directory.subjects_of(key)
            payers |= dict.fromkeys(self._directory.kinds - payers.keys())
        if self._accounts_source is not None and key is not None:
            sourced = await _sourced(self._accounts_source, key)
        if self._known_keys_only and key is not None and filed is None and sourced is None:
            payers[KEY] = ABSENT
        for subjects in (filed, sourced):
            if subjects:
                payers.update(subjects)
        return payers

    def warnings_for(self, rules: Sequence[LimitRule]) -> Iterator[str]:
        """What of the limits binds nobody, since no request can have such an account; in a line each."""
        if self._accounts_source is None:
            known = {source.kind for source in self._sources} | (self._directory.kinds if self._directory else set())
            unknown = {kind for rule in rules for kind in rule.kinds} - {*known, MODEL, GLOBAL}
            if unknown:
                yield f"BUDGET_ACCOUNTS names no source for {', '.join(sorted(unknown))}, so limits on that never bind"

    def no_payers(self) -> dict[str, PayerSubjects]:
        """The payers of a request that could be anybody's."""
        return {source.kind: None for source in self._sources}


def fields_of_the_body(sources: Sequence[AccountSource]) -> tuple[str, ...]:
    """The fields of a request's body that say who pays."""
    places = [place for source in sources for place in source.alternatives if place.origin is Origin.BODY]
    return tuple(dict.fromkeys(place.name.partition(".")[0] for place in places))


async def _sourced(source: Lookup[Named | None], key: str) -> dict[str, PayerSubjects] | None:
    try:
        subjects = await source(key)
        return _encoded(subjects) if subjects is not None else None
    except Exception as error:
        raise AccountsSourceError(f"accounts_source failed for {KEY}:{key}: {error!r}") from error


def _asks_for_token(source: AccountSource) -> bool:
    return any(alternative.origin is Origin.TOKEN for alternative in source.alternatives)


def _encoded(subjects: Named) -> dict[str, PayerSubjects]:
    for kind in subjects:
        if not can_own_keys(kind):
            raise ValueError(f"{kind!r} is no kind of account that a key can belong to")
    return {kind: encode_named(kind, subject) for kind, subject in subjects.items() if subject}
