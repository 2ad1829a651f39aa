"""Changes of one runtime limit, and of all that an account has, in terms of the one verb that changes limits."""

from abc import abstractmethod

from budget_middleware.core.limits.limits import Slot, Terms
from budget_middleware.core.windows import Period
from budget_middleware.stores.runtime_limits import SlotChanges


class LimitChanges:
    """The part of every store that is the same in all. See ``Store``."""

    @abstractmethod
    async def change_limits(
        self, account: str, changes: SlotChanges, *, at_version: int | None = None
    ) -> int | None: ...

    async def set_limit(self, account: str, *, period: Period, limit_nanos: int | None) -> int:
        return await self._change(account, {Slot(period): Terms(limit_nanos)})

    async def clear_limit(self, account: str, *, period: Period | None) -> int:
        return await self._change(account, {None if period is None else Slot(period): None})

    async def _change(self, account: str, changes: SlotChanges) -> int:
        version = await self.change_limits(account, changes)
        assert version is not None, "it was bound to no version"
        return version
