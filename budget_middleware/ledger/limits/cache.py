"""The runtime limits that one event loop of a worker knows: a bounded cache of the store's, valid as of one version.

A store may have 100,000 runtime limits. A request needs those of the few patterns that may bind it, and the shapes of
all patterns show which these are. So the cache remembers, for each pattern that was looked up, its rules or that it has
none. A change in the store comes with its name, and touches only what is known of that name.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from budget_middleware.core.limits.limits import LimitRule
from budget_middleware.core.limits.shapes import Shape, parse_shape, patterns_for, possible_shapes
from budget_middleware.core.payers.payers import Payers, single_payers
from budget_middleware.stores.records.limit_fields import FIELDS, rules_of
from budget_middleware.stores.runtime_limits import KnownLimits, LimitKey, LimitNews, LimitValue

PATTERNS_MAX = 16_384
"""How many patterns with limits are remembered, and besides how many without: keys that a flood of strangers makes up
must not push out those that have a limit."""

POSSIBLE_MAX = PATTERNS_MAX // 2
"""How many patterns are looked up for one request: the cache must know all of them at once."""

Rules = tuple[LimitRule, ...]


class _Bound(NamedTuple):
    """The fields that the store has of a pattern, and the rules that they are."""

    values: Mapping[str, LimitValue]
    rules: Rules


class LimitCache:
    """``epoch`` rises with each change of what is known, so that what was made of it can be checked again.

    A new one knows that there are no limits, which is so in a store of version 0.
    """

    def __init__(self) -> None:
        self.generation = ""
        self.version = 0
        self.lineage = ""
        self.epoch = 0
        self.is_suspect = False
        self._shapes: frozenset[Shape] = frozenset()
        self._is_indexed = True
        self._bound: dict[str, _Bound] = {}
        self._unbound: dict[str, None] = {}

    def patterns(self, payers: Payers, *, model: str) -> tuple[str, ...]:
        """The patterns that may bind a request."""
        shapes = self._shapes
        if not self._is_indexed and not self.is_too_wide(payers, model=model):
            # Until the index is complete, whatever can bind such a request is looked up.
            shapes |= possible_shapes(payers, model=model)
        return patterns_for(payers, model=model, shapes=shapes)

    def is_too_wide(self, payers: Payers, *, model: str) -> bool:
        """Whether too many patterns may bind a request to look for: without an index, many tags of many segments."""
        if self._is_indexed:
            return False
        return len(possible_shapes(payers, model=model)) * len(single_payers(payers)) > POSSIBLE_MAX

    def rules(self, pattern: str) -> Rules | None:
        """The rules of a pattern, none of which may bind; None: not known here."""
        bound = self._bound.pop(pattern, None)
        if bound is not None:
            self._bound[pattern] = bound
            return bound.rules
        return () if pattern in self._unbound else None

    def missing(self, patterns: Iterable[str]) -> list[str]:
        return [pattern for pattern in patterns if pattern not in self._bound and pattern not in self._unbound]

    def has_lost(self, news: LimitNews) -> bool:
        """Whether the store lost limits, or may have, since what is known here was read from it."""
        return self.knows_any and (self.saw_loss(news) or news.lineage != self.lineage)

    def saw_loss(self, news: LimitNews) -> bool:
        """Whether this worker sees it itself, and did not hear of it from another."""
        is_back = news.version < self.version or (self.is_suspect and news.version != self.version)
        return is_back or news.generation != self.generation

    def take(self, news: LimitNews, patterns: Iterable[str]) -> None:
        """Learn what the store said of some patterns, and what has changed since ``version``."""
        is_same = news.generation == self.generation and news.lineage == self.lineage
        changed = news.changed if is_same else None
        if is_same and news.version == self.version:
            # Also where there is no log: a store that an older version wrote has none before its first change.
            changed = frozenset()
        if changed is None:
            self._bound, self._unbound = {}, {}
        else:
            self._change(changed, news.limits)
        for pattern in patterns:
            keys = [(pattern, field) for field in FIELDS]
            self._put(pattern, {key[1]: news.limits[key] for key in keys if key in news.limits})
        shapes = frozenset(_readable(news.shapes))
        if changed is None or changed or shapes != self._shapes or news.is_indexed != self._is_indexed:
            self.epoch += 1
        self.generation, self.version, self.lineage = news.generation, news.version, news.lineage
        self._shapes, self._is_indexed, self.is_suspect = shapes, news.is_indexed, False

    def _change(self, changed: Iterable[LimitKey], limits: Mapping[LimitKey, LimitValue]) -> None:
        for key in changed:
            pattern, field = key
            if self.rules(pattern) is None:
                continue
            values = dict(self._values(pattern))
            values.pop(field, None)
            if key in limits:
                values[field] = limits[key]
            self._put(pattern, values)

    def _put(self, pattern: str, values: Mapping[str, LimitValue]) -> None:
        self._bound.pop(pattern, None)
        self._unbound.pop(pattern, None)
        if values:
            self._bound[pattern] = _Bound(values, rules_of(pattern, values))
            _shorten(self._bound)
        else:
            self._unbound[pattern] = None
            _shorten(self._unbound)

    def _values(self, pattern: str) -> Mapping[str, LimitValue]:
        bound = self._bound.get(pattern)
        return bound.values if bound else {}

    def known(self, *, reports_loss: bool, at_once: int) -> Iterable[KnownLimits]:
        """All that is known here, in portions of so many patterns, those with limits first."""
        patterns = iter([*self._bound, *self._unbound])
        while portion := list(islice(patterns, at_once)):
            limits = {pattern: self._values(pattern) for pattern in portion}
            yield KnownLimits(self.generation, self.version, limits, reports_loss=reports_loss)

    def successor(self) -> "LimitCache":
        """An empty one of another epoch, so that nothing that was made of this one is taken for current."""
        empty = LimitCache()
        empty.epoch = self.epoch
        return empty

    @property
    def knows_any(self) -> bool:
        return bool(self._bound or self._unbound)

    @property
    def limits_known(self) -> int:
        return sum(len(bound.rules) for bound in self._bound.values())


def _readable(shapes: Iterable[str]) -> Iterator[Shape]:
    for text in shapes:
        with suppress(ValueError):
            yield parse_shape(text)


def _shorten(known: MutableMapping[str, Any]) -> None:
    """Forget what has not been asked for the longest."""
    while len(known) > PATTERNS_MAX:
        del known[next(iter(known))]
