"""A reservation as its owner sees it."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from budget_middleware.core.model import Target
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.telemetry import ParentContext, Told, names


@dataclass(slots=True, eq=False)
class Hold:
    """What one request asks to reserve; its id is made here, before the store hears of it.

    ``other_models`` are those that may serve it too: their limits bind it as those of ``model``. ``targets`` are the
    counters as last sent to the store: enough to book the cost even if the store never saw, or has lost, the
    reservation. ``told`` are attributes of its spans. ``is_uncertain`` says that an attempt to reserve got no answer;
    ``is_local``, that this worker alone holds it, for the store is away; ``since_s`` is when it was made, on the
    monotonic clock.
    """

    payers: Mapping[str, str | None]
    amount_nanos: int
    model: str = ""
    other_models: tuple[str, ...] = ()
    expiry_charge_nanos: int = 0
    context: ParentContext = None
    told: Told = dict
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    targets: tuple[Target, ...] = ()
    reserve_trace: str = ""
    is_uncertain: bool = False
    is_local: bool = False
    since_s: float = field(default_factory=time.monotonic)

    def told_of_reserve(self) -> names.Attributes:
        return {names.ESTIMATE_USD: self.amount_nanos / NANOS_PER_USD, **self.told()}
