"""Changes of dictionaries that one verb has made, and how to take them back."""

from typing import Any, Final, TypeVar

from budget_middleware.stores.sql.batch_data import Wanted

_MISSING: Final = object()
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class NotLoaded(Exception):
    """A verb needs more than what was read."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self.wanted = wanted


class Changes:
    """What was in the place of each change."""

    def __init__(self) -> None:
        self._before: list[tuple[dict[Any, Any], Any, Any]] = []

    def set(self, changed: dict[_Key, _Value], key: _Key, value: _Value) -> None:
        """Put a value into one of the dictionaries."""
        self._before.append((changed, key, changed.get(key, _MISSING)))
        changed[key] = value

    def keep(self) -> None:
        """They stand, whatever becomes of those that follow."""
        self._before.clear()

    def undo(self) -> None:
        """Take them back, the last one first."""
        for changed, key, before in reversed(self._before):
            if before is _MISSING:
                del changed[key]
            else:
                changed[key] = before
        self._before.clear()
