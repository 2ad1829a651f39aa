"""New names of accounts, for another hash secret: keys are hashes of tokens, and only the token gives the new one."""

import re
from collections.abc import Iterable, Mapping

from budget_middleware.core.model import Counter
from budget_middleware.core.payers.accounts import KEY, KEY_SUBJECT, compound_of, key_id, parts_of

_SUBJECT_IN_TEXT = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{16}(?![0-9A-Za-z])")


class Renaming:
    """The new subjects of keys by their old ones; without any, every account keeps its name."""

    def __init__(self, subjects: Mapping[str, str] | None = None) -> None:
        self._subjects = subjects
        self._originals = {new: old for old, new in (subjects or {}).items()}
        self._known: dict[str, str] = {}
        self.unknown: set[str] = set()
        """Accounts whose key nobody gave a token for: they keep their names."""

    def account(self, account: str) -> str:
        """The new name of an account, or of a pattern of limits."""
        if self._subjects is None:
            return account
        if account not in self._known:
            self._known[account] = self._renamed(account, self._subjects)
        return self._known[account]

    def _renamed(self, account: str, subjects: Mapping[str, str]) -> str:
        parts = dict(parts_of(account))
        # What places of credentials give other kinds is a hash of the token too.
        renamed = {kind: subjects.get(subject, subject) for kind, subject in parts.items()}
        if KEY_SUBJECT.fullmatch(parts.get(KEY, "")) and parts[KEY] not in subjects:
            self.unknown.add(account)
        return compound_of(renamed)

    def original(self, account: str) -> str:
        """The old name of a new one."""
        if not self._originals:
            return account
        return compound_of({kind: self._originals.get(subject, subject) for kind, subject in parts_of(account)})

    def counter(self, counter: Counter) -> Counter:
        return counter._replace(account=self.account(counter.account))

    def text(self, text: str) -> str:
        """A text, such as a file of accounts or limits, with the new subjects in place of the old ones."""
        subjects = self._subjects or {}
        return _SUBJECT_IN_TEXT.sub(lambda found: subjects.get(found[0], found[0]), text)


def renaming_of(tokens: Iterable[str], *, old_secret: str, new_secret: str) -> Renaming:
    """By the tokens, of which nothing is kept but their hashes."""
    stripped = (token.strip() for token in tokens)
    return Renaming({key_id(token, secret=old_secret): key_id(token, secret=new_secret) for token in stripped if token})
