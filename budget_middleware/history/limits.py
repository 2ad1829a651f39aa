"""Runtime limits as a history has them: what each was after its last change."""

from budget_middleware.core.windows import Period
from budget_middleware.history.connections import HistoryDatabase
from budget_middleware.stores.records.limit_fields import unpack_limit_value
from budget_middleware.stores.runtime_limits import MORE, LimitKey, LimitValue


def limits_as_of(database: HistoryDatabase, ledger: str, *, number: int) -> dict[LimitKey, LimitValue]:
    """All runtime limits after what the first ``number`` generations said of them."""
    rows = database.fetch(
        "select c.pattern, c.field, c.value from limit_changes c"
        " join progress p on p.ledger = c.ledger and p.generation = c.generation"
        " where c.ledger = ? and p.number <= ? order by p.number, c.version",
        (ledger, number),
    )
    limits: dict[LimitKey, LimitValue] = {}
    for pattern, field, text in rows:
        key: LimitKey = (pattern, field if field == MORE else Period(field))
        if text is None:
            limits.pop(key, None)
        else:
            limits[key] = unpack_limit_value(key, text)
    return limits
