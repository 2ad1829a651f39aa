"""Who asks: an operator, as the journal names them, and where a gateway's own login says so."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks, as the journal names them, and whether they may change anything."""

    name: str
    may_write: bool = False


OperatorSource = Callable[[MutableMapping[str, Any]], Awaitable[Operator | None]]
"""The gateway's own login: from an ASGI scope to who asks; None for nobody that may see this."""
