"""What changes Claude's prices: the fast mode, and the region in which it answers.

Anthropic's usage reports both, and gateways pass them on in the usage of a chat.
"""

from collections.abc import Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import name_in
from budget_middleware.apis.protocol.seen import Seen

# Of models that are served in no region in particular.
_NO_REGION: Final = "not_available"


def take_speed(usage: Mapping[str, object], seen: Seen) -> None:
    """Take over the fast mode, which is priced as a service tier."""
    if usage.get("speed") == "fast":
        seen.service_tier = "fast"


def region_in(usage: Mapping[str, object]) -> str | None:
    """The region that a usage reports, if it does."""
    region = name_in(usage, "inference_geo")
    return region if region != _NO_REGION else None


def take_speed_and_region(usage: Mapping[str, object], seen: Seen) -> None:
    """Take over both from the usage of a message."""
    take_speed(usage, seen)
    if region := region_in(usage):
        seen.modes = (region,)
