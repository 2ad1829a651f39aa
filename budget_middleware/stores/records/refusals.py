"""The fields of a refusal, as a record of a stream."""

from collections.abc import Mapping

from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.stores.records import previous as previous_records
from budget_middleware.stores.records import records


def pack_refusal(refusal: LoggedRefusal) -> dict[str, str]:
    rejection = refusal.rejection
    # The mode came later than the rest, and nearly all are of limits that are enforced.
    mode = {} if refusal.mode is LimitMode.ENFORCE else {"mode": str(refusal.mode)}
    return {
        "v": str(records.FORMAT),
        "time": str(refusal.time_ms),
        "id": refusal.reservation_id,
        "accounts": " ".join(refusal.accounts),
        "target": records.pack_targets((rejection.target,)),
        "spent": str(rejection.balance.spent),
        "reserved": str(rejection.balance.reserved),
        "estimate": str(rejection.estimate),
        "model": refusal.model,
        "trace": refusal.trace,
        "enforced": "1" if refusal.is_enforced else "0",
        "times": str(refusal.times),
        **mode,
    }


def unpack_refusal(fields: Mapping[str, str]) -> LoggedRefusal:
    """ValueError or KeyError for what is none."""
    if "v" in fields:
        records.require_readable(fields["v"])
    unpack_targets = records.unpack_targets if "v" in fields else previous_records.unpack_targets
    (target,) = unpack_targets(fields["target"])
    if target.limit is None:
        raise ValueError("only a limited counter refuses")
    balance = Balance(int(fields["spent"]), int(fields["reserved"]))
    return LoggedRefusal(
        int(fields["time"]),
        fields["id"],
        tuple(fields["accounts"].split()),
        Rejection(target, balance, int(fields["estimate"])),
        model=fields["model"],
        trace=fields["trace"],
        is_enforced=fields["enforced"] == "1",
        times=int(fields["times"]),
        mode=LimitMode(fields.get("mode", LimitMode.ENFORCE)),
    )
