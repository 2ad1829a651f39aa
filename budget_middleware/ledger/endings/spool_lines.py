"""The lines of a spool file: an ending as JSON, and which JSON is accepted as one.

A line outlives the process and perhaps the version that wrote it, and books money when it is read. So each field is
checked against what a ledger writes; a line that differs in any of them is no ending. ``v`` is the format: a line
without one is of the previous format.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

from budget_middleware.core.model import Target
from budget_middleware.core.money import MAX_NANOS
from budget_middleware.core.payers.accounts import names_raw_key, parse_account, parts_of
from budget_middleware.core.units import NOTHING, Amounts, Unit
from budget_middleware.core.verbs import Finalize, Release
from budget_middleware.core.windows import FOREVER_MS, Window
from budget_middleware.stores.records import previous as previous_records
from budget_middleware.stores.records.records import FORMAT, NewerFormat, pack_targets, unpack_targets

MAX_TARGETS = 256
"""Far more counters than one request has."""
_DAY_MS = 86_400_000

_ID = re.compile(r"[0-9a-f]{32}")
_AMOUNT = re.compile(r"[0-9]{1,16}")
_TRACE = re.compile(r"(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?")
_WINDOW_ID = re.compile(r"[0-9A-Za-z:+-]{1,40}")
_REASON = re.compile(r"[^\x00-\x1f\x7f]{0,500}")
_BILL = re.compile(r"[\x20-\x7e]{0,2000}")


@dataclass(frozen=True, slots=True)
class SpooledEnding:
    """An ending, when it was first tried (milliseconds since the epoch, by this machine's clock), and for whom."""

    ending: Finalize | Release
    since_ms: int
    reserve_trace: str = ""

    @property
    def key(self) -> str:
        return f"{type(self.ending).__name__.lower()} {self.ending.id}"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def to_line(spooled: SpooledEnding) -> str:
    ending = spooled.ending
    document: dict[str, object] = {
        "v": FORMAT,
        "owed": type(ending).__name__.lower(),
        "id": ending.id,
        "since_ms": spooled.since_ms,
        "reason": ending.reason,
        "reserve_trace": spooled.reserve_trace,
    }
    if isinstance(ending, Finalize):
        document["counters"] = pack_targets(ending.targets).split("\n")
        document["actual"] = {unit: str(ending.actual.of(unit)) for unit in Unit if ending.actual.of(unit)}
        if ending.bill:
            document["bill"] = ending.bill
    return json.dumps(document) + "\n"


def settled_line(key: str) -> str:
    return json.dumps({"settled": key}) + "\n"


def from_line(line: str) -> SpooledEnding | str:
    """The ending that is owed, or the key of one that is settled. ValueError, in one line, for anything else."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 - a wrong line, as all the others here
    if "settled" in document:
        return _text(document, "settled")
    version = document.get("v", 1)
    if type(version) is not int:
        raise ValueError("v is no number")
    if version > FORMAT:
        raise NewerFormat(version)
    id_, reason = _matched(document, "id", _ID), _matched(document, "reason", _REASON)
    ending: Finalize | Release
    match document.get("owed"):
        case "finalize":
            # Lines of older versions have none.
            bill = _matched(document, "bill", _BILL) if "bill" in document else ""
            ending = Finalize(id_, _targets(document), _actual(document), reason=reason, bill=bill)
        case "release":
            ending = Release(id_, reason=reason)
        case _:
            raise ValueError("owed is neither finalize nor release")
    return SpooledEnding(ending, _since_ms(document), _matched(document, "reserve_trace", _TRACE))


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")  # noqa: TRY004 - as above
    return value


def _matched(document: dict[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = _text(document, name)
    if not form.fullmatch(value):
        raise ValueError(f"{name} has another form")
    return value


def _actual(document: dict[str, Any]) -> Amounts:
    if "v" not in document:
        return Amounts(usd=_amount(document, "actual_nanos"))
    actual = document.get("actual")
    if not isinstance(actual, dict) or not set(actual) <= set(Unit):
        raise ValueError("actual has no amounts by unit")
    return NOTHING._replace(**{unit: _amount(actual, unit) for unit in actual})


def _amount(document: dict[str, Any], name: str) -> int:
    amount = int(_matched(document, name, _AMOUNT))
    if amount > MAX_NANOS:
        raise ValueError(f"{name} is more than any request costs")
    return amount


def _since_ms(document: dict[str, Any]) -> int:
    since_ms = document.get("since_ms")
    # A day: clocks of machines differ, and what is owed since tomorrow would never be too old.
    if type(since_ms) is not int or not 0 <= since_ms <= now_ms() + _DAY_MS:
        raise ValueError("since_ms is no time until now")
    return since_ms


def _targets(document: dict[str, Any]) -> tuple[Target, ...]:
    try:
        targets = _unpacked_targets(document)
        if 0 < len(targets) <= MAX_TARGETS and all(map(_is_sound, targets)):
            return targets
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError("it names no counters of a ledger")


def _unpacked_targets(document: dict[str, Any]) -> tuple[Target, ...]:
    if "v" not in document:
        return previous_records.unpack_targets(_text(document, "targets"))
    return unpack_targets("\n".join(document["counters"]))


def _is_sound(target: Target) -> bool:
    """Whether a ledger may have claimed this counter. ValueError where it is not even an account."""
    return (
        parse_account(target.account) == target.account
        and not names_raw_key(parts_of(target.account))
        and _has_form(target.window)
        and (target.limit is None or 0 <= target.limit <= MAX_NANOS)
    )


def _has_form(window: Window) -> bool:
    return _WINDOW_ID.fullmatch(window.id) is not None and 0 <= window.starts_ms < window.ends_ms <= FOREVER_MS
