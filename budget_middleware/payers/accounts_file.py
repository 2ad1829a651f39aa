"""`BUDGET_ACCOUNTS_FILE`: which team, user and other account a key belongs to."""

import logging
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from budget_middleware.core.accounts import GLOBAL, KEY, KEY_SUBJECT, KIND, MODEL, encode_subject

_REREAD_S = 1.0

_log = logging.getLogger("budget_middleware")


def is_told_of_keys(kind: str) -> bool:
    """Whether a key may be told to belong to an account of this kind: `key` itself, `model` and `global` are not."""
    return KIND.fullmatch(kind) is not None and kind not in (KEY, MODEL, GLOBAL)


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
    for at, key in enumerate(keys, start=1):
        # Not repeated in the message: it may be the token itself.
        if not KEY_SUBJECT.fullmatch(key.lower()):
            raise ValueError(
                f"{path}: [keys], entry {at}: accepted is a key's hash, the 16 hex digits that"
                " `budget-middleware key-id` tells after key:"
            )
    return {key.lower(): _read_subjects(path, key, subjects) for key, subjects in keys.items()}


def _read_subjects(path: Path, key: str, subjects: Any) -> dict[str, str]:
    if not isinstance(subjects, dict):
        raise ValueError(  # noqa: TRY004 - a wrong file, as all the others here
            f'{path}: [keys."{key}"] must be a table such as team = "search"'
        )
    for kind, subject in subjects.items():
        if not is_told_of_keys(kind) or not isinstance(subject, str) or not subject:
            raise ValueError(f'{path}: [keys."{key}"] {kind}: accepted is KIND = "SUBJECT", such as team = "search"')
    return {kind: encode_subject(subject) for kind, subject in subjects.items()}
