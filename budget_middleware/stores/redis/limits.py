"""Runtime limits in Redis: what gateways and operators read, and how a store of an older version is indexed.

See `lua/_limits.lua` for the keys.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from budget_middleware.core.limits.shapes import shape_of
from budget_middleware.core.payers.accounts import canonical_pattern
from budget_middleware.core.statuses import Status
from budget_middleware.stores.limit_changes import LimitChanges
from budget_middleware.stores.records.limit_fields import (
    FIELDS,
    pack_changes,
    pack_limit_field,
    pack_limit_value,
    unpack_limit_field,
    unpack_limits,
)
from budget_middleware.stores.redis import keys
from budget_middleware.stores.redis.client_errors import outages_named
from budget_middleware.stores.redis.damage import RedisDamage
from budget_middleware.stores.redis.replies import answer_of
from budget_middleware.stores.redis.side_records import RedisSideRecords
from budget_middleware.stores.runtime_limits import (
    KnownLimits,
    LimitKey,
    LimitNews,
    LimitValue,
    RuntimeLimits,
    SlotChanges,
    WrittenBack,
)

_NO_LIMIT_KNOWN = "."

_INDEXED_AT_ONCE, _INDEX_PAUSE_S = 250, 0.01
"""An index is made beside requests: a page takes less than a millisecond of the event loop, one in ten of its time."""

_log = logging.getLogger("budget_middleware")


class RedisLimits(RedisDamage, RedisSideRecords, LimitChanges):
    """The part of the store that reads, indexes, changes and writes back runtime limits."""

    async def limits(self) -> RuntimeLimits:
        version = (await self.head()).limits_version
        limits: dict[LimitKey, LimitValue] = {}
        async for page in self._limit_pages():
            limits |= page.limits
            for field in page.unreadable:
                _warn_of(field)
        return RuntimeLimits(version, limits)

    async def limit_news(self, patterns: Sequence[str], *, since_version: int) -> LimitNews:
        fields = [pack_limit_field(pattern, field) for pattern in patterns for field in FIELDS]
        reply = await self._call("limit_news", "", str(since_version), " ".join(fields))
        with outages_named():
            return _news_of(reply, fields)

    async def change_limits(self, account: str, changes: SlotChanges, *, at_version: int | None = None) -> int | None:
        pattern = canonical_pattern(account)
        bound_to = "" if at_version is None else str(at_version)
        words = chain.from_iterable(pack_changes(changes))
        reply = await self._call("limit", "", pattern, shape_of(pattern), bound_to, self._limit_changes_max, *words)
        answer = answer_of(reply)
        return None if answer.status is Status.STALE_LIMITS else answer.limits_version

    async def index_limits(self) -> bool:
        """In pages, for there may be 100,000 limits; what this version writes meanwhile adds its shape itself."""
        seen_version = (await self.head()).limits_version
        shapes: set[str] = set()
        cursor = None
        while cursor != 0:
            if cursor is not None:
                await asyncio.sleep(_INDEX_PAUSE_S)
            async with self._reading() as client:
                cursor, fields = await client.hscan(f"{self._prefix}{keys.LIMITS}", cursor or 0, count=_INDEXED_AT_ONCE)
            shapes |= {shape_of(field.partition("|")[0]) for field in fields if " " not in field}
        reply: Any = await self._call("index_limits", "", str(seen_version), " ".join(sorted(shapes)))
        return bool(reply == ["1"])

    async def write_back_limits(self, known: KnownLimits) -> WrittenBack:
        words: list[str] = []
        for pattern, values in known.limits.items():
            limits = (pack_limit_value(values[field]) if field in values else _NO_LIMIT_KNOWN for field in FIELDS)
            words += (pattern, shape_of(pattern), " ".join(limits))
        version, changed = await self._call(
            "write_back_limits",
            "",
            known.generation,
            str(known.version),
            "1" if known.reports_loss else "0",
            self._limit_changes_max,
            self._remember_expired_ms,
            " ".join(FIELDS),
            *words,
        )
        return WrittenBack(int(version), frozenset(map(unpack_limit_field, changed)))


def _news_of(reply: Sequence[Any], asked: Iterable[str]) -> LimitNews:
    generation, version, lineage, shapes, is_indexed, changed, their_limits, limits = reply
    found: dict[LimitKey, LimitValue] = {}
    for fields, values in ((changed or (), their_limits), (asked, limits)):
        for field, value in zip(fields, values, strict=True):
            if value is not None:
                _read_into(found, field, value)
    return LimitNews(
        generation,
        int(version),
        lineage,
        frozenset(shapes.split()),
        is_indexed=is_indexed == "1",
        changed=None if changed is None else frozenset(_readable(changed)),
        limits=found,
    )


def _read_into(limits: dict[LimitKey, LimitValue], field: str, value: str) -> None:
    read, unreadable = unpack_limits({field: value})
    limits |= read
    for each in unreadable:
        _warn_of(each)


def _readable(fields: Iterable[str]) -> Iterable[LimitKey]:
    for field in fields:
        try:
            yield unpack_limit_field(field)
        except ValueError:
            continue


def _warn_of(field: str) -> None:
    # It affects its own accounts only; doctor and audit report it.
    _log.warning("a runtime limit cannot be read and does not bind: %s", field)
