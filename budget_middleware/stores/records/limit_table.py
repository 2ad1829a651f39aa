"""Runtime limits, and what becomes of them: the executable specification of `lua/_limits.lua`. No lock, no clock.

The memory store keeps a table for its whole life; a store over a database fills one with what concerns a call.
"""

from collections.abc import Iterable

from budget_middleware.core.limits.shapes import shape_of
from budget_middleware.stores.records.limit_fields import FIELDS, changed_fields, pack_changes, unpack_limit_value
from budget_middleware.stores.runtime_limits import (
    MORE,
    REPORTED_CHANGES_MAX,
    KnownLimits,
    LimitKey,
    LimitNews,
    LimitValue,
    SlotChanges,
    WrittenBack,
)


class LimitTable:
    """The limits, the last change of each, and the shapes of their patterns.

    The log of changes is complete for every version after ``log_from``; ``changes_max`` bounds it.
    """

    def __init__(self, *, changes_max: int) -> None:
        self.version = 0
        self.limits: dict[LimitKey, LimitValue] = {}
        self._changes_max = changes_max
        self.log: dict[LimitKey, int] = {}
        self.log_from = 0
        # Those of limits that are gone stay: looking for a pattern in vain is harmless.
        self.shapes: set[str] = set()
        self.lineage = ""
        # As of which version a worker knew what it has written back.
        self.known_at: dict[LimitKey, int] = {}

    def change(self, pattern: str, changes: SlotChanges, *, now_ms: int) -> None:
        more = self.limits.get((pattern, MORE), "")
        assert isinstance(more, str)
        changed = changed_fields(more, pack_changes(changes))
        for field, value in changed.items():
            key = (pattern, field)
            if value:
                self._put(key, unpack_limit_value(key, value))
            else:
                self.limits.pop(key, None)
        if changed:
            self._log_changes([(pattern, field) for field in changed], now_ms=now_ms)

    def news(self, patterns: Iterable[str], *, since_version: int, generation: str) -> LimitNews:
        changed = self._changed_since(since_version)
        asked = {(pattern, field) for pattern in patterns for field in FIELDS} | (changed or frozenset())
        return LimitNews(
            generation,
            self.version,
            self.lineage,
            frozenset(self.shapes),
            is_indexed=True,
            changed=changed,
            limits={key: self.limits[key] for key in asked if key in self.limits},
        )

    def write_back(self, known: KnownLimits, *, generation: str, token: str, now_ms: int) -> WrittenBack:
        is_same_store = known.generation == generation
        written: dict[LimitKey, int] = {}
        for pattern, values in known.limits.items():
            for field in FIELDS:
                key = (pattern, field)
                is_same = values.get(field, _NOTHING) == self.limits.get(key, _NOTHING)
                if is_same or not self._is_older_here(key, known.version, is_same_store=is_same_store):
                    continue
                if field in values:
                    self._put(key, values[field])
                else:
                    self.limits.pop(key, None)
                written[key] = known.version
        if is_same_store and known.reports_loss:
            self.lineage = token
        if written:
            self._log_changes(written, now_ms=max(now_ms, known.version + 1))
            self.known_at |= written
        return WrittenBack(self.version, frozenset(written))

    def _put(self, key: LimitKey, value: LimitValue) -> None:
        self.limits[key] = value
        self.shapes.add(shape_of(key[0]))

    def _log_changes(self, keys: Iterable[LimitKey], *, now_ms: int) -> None:
        self._advance(now_ms)
        for key in keys:
            self.known_at.pop(key, None)
            self.log.pop(key, None)
            self.log[key] = self.version
        for key in list(self.log)[: max(0, len(self.log) - self._changes_max)]:
            self.log_from = self.log.pop(key)

    def _advance(self, now_ms: int) -> None:
        # A time, not a count: a store that starts again must not come to a version that stood for other limits.
        self.version = max(self.version + 1, now_ms)

    def _changed_since(self, version: int) -> frozenset[LimitKey] | None:
        if version < self.log_from:
            return None
        changed = frozenset(key for key, at in self.log.items() if at > version)
        return changed if len(changed) <= REPORTED_CHANGES_MAX else None

    def _is_older_here(self, key: LimitKey, known_at: int, *, is_same_store: bool) -> bool:
        """Whether what is here of a limit, if anything, is older than what a worker knew at a version."""
        if key in self.known_at:
            return self.known_at[key] < known_at
        if not is_same_store:
            # Whatever is in a store that began again came after the loss.
            return key not in self.limits and key not in self.log
        if key in self.log:
            return self.log[key] <= known_at
        return self.log_from <= known_at or key not in self.limits


_NOTHING = object()
