"""`BUDGET_ACCOUNTS_FILE`: which team, user and other account a key belongs to.

The file is read again when it changes, and its writer may not replace it in one step: for a moment it may be
empty, or end in the middle. A version that takes something away is therefore not used at once:

    it adds keys, or moves some       used at once
    it lacks keys or their accounts   used after it has stayed the same for STABLE_S
    it has no key at all, has gone,   never used: the last good one stays until the process ends
    cannot be read or parsed

It is parsed in a thread, which takes a tenth of a second for 5,000 keys: the last good one serves meanwhile.
"""

import asyncio
import logging
import os
import re
import time
import tomllib
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any

from budget_middleware.core.payers.accounts import GLOBAL, KEY, KEY_SUBJECT, KIND, MODEL, account_of, encode_subject
from budget_middleware.core.payers.payers import TAG, Payers, PayerSubjects, TooManyTagsError, each_of, encode_named

_LOOK_S = 1.0
# After that long without a look, what was read last is not known to have stood in the file of late.
_IDLE_S = 2.0

_Version = tuple[int, ...]
_UNREAD: _Version = (-1,)

STABLE_S = 10.0
"""How long a version that takes keys or their accounts away must stay the same before it is used."""

Accounts = Mapping[str, Payers]
"""The encoded subjects of other kinds by the subject of a key, those of its team among them."""

_log = logging.getLogger("budget_middleware")


def can_own_keys(kind: str) -> bool:
    """Whether keys can belong to an account of this kind: not to `key`, `model` or `global`."""
    return KIND.fullmatch(kind) is not None and kind not in (KEY, MODEL, GLOBAL)


def accounts_in(path: Path) -> Accounts:
    """What stands in the file now; parsed only if it has changed since this process did so. ValueError in one line.

    It blocks: an event loop asks in a thread.
    """
    return _read_accounts(path, _version_of(path))


def accounts_of(keys: Accounts) -> frozenset[str]:
    """All of them, keys included."""
    named = ((kind, each_of(subjects)) for payers in keys.values() for kind, subjects in payers.items())
    owned = (account_of(kind, subject) for kind, subjects in named for subject in subjects if subject)
    return frozenset((*owned, *(account_of(KEY, key) for key in keys)))


def kinds_of(keys: Accounts) -> frozenset[str]:
    return frozenset(kind for subjects in keys.values() for kind in subjects)


class AccountsFile:
    """Which team and user a key belongs to; looked at once a second at most, and read again when it has changed.

    Raises ValueError, in one line, if the file cannot be used at first. A later version that cannot be used, or not
    yet, is logged, and the last good one stays.
    """

    def __init__(self, path: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock_s = clock_s
        self._looked_s = clock_s()
        self._version = _version_of(path)
        self._keys = _read_accounts(path, self._version)
        self.kinds = kinds_of(self._keys)
        self._candidate: Accounts | None = None
        self._candidate_since_s = 0.0
        # Set while a thread reads a change. Others wait for it if nobody had looked for long before.
        self._reading: Future[None] | None = None
        self._was_idle = False
        _files.add(self)
        if not self._keys:
            _log.warning(
                "BUDGET_ACCOUNTS_FILE=%r names no key, so limits on teams, users and other accounts of keys never bind",
                str(path),
            )

    async def subjects_of(self, key: str | None) -> Payers | None:
        """The encoded subjects that belong to a key; None: the file does not know it."""
        self._look()
        if self._was_idle and (reading := self._reading) is not None:
            await asyncio.shield(asyncio.wrap_future(reading))
        return self._keys.get(key) if key is not None else None

    def _look(self) -> None:
        now_s = self._clock_s()
        idle_s = now_s - self._looked_s
        if idle_s < _LOOK_S or self._reading is not None:
            return
        self._looked_s = now_s
        version = _version_of(self._path)
        if version != self._version:
            self._was_idle = idle_s >= _IDLE_S
            self._begin_reading(now_s, version)
        elif self._candidate is not None and now_s - self._candidate_since_s >= STABLE_S:
            _log.warning("BUDGET_ACCOUNTS_FILE has not changed for %g s and is used now", STABLE_S)
            self._use(self._candidate)

    def _begin_reading(self, now_s: float, version: _Version) -> None:
        before, self._version = self._version, version
        self._reading = Future()
        # Neither the event loop nor the interpreter waits for it at its end: a disk may hang.
        reader = Thread(target=self._read, args=(now_s, self._reading), name="budget-accounts", daemon=True)
        try:
            reader.start()
        except RuntimeError as error:
            self._reading, self._version = None, before
            _log.error("BUDGET_ACCOUNTS_FILE has changed and is not read yet; the last good one stays: %s", error)

    def read_again(self) -> None:
        """In the child of a fork, which has no thread that reads."""
        if self._reading is not None:
            self._reading, self._version = None, _UNREAD

    def _read(self, now_s: float, reading: Future[None]) -> None:
        try:
            self._take(now_s)
        finally:
            self._reading = None
            reading.set_result(None)

    def _take(self, now_s: float) -> None:
        try:
            keys = self._reread()
        except ValueError as error:
            self._candidate = None
            _log.error("BUDGET_ACCOUNTS_FILE has changed and cannot be used; the last good one stays: %s", error)
            return
        missing = sum(not self._keys[key].keys() <= keys.get(key, _NOTHING).keys() for key in self._keys)
        if not missing:
            self._use(keys)
        elif keys != self._candidate:
            self._candidate, self._candidate_since_s = keys, now_s
            _log.warning(
                "BUDGET_ACCOUNTS_FILE lacks %d of its %d keys, or accounts of theirs: the last good one stays until it"
                " has not changed for %g s",
                missing,
                len(self._keys),
                STABLE_S,
            )

    def _reread(self) -> Accounts:
        keys = _read_accounts(self._path, self._version)
        if self._keys and not keys:
            raise ValueError("it no longer names any key")
        return keys

    def _use(self, keys: Accounts) -> None:
        self._keys, self._candidate = keys, None
        self.kinds = kinds_of(keys)


def _read_all_again() -> None:
    for file in _files:
        file.read_again()


_files: "weakref.WeakSet[AccountsFile]" = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_read_all_again)

_NOTHING: Payers = {}
_TEAM = "team"
_OF_A_KEY, _OF_A_TEAM = 'team = "search"', 'org = "acme"'


def _version_of(path: Path) -> _Version:
    try:
        found = path.stat()
    except OSError:
        return ()
    # The time of its change of state too: a permission that is given back changes nothing else.
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=1)
def _read_accounts(path: Path, _: _Version) -> Accounts:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        # Only where: the parser's words may quote the name of a table, which may be a token.
        place = re.search(r"\((at [^()]*)\)$", str(error))
        raise ValueError(f"{path}: this is not TOML{f', {place[1]}' if place else ''}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    keys, teams = document.pop("keys", {}), document.pop("teams", {})
    if document or not isinstance(keys, dict) or not isinstance(teams, dict):
        raise ValueError(
            f'{path}: accepted are tables such as [keys."1f3a9c0b2d4e5f60"] and [teams."search"] and nothing else'
        )
    for at, key in enumerate(keys, start=1):
        # Not repeated in the message: it may be the token itself.
        if not KEY_SUBJECT.fullmatch(key.lower()):
            raise ValueError(
                f"{path}: [keys], entry {at}: accepted is a key's hash, the 16 hex digits that"
                " `budget-middleware key-id` prints after key:"
            )
    of_teams: dict[PayerSubjects, Payers] = {}
    for team, subjects in teams.items():
        table = f'{path}: [teams."{team}"]'
        if not team or (isinstance(subjects, dict) and _TEAM in subjects):
            raise ValueError(f"{table}: accepted is a team's name, with other kinds in its table, such as {_OF_A_TEAM}")
        of_teams[encode_subject(team)] = _read_subjects(table, subjects, example=_OF_A_TEAM)
    of_keys = {
        key.lower(): _read_subjects(f'{path}: [keys."{key}"]', subjects, example=_OF_A_KEY)
        for key, subjects in keys.items()
    }
    return {key: {**of_teams.get(subjects.get(_TEAM), _NOTHING), **subjects} for key, subjects in of_keys.items()}


def _read_subjects(table: str, subjects: Any, *, example: str) -> Payers:
    if not isinstance(subjects, dict):
        raise ValueError(f"{table} must be a table such as {example}")  # noqa: TRY004 - a wrong file, as all others here
    for kind, subject in subjects.items():
        if not can_own_keys(kind) or not _can_be_subjects(kind, subject):
            raise ValueError(
                f'{table} {kind}: accepted is KIND = "SUBJECT", such as {example}, and a list of texts for {TAG}'
            )
    try:
        return {kind: encode_named(kind, subject) for kind, subject in subjects.items()}
    except TooManyTagsError as error:
        raise ValueError(f"{table} {TAG}: {error}") from None


def _can_be_subjects(kind: str, named: object) -> bool:
    if kind == TAG and isinstance(named, list):
        return bool(named) and all(isinstance(tag, str) and tag.strip() for tag in named)
    return isinstance(named, str) and bool(named)
