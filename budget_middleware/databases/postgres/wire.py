"""One connection to Postgres in pipeline mode: many statements go in one round trip.

    ask(statements) ──> prepare what is new, execute each, sync ──> rows of each, once the sync has come back

Theory of operation. The wire drives libpq itself (``psycopg.pq``), for one round trip of eight statements costs a third
of what it costs by cursors. A statement is prepared when the connection meets it first. Asks are answered in the order
in which they were sent, and the next may be sent before the last is answered. A caller that gives up affects nobody:
its rows arrive and are dropped.

After an error the connection is closed, and all who wait hear of it: what was begun is rolled back, and who comes next
connects anew. That is dear and rare; half a transaction that was taken for a whole one would be dearer.

A `LoopClock` measures silence from the last byte, as for the Redis wire: who blocks this event loop does not make the
server late. A connection that is silent for the whole time-out is closed. Whether the server applied what it was asked
is unknown then.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from budget_middleware.databases.errors import DatabaseAway, DatabaseFault
from budget_middleware.databases.postgres.dialing import fault_of
from budget_middleware.databases.postgres.faults import fault_of_state
from budget_middleware.databases.postgres.statements import Rows, Statement, rows_of
from budget_middleware.loop_clock import TICKS_PER_TIMEOUT, LoopClock, after_polling

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.pq.abc import PGresult


class Silence:
    """Whether a server, on whatever connection, has let a whole time-out pass, and sent nothing since."""

    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on = False


class _Ask:
    """Statements that wait for their rows."""

    __slots__ = ("answer", "has_rows", "rows", "sent_s")

    def __init__(self, answer: "asyncio.Future[list[Rows]]", *, sent_s: float) -> None:
        self.answer = answer
        # Of each result to come: whether it has the rows of a statement, or only says that one was prepared.
        self.has_rows: deque[bool] = deque()
        self.rows: list[Rows] = []
        self.sent_s = sent_s


class Wire:
    """Takes over a fresh connection.

    ``timeout_s`` bounds silence; ``silence`` is that of the server, and noted here. ``on_notified`` gets the payloads
    of what this connection listens to. ``closed`` has the reason once there is one.
    """

    def __init__(
        self,
        connection: "AsyncConnection[Any]",
        *,
        timeout_s: float,
        silence: Silence | None = None,
        on_notified: Callable[[str], object] | None = None,
    ) -> None:
        import psycopg
        from psycopg import pq

        self._errors = psycopg.Error
        self._connection: AsyncConnection[Any] | None = connection
        self._pg = connection.pgconn
        self._statuses = pq.ExecStatus
        self._timeout_s = timeout_s
        self._silence = silence or Silence()
        self._on_notified = on_notified
        self._loop = asyncio.get_running_loop()
        self._names: dict[str, bytes] = {}
        self._waiting: deque[_Ask] = deque()
        self._clock = LoopClock(tick_s=timeout_s / TICKS_PER_TIMEOUT, on_tick=self._look)
        self._heard_s = 0.0
        self._is_settling = self._is_writing = False
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._socket = self._pg.socket
        self._loop.add_reader(self._socket, self._read)

    @property
    def is_usable(self) -> bool:
        return self._connection is not None

    @property
    def is_idle(self) -> bool:
        """Whether the server owes no answer."""
        return not self._waiting

    def ask(self, statements: Sequence[Statement]) -> "asyncio.Future[list[Rows]]":
        """The rows of each statement; the future is the caller's, to cancel at will. DatabaseFault, DatabaseAway."""
        answer: asyncio.Future[list[Rows]] = self._loop.create_future()
        if self._connection is None:
            answer.set_exception(DatabaseAway("the connection is closed", "see the server's log"))
            return answer
        asked = _Ask(answer, sent_s=self._clock.now_s)
        self._waiting.append(asked)
        try:
            for statement in statements:
                self._send(statement, asked.has_rows)
            self._pg.pipeline_sync()
        except self._errors as error:
            self._fail(fault_of(error))
            return answer
        if not self._clock.is_ticking:
            self._clock.start(self._loop)
        self._flush()
        return answer

    def break_off(self, why: str) -> None:
        """Close the connection; who waits gets no answer."""
        self._fail(DatabaseAway(why, "see the server's log"))

    def _send(self, statement: Statement, has_rows: deque[bool]) -> None:
        name = self._names.get(statement.text)
        if name is None:
            name = self._names[statement.text] = b"budget_%d" % len(self._names)
            self._pg.send_prepare(name, statement.text.encode())
            has_rows.append(False)
        self._pg.send_query_prepared(name, statement.parameters)
        has_rows.append(True)

    def _flush(self) -> None:
        try:
            is_left = bool(self._pg.flush())
        except self._errors as error:
            self._fail(fault_of(error))
            return
        if is_left != self._is_writing:
            self._is_writing = is_left
            if is_left:
                self._loop.add_writer(self._socket, self._flush)
            else:
                self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        self._heard_s = self._clock.now_s
        self._silence.is_on = False
        try:
            self._pg.consume_input()
            self._take_results()
            while self._connection is not None and (notice := self._pg.notifies()) is not None:
                if self._on_notified is not None:
                    self._on_notified(notice.extra.decode())
        except DatabaseFault as error:
            self._fail(error)
        except self._errors as error:
            self._fail(fault_of(error))

    def _take_results(self) -> None:
        while self._waiting and not self._pg.is_busy():
            result = self._pg.get_result()
            # None stands between the results of two statements.
            if result is not None:
                self._take(result)

    def _take(self, result: "PGresult") -> None:
        ask, status = self._waiting[0], result.status
        if status == self._statuses.PIPELINE_SYNC:
            self._waiting.popleft()
            if not ask.answer.done():
                ask.answer.set_result(ask.rows)
        elif status in (self._statuses.TUPLES_OK, self._statuses.COMMAND_OK):
            if ask.has_rows.popleft():
                ask.rows.append(rows_of(result))
        else:
            raise _fault_in(result)

    def _look(self) -> bool:
        """Let the loop read before a silence is believed; whether answers are owed still."""
        if not self._waiting:
            return False
        if self._is_overdue and not self._is_settling:
            self._is_settling = True
            after_polling(self._loop, self._judge_silence)
        return True

    @property
    def _is_overdue(self) -> bool:
        if not self._waiting:
            return False
        return self._clock.now_s - max(self._waiting[0].sent_s, self._heard_s) > self._timeout_s

    def _judge_silence(self) -> None:
        self._is_settling = False
        if self._is_overdue:
            self._silence.is_on = True
            self.break_off(f"no answer within {self._timeout_s:g} s")

    def _fail(self, error: DatabaseFault) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            connection.pgconn.finish()
        if not self.closed.done():
            self.closed.set_result(str(error))
        waiting, self._waiting = self._waiting, deque()
        for number, ask in enumerate(waiting):
            if not ask.answer.done():
                # What was sent behind the statement that failed got no answer of its own.
                ask.answer.set_exception(error if number == 0 else DatabaseAway(error.cause, error.fix))


def _fault_in(result: "PGresult") -> DatabaseFault:
    from psycopg.pq import DiagnosticField

    state = result.error_field(DiagnosticField.SQLSTATE) or b""
    words = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or result.error_message
    return fault_of_state(state.decode(), words.decode(errors="replace"))
