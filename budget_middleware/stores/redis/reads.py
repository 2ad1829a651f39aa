"""Reads of the books for operators: off the path of requests, so it may scan."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from budget_middleware.core.answers import Answer, CounterProof, CounterView, Entry
from budget_middleware.core.model import SERIES, Balance, Counter, Reservation
from budget_middleware.core.statuses import State
from budget_middleware.core.units import Unit
from budget_middleware.stores.records.limit_fields import unpack_limits
from budget_middleware.stores.records.records import counter_named
from budget_middleware.stores.redis import keys
from budget_middleware.stores.redis.link import RedisLink
from budget_middleware.stores.redis.replies import (
    Inspected,
    answer_of,
    known_entries,
    read_entries,
    read_inspected,
    read_recalled,
)
from budget_middleware.stores.runtime_limits import LIMITS_PAGE, LimitsPage

PAGE = 500
_SCANNED_PAGE = 5_000
_INSPECTED_PAGE = 500
"""A server does nothing else meanwhile: so many take it a millisecond."""
_SEARCHED_PAGE = 1_000
_SEARCHED_PAGES = 100
"""A server may hold millions of keys that are not ours."""
JOURNALS = (keys.JOURNAL, keys.VOIDED)


class RedisReads(RedisLink):
    """Counters, reservations and the journal."""

    async def check(self) -> None:
        await self._call("check", "")

    async def head(self) -> Answer:
        return answer_of(await self._call("head", ""))

    # What operators read: off the path of requests, so it may scan.

    async def limits_page(self, cursor: int = 0) -> LimitsPage:
        async with self._reading() as client:
            following, fields = await client.hscan(f"{self._prefix}{keys.LIMITS}", cursor, count=LIMITS_PAGE)
        return LimitsPage(int(following), *unpack_limits(fields))

    async def _limit_pages(self) -> AsyncIterator[LimitsPage]:
        cursor = None
        while cursor != 0:
            page = await self.limits_page(cursor or 0)
            cursor = page.cursor
            yield page

    async def counters(self, account: str | None = None) -> Sequence[CounterView]:
        names = await self._names(keys.COUNTER, account)
        return [
            CounterView(found.counter, Balance(found.spent, found.reserved - sum(found.due)), found.adjusted)
            async for page, _ in self._inspected(names)
            for found in page
        ]

    async def proofs(self) -> Sequence[CounterProof]:
        written, held_on = await self._names(keys.COUNTER), set[Counter]()
        for index in (keys.HELD_ON, keys.PREVIOUS_HELD_ON):
            held_on |= {counter for counter in await self._names(index) if counter.window != SERIES}
        return [
            CounterProof(
                found.counter,
                Balance(found.spent, found.reserved),
                found.adjusted,
                pending=len(found.held) + len(found.due),
                held=sum(found.held) + sum(found.due),
                seen_at_seq=seq,
            )
            async for page, seq in self._inspected(written | held_on)
            for found in page
            # Of a counter that is gone its leases may be left, and should show.
            if found.counter in written or sum(found.held) + sum(found.due)
        ]

    async def _names(self, kind: str, account: str | None = None) -> set[Counter]:
        """The counters that have a key of that kind."""
        names = f"{account}|*" if account is not None else "*"
        found: set[Counter] = set()
        async for key in self._scanned(f"{kind}:{names}"):
            with suppress(ValueError):
                # No name of ours has such a letter, and names are sent one a line.
                if "\n" not in key:
                    found.add(counter_named(key.partition(":")[2]))
        return found

    async def _inspected(self, counters: set[Counter]) -> AsyncIterator[tuple[list[Inspected], int]]:
        """The sound counters in pages, each page as of one seq."""
        ordered = sorted(counters)
        for at in range(0, len(ordered), _INSPECTED_PAGE):
            page = ordered[at : at + _INSPECTED_PAGE]
            seq, lines = await self._call("inspect", "", "\n".join(counter.name for counter in page))
            found = map(read_inspected, page, lines.split("\n"))
            # `damage` reports a damaged one; it hides no other.
            yield [each for each in found if each is not None], int(seq)

    async def _scanned(self, pattern: str) -> AsyncIterator[str]:
        """Keys of this ledger, without their prefix; a scan may return one twice."""
        async with self._reading() as client:
            async for key in client.scan_iter(match=_escaped(f"{self._prefix}{pattern}"), count=_SCANNED_PAGE):
                yield key.removeprefix(self._prefix)

    async def holds(self) -> Sequence[Reservation]:
        now_ms = (await self.head()).now_ms
        ids: list[str] = []
        for index in (keys.HOLDS, keys.PREVIOUS_HOLDS):
            async with self._reading() as client:
                ids += await client.zrangebyscore(f"{self._prefix}{index}", f"({now_ms}", "+inf")
        found = [hold for at in range(0, len(ids), PAGE) for hold in await self._recalled(ids[at : at + PAGE])]
        # Some may have ended since their ids were read, and what cannot be booked is due and still there.
        held = [hold for hold in found if hold.state is State.PENDING and not hold.is_due(now_ms)]
        return sorted(held, key=lambda reservation: (reservation.created_ms, reservation.id))

    async def reservation(self, id_: str) -> Reservation | None:
        found = await self._recalled([id_])
        return found[0] if found else None

    async def _recalled(self, ids: Sequence[str]) -> Sequence[Reservation]:
        return read_recalled(ids, await self._call("recall", "", *ids))

    async def reserved_by_kind(self) -> Mapping[tuple[Unit, str], int]:
        async with self._reading() as client:
            totals = await client.hgetall(f"{self._prefix}{keys.TOTALS}")
        by_kind: dict[tuple[Unit, str], int] = {}
        # A total is of all reservations whose accounts have the same kinds; money needs no unit behind them.
        for field, reserved in totals.items():
            kinds, _, unit = field.partition("|")
            for kind in kinds.split(" ") if reserved.removeprefix("-").isdecimal() else ():
                of = (Unit(unit or Unit.USD), kind)
                by_kind[of] = by_kind.get(of, 0) + int(reserved)
        return by_kind

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:
        after = after_seq
        while True:
            records, after = await self._records("zrangebyscore", f"({after}", "+inf", count)
            entries = [entry for entry in read_entries(records) if entry.seq > after_seq]
            if entries or not records:
                return entries

    async def latest(self, *, count: int, account: str | None = None) -> Sequence[Entry]:
        found: list[Entry] = []
        before = "+inf"
        while len(found) < count:
            records, reached = await self._records("zrevrangebyscore", before, "-inf", PAGE)
            if not records:
                break
            before = f"({reached}"
            found += [
                entry
                for record in records
                # Gateways follow what they understand; operators get the rest too.
                for entry in reversed(known_entries(record))
                if account in (None, entry.counter.account)
            ]
        return found[:count][::-1]

    async def _records(self, command: str, first: str, last: str, count: int) -> tuple[list[str], int]:
        """The next records of the journal and of what was voided, together in order, and how far they reach."""
        async with self._reading() as client, client.pipeline(transaction=True) as pipe:
            for name in JOURNALS:
                getattr(pipe, command)(f"{self._prefix}{name}", first, last, start=0, num=count, withscores=True)
            pages = await pipe.execute()
        is_backwards = command == "zrevrangebyscore"
        found = sorted(((score, record) for page in pages for record, score in page), reverse=is_backwards)
        # One set may have more of those that the other has reached already: they are left for the next page.
        reached = [page[-1][1] for page in pages if len(page) == count]
        bound = (max if is_backwards else min)(reached) if reached else found[-1][0] if found else 0.0
        kept = [record for score, record in found if (score >= bound if is_backwards else score <= bound)]
        return kept, int(bound)

    async def neighbours(self) -> Sequence[str]:
        found: set[str] = set()
        async with self._reading():
            for client in self._clients_of_primaries():
                found |= await _metas_at(client)
        found.discard(self._meta)
        return sorted(key.removeprefix("{").removesuffix(f"}}:{keys.META}") for key in found)


def _escaped(pattern: str) -> str:
    """Glob characters of the key itself, taken literally; its ``*`` at the end stays one."""
    return "".join(f"\\{letter}" if letter in "[]?^\\" else letter for letter in pattern)


async def _metas_at(client: Any) -> set[str]:
    found, cursor = set[str](), 0
    for _ in range(_SEARCHED_PAGES):
        cursor, metas = await client.scan(cursor, match=f"{{*}}:{keys.META}", count=_SEARCHED_PAGE)
        found.update(metas)
        if not cursor:
            break
    return found
