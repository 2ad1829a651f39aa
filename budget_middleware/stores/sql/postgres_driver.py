"""Runs a ledger's transactions in Postgres: verbs of one moment go together, in two round trips.

Theory of operation. Each event loop has one connection that writes, and one that reads for operators.

    verb ──> run ──> waiting ──> _work (a task while verbs wait)
                                   │  begin, lock the ledger's row, read the clock, read what they need    round trip 1
                                   │  (seldom) read what they lead to
                                   │  write, notify, commit                                                round trip 2
                                   └> answers

What comes while a transaction is under way waits for the next one: the busier a worker is, the more verbs share a
commit. Workers take turns by the lock, which Postgres hands over in the order in which they came. The time is read once
the lock is there.

A worker that stands still with the lock is cut off by the server (`idle_in_transaction_session_timeout`), and a server
that stands still by the worker (``wire``). After any error the connection is closed: what was begun is rolled back, and
the next transaction finds the server that takes writes now. If a commit is not answered nobody knows whether it was
done: StoreUnavailable, and the ledger asks again by the same ids.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from budget_middleware.core.answers import Answer
from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.postgres.dialing import check_url
from budget_middleware.databases.postgres.statements import Statement
from budget_middleware.event_loops import PerEventLoop
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.batch import Decided, Verb, decide
from budget_middleware.stores.sql.batch_data import Wanted
from budget_middleware.stores.sql.postgres_lines import Lines
from budget_middleware.stores.sql.postgres_statements import (
    FORGOTTEN_AT_ONCE,
    forgets,
    locking_reads,
    reads,
    snapshot,
    writes,
)
from budget_middleware.stores.sql.postgres_transactions import COMMIT, head_of, load, made_anew, run_script
from budget_middleware.stores.sql.scripts import At, ScriptOf, T
from budget_middleware.stores.sql.storable import require_storable

TOGETHER_MAX: Final = 64
"""So many verbs are decided in one transaction at most: other workers wait for its lock meanwhile."""

FORGETS_EVERY_MS: Final = 1_000

_LISTENS_FOR_S: Final = 3.0
_STILL_THERE: Final = Statement("select 1")
_CLOSES: Final = DatabaseAway("the event loop closes", "ask again from another one")
_NOTHING: Final = Wanted()

_log = logging.getLogger("budget_middleware")


class _Waiting(NamedTuple):
    verb: Verb
    answer: "asyncio.Future[Answer]"


class _Gathered:
    """What one event loop has."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.waiting: list[_Waiting] = []
        self.work: asyncio.Task[None] | None = None


class PostgresDriver:
    """The ledger ``namespace`` in the database at ``url``. ``timeout_s`` bounds connecting and every round trip.

    ValueError, in one line, for a URL that cannot be used. ``clock_ms`` is that of a test.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        timeout_s: float,
        retention: Retention,
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        check_url(url)
        self._retention = retention
        self._clock_ms = clock_ms or _no_clock
        self._gathered = PerEventLoop(lambda: _Gathered(Lines(url, namespace=namespace, timeout_s=timeout_s)))

    def is_silent(self) -> bool:
        return self._gathered.current().lines.silence.is_on

    def run(self, verb: Verb) -> "asyncio.Future[Answer]":
        """The answer to a verb; the future is the caller's, to cancel at will. StoreUnavailable, StoreRefused."""
        require_storable(verb)
        gathered, loop = self._gathered.current(), asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        gathered.waiting.append(_Waiting(verb, answer))
        if gathered.work is None:
            # It begins with the next turn of the loop, and has all verbs of this one.
            gathered.work = loop.create_task(self._work(gathered))
        return answer

    def run_alone(self, verb: Verb) -> "asyncio.Future[Answer]":
        """The same: each round trip has its time-out."""
        return self.run(verb)

    async def write(self, script_of: ScriptOf[T]) -> T:
        """Run a script under the ledger's lock. StoreUnavailable, StoreRefused."""
        lines = self._gathered.current().lines

        async def write() -> T:
            async with lines.writing.turn, lines.writing.transaction() as wire:
                plan = locking_reads(_NOTHING, ledger=lines.ledger, now_ms=self._clock_ms())
                head = head_of(await load(wire, plan))
                return await run_script(wire, script_of(At(lines.ledger, head.now_ms)))

        with faults_named():
            return await made_anew(write)

    async def read(self, script_of: ScriptOf[T]) -> T:
        """Run a script over what is there at one instant. StoreUnavailable, StoreRefused."""
        lines = self._gathered.current().lines

        async def read() -> T:
            async with lines.reading.turn, lines.reading.transaction() as wire:
                head = head_of(await load(wire, snapshot(ledger=lines.ledger, now_ms=self._clock_ms())))
                return await run_script(wire, script_of(At(lines.ledger, head.now_ms)))

        with faults_named():
            return await made_anew(read)

    async def listen(self, on_freed: Callable[[Sequence[str]], object], *, on_ready: Callable[[], object]) -> None:
        """See ``Store``. A connection of its own, that is asked now and then whether it is still there."""
        lines = self._gathered.current().lines
        with faults_named():
            wire = await lines.listen(lambda notice: on_freed(notice.split()))
            try:
                on_ready()
                while not wire.closed.done():
                    await asyncio.wait({wire.closed}, timeout=_LISTENS_FOR_S)
                    await wire.ask([_STILL_THERE])
            finally:
                wire.break_off("nobody listens any more")

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        gathered = self._gathered.pop()
        if gathered is not None:
            gathered.lines.close()

    async def _work(self, gathered: _Gathered) -> None:
        try:
            while gathered.waiting:
                async with gathered.lines.writing.turn:
                    batch = [each for each in gathered.waiting[:TOGETHER_MAX] if not each.answer.done()]
                    del gathered.waiting[:TOGETHER_MAX]
                    if batch:
                        await self._transact(gathered.lines, batch)
        finally:
            # Not by a callback: who has just got an answer may ask before that is called.
            gathered.work = None
            _fail(gathered.waiting, _CLOSES)

    async def _transact(self, lines: Lines, batch: Sequence[_Waiting]) -> None:
        try:
            now_ms, decided = await made_anew(lambda: self._decided(lines, [each.verb for each in batch]))
        except asyncio.CancelledError:
            _fail(batch, _CLOSES)
            raise
        except DatabaseFault as error:
            _fail(batch, error)
            return
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not leave callers waiting
            _log.exception("a transaction was given up")
            _fail(batch, error)
            return
        for (_, answer), decision in zip(batch, decided.answers, strict=True):
            if answer.done():
                continue
            if isinstance(decision, StoreRefused):
                answer.set_exception(decision)
            else:
                answer.set_result(decision)
        await _forget(lines, now_ms)

    async def _decided(self, lines: Lines, verbs: Sequence[Verb]) -> tuple[int, Decided]:
        async with lines.writing.transaction() as wire:
            deciding = decide(verbs, self._retention)
            of, now_ms = lines.ledger, self._clock_ms()
            loaded = await load(wire, locking_reads(next(deciding), ledger=of, now_ms=now_ms))
            head = head_of(loaded)
            while True:
                try:
                    wanted = deciding.send(loaded)
                except StopIteration as end:
                    decided: Decided = end.value
                    await wire.ask([*writes(decided.writes, ledger=of, channel=lines.channel), COMMIT])
                    return head.now_ms, decided
                loaded = await load(wire, [*reads(wanted, ledger=of, now_ms=now_ms)])


def _no_clock() -> None:
    return None


async def _forget(lines: Lines, now_ms: int) -> None:
    """Drop rows whose time has come, now and then; who waits for that are the verbs of the next transaction."""
    if abs(now_ms - lines.forgot_ms) < FORGETS_EVERY_MS:
        return
    lines.forgot_ms = now_ms
    with suppress(DatabaseFault):
        wire = await lines.writing.wire()
        dropped = await wire.ask(forgets(ledger=lines.ledger, now_ms=now_ms))
        if any(count >= FORGOTTEN_AT_ONCE for ((count,),) in dropped):
            lines.forgot_ms = 0


def _fail(batch: Iterable[_Waiting], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            # Each its own: a traceback grows with every await that an exception passes.
            answer.set_exception(_store_error(error))


def _store_error(error: Exception) -> StoreUnavailable | StoreRefused:
    if isinstance(error, DatabaseAway):
        return StoreUnavailable(str(error))
    if isinstance(error, DatabaseFault):
        return WrongServer(error.reply, error.cause, error.fix)
    return StoreRefused(f"{type(error).__name__}: {error}")


@contextmanager
def faults_named() -> Iterator[None]:
    """The faults of a database in the block become the errors of a store."""
    try:
        yield
    except DatabaseFault as error:
        raise _store_error(error) from error
