"""A reservation as its owner sees it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from budget_middleware.core.model import Target
from budget_middleware.telemetry import Attributes, ParentContext


@dataclass(slots=True, eq=False)
class Hold:
    """What one request asks to reserve; its id is made here, before the store hears of it.

    ``targets`` are the counters as last sent to the store: enough to book the cost even if the store never saw,
    or has lost, the reservation. ``is_uncertain`` says that an attempt to reserve got no answer.
    """

    payers: Mapping[str, str | None]
    amount_nanos: int
    model: str = ""
    expiry_charge_nanos: int = 0
    context: ParentContext = None
    attributes: Attributes = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    targets: tuple[Target, ...] = ()
    reserve_trace: str = ""
    is_uncertain: bool = False
