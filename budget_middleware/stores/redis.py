"""Counters in Redis or Valkey, shared by every worker: one Lua script a verb (``lua/``), one atomic step each."""

import asyncio
import hashlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import resources
from typing import Any
from weakref import WeakKeyDictionary

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from budget_middleware.core.audit import Damage, Flaw
from budget_middleware.core.model import (
    TELLS_RECORDED,
    Adjust,
    Answer,
    Balance,
    Counter,
    CounterProof,
    CounterView,
    Entry,
    Expire,
    Extend,
    Finalize,
    Rejection,
    Release,
    Repair,
    Reservation,
    Reserve,
    State,
    Status,
    Target,
)
from budget_middleware.core.refusals import LoggedRefusal
from budget_middleware.core.windows import Period
from budget_middleware.stores.base import Note, Retention, RuntimeLimits, StoreRefused, StoreUnavailable, Topic
from budget_middleware.stores.packing import (
    counter_name,
    counter_named,
    pack_limit,
    pack_limit_field,
    pack_refusal,
    pack_targets,
    unpack_limits,
    unpack_record,
    unpack_refusal,
    unpack_reservation,
)

MAX_CONNECTIONS = 64
"""Connections a process and event loop; more requests than that wait for one, within the store's time-out."""

_PAGE = 500
_TOTALS = "totals"

_Records = Sequence[tuple[str, dict[str, str]]]

# The server answered, and applied nothing; or what it stores does not parse.
_REFUSALS = (exceptions.ResponseError, exceptions.DataError, ValueError, KeyError)
# No answer, so nobody knows; OSError because redis-py lets some of the socket's own errors through.
_OUTAGES = (exceptions.RedisError, OSError)

_log = logging.getLogger("budget_middleware")


def key_prefix(namespace: str) -> str:
    """The prefix of all keys of one ledger. The braces are a hash tag: they keep a ledger on one cluster node."""
    return f"{{{namespace}}}:"


@cache
def lua_text(name: str) -> str:
    return (resources.files("budget_middleware.stores") / "lua" / f"{name}.lua").read_text("utf-8")


class RedisStore:
    """Counters in a Redis or Valkey server (6.2 or later) at ``url``, under ``namespace``.

    ``timeout_s`` bounds connecting and every reply. Nothing is repeated here: redis-py's own retries are off,
    because whoever repeats a verb must know that an earlier attempt may have been applied.
    """

    # The text that defines `store_time_ms()`; a test's store has another, which its clock moves.
    _clock_script = lua_text("_clock")

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "budget",
        timeout_s: float = 0.5,
        retention: Retention | None = None,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._prefix = key_prefix(namespace)
        self._meta = f"{self._prefix}meta"
        self._notes_key = f"{self._prefix}notes"
        self._refusals_key = f"{self._prefix}refusals"
        kept = retention or Retention()
        self._counters_ms = kept.counters_ms
        self._refusals_max = kept.refusals_max
        self._retention = (
            str(kept.remember_ms),
            str(kept.remember_expired_ms),
            str(kept.counters_ms),
            str(kept.journal_max),
        )
        self._scripts: dict[str, tuple[str, str]] = {}
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[int, Any]] = WeakKeyDictionary()

    # The verbs.

    async def reserve(self, verb: Reserve) -> Answer:
        reply = await self._call(
            "reserve",
            verb.trace,
            verb.id,
            pack_targets(verb.targets),
            str(verb.amount_nanos),
            str(verb.lease_ms),
            str(verb.expiry_charge_nanos),
            "1" if verb.enforce else "0",
            str(verb.limits_version),
        )
        return _answer(reply, verb.id, targets=verb.targets, estimate_nanos=verb.amount_nanos)

    async def finalize(self, verb: Finalize) -> Answer:
        reply = await self._call(
            "finalize",
            verb.trace,
            verb.id,
            pack_targets(verb.targets),
            str(verb.actual_nanos),
            str(verb.age_ms),
            verb.reason,
        )
        return _answer(reply, verb.id)

    async def release(self, verb: Release) -> Answer:
        return _answer(await self._call("release", verb.trace, verb.id, str(verb.age_ms), verb.reason), verb.id)

    async def extend(self, verb: Extend) -> Answer:
        return _answer(await self._call("extend", verb.trace, verb.id, str(verb.lease_ms)), verb.id)

    async def expire(self, verb: Expire) -> Answer:
        return _answer(await self._call("expire", verb.trace, verb.id, verb.reason), verb.id)

    async def adjust(self, verb: Adjust) -> Answer:
        reply = await self._call(
            "adjust",
            verb.trace,
            verb.id,
            pack_targets(verb.targets),
            str(verb.amount_nanos),
            "1" if verb.any_window else "0",
            verb.reason,
        )
        return _answer(reply, verb.id)

    async def repair(self, verb: Repair) -> Answer:
        reply = await self._call(
            "repair",
            verb.trace,
            verb.id,
            pack_targets((verb.target,)),
            str(verb.spent_nanos),
            str(verb.found_at_seq),
            verb.reason,
        )
        return _answer(reply, verb.id)

    async def sweep(self, *, at_most: int, trace: str = "") -> Answer:
        return _answer(await self._call("sweep", trace, str(at_most)))

    async def head(self) -> Answer:
        return _answer(await self._call("head", ""))

    # Limits that operators set at run time.

    async def limits(self) -> RuntimeLimits:
        version, limits, unreadable = await self._limits()
        for field in unreadable:
            # It may be anybody's, and everybody else goes on: doctor and audit tell of it.
            _log.warning("a runtime limit cannot be read and does not bind: %s", field)
        return RuntimeLimits(version, limits)

    async def _limits(self) -> tuple[int, dict[tuple[str, Period], int | None], list[str]]:
        """The version, the limits, and the fields that cannot be read."""
        with _outages_named():
            async with self._client().pipeline(transaction=True) as pipe:
                version, fields = await (
                    pipe.hget(self._meta, "limits_version").hgetall(f"{self._prefix}limits").execute()
                )
            return int(version or 0), *unpack_limits(fields)

    async def set_limit(self, account: str, *, period: Period, limit_nanos: int | None) -> int:
        return await self._change_limits(pack_limit(limit_nanos), pack_limit_field(account, period))

    async def clear_limit(self, account: str, *, period: Period | None) -> int:
        periods = Period if period is None else (period,)
        return await self._change_limits("", *(pack_limit_field(account, each) for each in periods))

    async def _change_limits(self, limit: str, *fields: str) -> int:
        return _answer(await self._call("limit", "", limit, " ".join(fields))).limits_version

    # What operators read: off the path of requests, so it may scan.

    async def counters(self, account: str | None = None) -> Sequence[CounterView]:
        names = await self._names("c", account)
        return [
            CounterView(counter, Balance(spent, reserved - sum(due)), adjusted)
            async for counter, (spent, reserved, adjusted, _), _, due in self._inspected(names)
        ]

    async def proofs(self) -> Sequence[CounterProof]:
        written, held_on = await self._names("c"), await self._names("p")
        return [
            CounterProof(
                counter,
                Balance(spent, reserved),
                adjusted,
                pending=len(held) + len(due),
                pending_nanos=sum(held) + sum(due),
                seen_at_seq=seq,
            )
            async for counter, (spent, reserved, adjusted, seq), held, due in self._inspected(written | held_on)
            # Of a counter that is gone its leases may be left, and should show.
            if counter in written or sum(held) + sum(due)
        ]

    async def _names(self, kind: str, account: str | None = None) -> set[Counter]:
        """The counters that have a key of that kind."""
        names = f"{account}|*" if account is not None else "*"
        found: set[Counter] = set()
        async for key in self._scanned(f"{kind}:{names}"):
            with suppress(ValueError):
                found.add(counter_named(key.partition(":")[2]))
        return found

    async def _inspected(
        self, counters: set[Counter]
    ) -> AsyncIterator[tuple[Counter, list[int], list[int], list[int]]]:
        """Each sound counter's figures, then the amounts that lasting leases and due ones hold on it."""
        for counter in sorted(counters):
            # A damaged one is told by `damage`, and hides no other.
            with suppress(StoreRefused, ValueError):
                *figures, held, due = await self._call("inspect", "", counter_name(counter))
                yield counter, _ints(figures), _ints(held), _ints(due)

    async def _scanned(self, pattern: str) -> AsyncIterator[str]:
        """Keys of this ledger, without their prefix; a scan may tell one twice."""
        with _outages_named():
            async for key in self._client().scan_iter(match=_escaped(f"{self._prefix}{pattern}"), count=_PAGE):
                yield key.removeprefix(self._prefix)

    async def damage(self, *, mend: bool = False) -> Sequence[Damage]:
        # Totals are looked at last: they follow from the leases. Where nobody wrote any, that is wrong too.
        names = sorted({name async for name in self._scanned("*")} - {_TOTALS})
        flaws: set[tuple[str, str]] = set()
        for page in (*(names[at : at + _PAGE] for at in range(0, len(names), _PAGE)), [_TOTALS]):
            reply = await self._call("examine", "", "1" if mend else "0", str(len(page)), *page)
            flaws |= set(zip(reply[1::2], reply[::2], strict=True))
        found = [Damage(f"{self._prefix}{key}", Flaw(flaw)) for key, flaw in sorted(flaws)]
        # Where these are of another type altogether, that is told already.
        with suppress(StoreRefused):
            found += [Damage(f"{self._prefix}limits {field}", Flaw.UNREADABLE) for field in (await self._limits())[2]]
        for name, readable in (("journal", _entries), ("refusals", _refusals)):
            with suppress(StoreRefused):
                found += [
                    Damage(f"{self._prefix}{name} {id_}", Flaw.UNREADABLE)
                    async for id_ in self._unreadable(f"{self._prefix}{name}", readable)
                ]
        return found

    async def _unreadable(self, stream: str, readable: Callable[[_Records], list[Any]]) -> AsyncIterator[str]:
        """The ids of a stream's records that cannot be read."""
        after, is_over = "-", False
        while not is_over:
            with _outages_named():
                records = await self._client().xrange(stream, after, "+", _PAGE)
            for id_, fields in records:
                after = f"({id_}"
                if not readable([(id_, fields)]):
                    yield id_
            is_over = not records

    async def holds(self) -> Sequence[Reservation]:
        now_ms = (await self.head()).now_ms
        with _outages_named():
            client = self._client()
            ids = await client.zrangebyscore(f"{self._prefix}leases", f"({now_ms}", "+inf")
            async with client.pipeline(transaction=False) as pipe:
                for id_ in ids:
                    pipe.hmget(f"{self._prefix}r:{id_}", *_RESERVATION_FIELDS)
                records = await pipe.execute(raise_on_error=False)
        found = [_readable(id_, fields) for id_, fields in zip(ids, records, strict=True)]
        # Some may have ended since their ids were read, and what cannot be booked is due and still there.
        held = [hold for hold in found if hold and hold.state is State.PENDING and not hold.is_due(now_ms)]
        return sorted(held, key=lambda reservation: (reservation.created_ms, reservation.id))

    async def reserved_by_kind(self) -> Mapping[str, int]:
        with _outages_named():
            totals = await self._client().hgetall(f"{self._prefix}{_TOTALS}")
        return {kind: int(nanos) for kind, nanos in totals.items() if nanos.removeprefix("-").isdecimal()}

    async def journal(self, *, after_seq: int, count: int) -> Sequence[Entry]:
        after = f"{after_seq + 1}-0"
        while True:
            with _outages_named():
                records = await self._client().xrange(f"{self._prefix}journal", after, "+", count)
            entries = [entry for entry in _entries(records) if entry.seq > after_seq]
            if entries or not records:
                return entries
            after = f"({records[-1][0]}"

    async def latest(self, *, count: int, account: str | None = None) -> Sequence[Entry]:
        found: list[Entry] = []
        before = "+"
        while len(found) < count:
            with _outages_named():
                records = await self._client().xrevrange(f"{self._prefix}journal", before, "-", _PAGE)
            if not records:
                break
            before = f"({records[-1][0]}"
            found += [
                entry
                for record in records
                for entry in reversed(_entries([record]))
                if account in (None, entry.counter.account)
            ]
        return found[:count][::-1]

    async def note(self, topic: Topic, text: str) -> None:
        now_ms = (await self.head()).now_ms
        with _outages_named():
            async with self._client().pipeline(transaction=True) as pipe:
                pipe.hset(self._notes_key, f"{topic}|{text}", str(now_ms))
                await pipe.pexpire(self._notes_key, self._counters_ms).execute()

    async def notes(self) -> Sequence[Note]:
        since_ms = (await self.head()).now_ms - self._counters_ms
        with _outages_named():
            fields = await self._client().hgetall(self._notes_key)
        kept: list[Note] = []
        for field, time_ms in fields.items():
            topic, _, text = field.partition("|")
            with suppress(ValueError):
                if int(time_ms) > since_ms:
                    kept.append(Note(Topic(topic), text, int(time_ms)))
        return sorted(kept, key=lambda note: (note.topic, note.text))

    async def note_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        with _outages_named():
            async with self._client().pipeline(transaction=True) as pipe:
                for refusal in refusals:
                    pipe.xadd(self._refusals_key, pack_refusal(refusal), maxlen=self._refusals_max, approximate=False)
                await pipe.pexpire(self._refusals_key, self._counters_ms).execute()

    async def refusals(self) -> Sequence[LoggedRefusal]:
        since_ms = (await self.head()).now_ms - self._counters_ms
        with _outages_named():
            records = await self._client().xrange(self._refusals_key)
        kept = [refusal for refusal in _refusals(records) if refusal.time_ms > since_ms]
        return sorted(kept, key=lambda refusal: refusal.time_ms)

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        _, client = self._clients.pop(asyncio.get_running_loop(), (0, None))
        if client is not None:
            await client.aclose(close_connection_pool=True)

    # Any, because redis-py types every reply as whatever any version and option of it may give.
    def _client(self) -> Any:
        """A client for this process and event loop: connections survive neither a fork nor their loop."""
        loop = asyncio.get_running_loop()
        pid, client = self._clients.get(loop, (0, None))
        if client is None or pid != os.getpid():
            client = self._connect()
            self._clients[loop] = (os.getpid(), client)
        return client

    def _connect(self) -> Any:
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=MAX_CONNECTIONS,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        return Redis(connection_pool=pool)

    def _script(self, name: str) -> tuple[str, str]:
        if name not in self._scripts:
            text = "\n".join((self._clock_script, lua_text("_shared"), lua_text(name)))
            digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            self._scripts[name] = (digest, text)
        return self._scripts[name]

    async def _call(self, name: str, trace: str, *arguments: str) -> list[Any]:
        digest, text = self._script(name)
        # A fresh candidate each time: a store that is emptied twice must not get the same generation again.
        call = ("1", self._meta, self._prefix, secrets.token_hex(8), *self._retention, trace, *arguments)
        client = self._client()
        with _outages_named():
            try:
                reply = await client.execute_command("EVALSHA", digest, *call)
            except exceptions.NoScriptError:
                # A restarted server, or one whose script cache was flushed, has applied nothing.
                reply = await client.execute_command("EVAL", text, *call)
        return list(reply)


_RESERVATION_FIELDS = ("state", "targets", "amount", "charge", "actual", "created", "deadline", "trace")


@contextmanager
def _outages_named() -> Iterator[None]:
    """Tells what redis-py raises as one of the two errors of the Store protocol."""
    try:
        yield
    except _REFUSALS as error:
        raise StoreRefused(str(error)) from error
    except _OUTAGES as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


def _answer(reply: Sequence[Any], id_: str = "", *, targets: Sequence[Target] = (), estimate_nanos: int = 0) -> Answer:
    status, now_ms, generation, seq, version, recorded, rejection, records, balances = reply
    status = Status(status)
    return Answer(
        status=status,
        now_ms=int(now_ms),
        generation=generation,
        seq=int(seq),
        limits_version=int(version),
        recorded=unpack_reservation(id_, recorded) if recorded and status in TELLS_RECORDED else None,
        rejection=_rejection(rejection, targets, estimate_nanos) if rejection else None,
        entries=tuple(entry for record in records for entry in unpack_record(_pairs(record))),
        balances=tuple(
            Balance(int(spent), int(reserved)) for spent, reserved in zip(balances[::2], balances[1::2], strict=True)
        ),
    )


def _rejection(reply: Sequence[Any], targets: Sequence[Target], estimate_nanos: int) -> Rejection:
    index, spent, reserved = reply
    return Rejection(targets[int(index) - 1], Balance(int(spent), int(reserved)), estimate_nanos)


def _ints(words: Sequence[str]) -> list[int]:
    return [int(word) for word in words]


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _entries(records: _Records) -> list[Entry]:
    """The entries of the records that can be read."""
    entries: list[Entry] = []
    for id_, fields in records:
        with suppress(ValueError, KeyError):
            entries += unpack_record({**fields, "last_seq": id_.split("-")[0]})
    return entries


def _refusals(records: _Records) -> list[LoggedRefusal]:
    """The refusals of the records that can be read."""
    refusals: list[LoggedRefusal] = []
    for _, fields in records:
        with suppress(ValueError, KeyError):
            refusals.append(unpack_refusal(fields))
    return refusals


def _readable(id_: str, fields: Sequence[str | None] | Exception) -> Reservation | None:
    if isinstance(fields, Exception) or None in fields:
        return None
    with suppress(ValueError):
        return unpack_reservation(id_, fields)  # type: ignore[arg-type]
    return None


def _escaped(pattern: str) -> str:
    """Glob characters of the key itself, taken literally; its ``*`` at the end stays one."""
    return "".join(f"\\{letter}" if letter in "[]?^\\" else letter for letter in pattern)
