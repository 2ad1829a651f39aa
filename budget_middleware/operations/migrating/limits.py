"""Sets the source's runtime limits at the destination."""

from collections.abc import Mapping
from functools import partial

from budget_middleware.core.limits.limits import Slot, Terms
from budget_middleware.operations.migrating.renaming import Renaming
from budget_middleware.operations.migrating.sides import Side
from budget_middleware.stores.records.limit_fields import rules_of
from budget_middleware.stores.runtime_limits import NO_VERSION, Limits, LimitValue, SlotChanges

Fields = Mapping[str, Mapping[str, LimitValue]]
"""What each pattern has, by its fields."""


class LimitCopy:
    """While a migration runs, the limits of the source lead: a pattern that it changes is set as it has it."""

    def __init__(self, source: Side, destination: Side, renaming: Renaming) -> None:
        self._source = source
        self._destination = destination
        self._renaming = renaming
        self._version = NO_VERSION
        self._copied: Fields = {}

    @property
    def patterns(self) -> int:
        return len(self._copied)

    async def copy(self, *, version: int) -> None:
        """What has changed by a version of the source's limits."""
        if version == self._version:
            return
        wanted, found = await self._read(self._source), await self._read(self._destination)
        for pattern in {*wanted, *self._copied}:
            if wanted.get(pattern, {}) != found.get(pattern, {}):
                changes = _replacing(pattern, wanted.get(pattern, {}))
                await self._destination.ask(partial(self._destination.store.change_limits, pattern, changes))
        self._version, self._copied = version, wanted

    async def unequal(self) -> tuple[str, ...]:
        """Patterns of the source that have other limits at the destination."""
        wanted, found = await self._read(self._source), await self._read(self._destination)
        return tuple(sorted(pattern for pattern, fields in wanted.items() if found.get(pattern) != fields))

    async def _read(self, side: Side) -> Fields:
        renaming = self._renaming if side is self._source else Renaming()
        return _by_pattern((await side.ask(side.store.limits)).limits, renaming)


def _replacing(pattern: str, fields: Mapping[str, LimitValue]) -> SlotChanges:
    """What makes a pattern have these fields, whatever it had."""
    changes: dict[Slot | None, Terms | None] = {None: None}
    changes.update({rule.slot: rule.terms for rule in rules_of(pattern, fields)})
    return changes


def _by_pattern(limits: Limits, renaming: Renaming) -> Fields:
    found: dict[str, dict[str, LimitValue]] = {}
    for (pattern, field), value in limits.items():
        found.setdefault(renaming.account(pattern), {})[field] = value
    return found
