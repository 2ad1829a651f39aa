"""What gateways leave in the store to find again."""

from typing import NamedTuple


class Fact(NamedTuple):
    """A text under a name, and for how long it is still kept by the store's clock."""

    name: str
    text: str
    left_ms: int
