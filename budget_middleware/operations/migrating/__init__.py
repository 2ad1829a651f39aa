"""Moves a ledger to another store, namespace or hash secret while its gateways go on.

Theory of operation. Gateways are moved one by one from the old store (the source) to the new one (the destination), and
each request begins and ends at one of them. Meanwhile the destination is led to show, on each counter, what the source
has spent plus what it has booked itself:

    counters  what a counter of the source has spent as of a seq is booked as an adjustment that stands for that amount
              (``Adjust.as_of``). Only a later one replaces it, and the difference is booked. So repeats, late copies
              and new starts come to the same for ever, and losing entries of the source's journal costs nothing but a
              look at all its counters. All progress that there is stands in these records, in the destination.
    holds     what is pending at the source is held at the destination under the same id, without an enforced limit, as
              long as it is pending there. It books nothing: what the request costs comes with the counter.
    endings   an id that was finalized at the source is finalized at the destination too, at nothing, so that a worker
              that sends such an ending again to its new store, from its spool, books nothing twice.
    own use   what the destination has spent and holds by itself is held at the source, so that the source's limits hold
              over both too. It is never booked there.
    limits    the source's runtime limits replace the destination's.

The source's journal says what has changed (`following`). Once the source has been quiet for a while, all of its
counters are read again, and the destination must have booked exactly them already (`proof`).
"""

from budget_middleware.operations.migrating.migration import Migration, migrate
from budget_middleware.operations.migrating.progress import Phase, Progress
from budget_middleware.operations.migrating.proof import MigrationReport, ProofRow
from budget_middleware.operations.migrating.renaming import Renaming, renaming_of

__all__ = [
    "Migration",
    "MigrationReport",
    "Phase",
    "Progress",
    "ProofRow",
    "Renaming",
    "migrate",
    "renaming_of",
]
