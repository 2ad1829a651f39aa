"""One ledger in a file of SQLite, over one connection; for one thread at a time."""

import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from budget_middleware.core.answers import Answer
from budget_middleware.databases.sqlite import faults_named, open_migrated, roll_back, transaction
from budget_middleware.databases.urls import SqliteUrl
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.batch import Decided, Verb, decide
from budget_middleware.stores.sql.batch_data import Loaded, Wanted
from budget_middleware.stores.sql.schema import COMPONENT, SQLITE_STEPS
from budget_middleware.stores.sql.scripts import At, Query, ScriptOf, T
from budget_middleware.stores.sql.sqlite_batch import SqliteBatch

FORGETS_EVERY_MS = 250
"""So often rows are dropped whose time has come; with every batch, as long as there are more."""

_FIND = "select id from budget_ledgers where namespace = ?"
_MAKE = "insert into budget_ledgers select coalesce(max(id), 0) + 1, ?, ?, 0, 0, 0, 0, 0, 0, '', 0 from budget_ledgers"


class SqliteLedger:
    """The rows of a namespace. The file, its tables and the ledger are made if there are none. DatabaseFault."""

    def __init__(
        self,
        url: SqliteUrl,
        *,
        namespace: str,
        busy_s: float,
        retention: Retention,
        clock_ms: Callable[[], int],
        for_reading: bool = False,
    ) -> None:
        self._path = url.path
        self._retention = retention
        self._clock_ms = clock_ms
        self._forgot_ms = 0
        self._forgets_more = False
        self.connection = open_migrated(url, COMPONENT, SQLITE_STEPS, busy_s=busy_s)
        try:
            self._number = self._find_or_make(namespace)
            if for_reading:
                self.connection.execute("pragma query_only = on")
        except BaseException:
            self.connection.close()
            raise
        self._file = self._path.stat().st_ino

    def close(self) -> None:
        self.connection.close()

    def is_replaced(self) -> bool:
        """Whether another file has taken the place of the one that is open, or none has."""
        try:
            return self._path.stat().st_ino != self._file
        except OSError:
            return True

    def begin(self) -> None:
        """Nobody else writes from here on to `decide`'s end. DatabaseFault."""
        with faults_named(self._path):
            self.connection.execute("begin immediate")

    def decide(self, verbs: Sequence[Verb]) -> list[Answer | StoreRefused]:
        """Decide verbs in the transaction that was begun, and commit. DatabaseFault: nothing was applied."""
        with faults_named(self._path):
            try:
                batch = SqliteBatch(self.connection, self._number, self._clock_ms)
                decided = _run(decide(verbs, self._retention), batch)
                batch.write(decided.writes)
                self._forget(batch, n_verbs=len(verbs))
                self.connection.execute("commit")
            except BaseException:
                roll_back(self.connection)
                raise
        return decided.answers

    def _forget(self, batch: SqliteBatch, *, n_verbs: int) -> None:
        if self._forgets_more or abs(batch.now_ms - self._forgot_ms) >= FORGETS_EVERY_MS:
            self._forgot_ms = batch.now_ms
            # More than verbs can add, so that a busy file does not grow for ever.
            self._forgets_more = batch.forget(at_most=2 * n_verbs + 16)

    def write(self, script_of: ScriptOf[T]) -> T:
        """Run a script while nobody else writes. DatabaseFault: nothing was applied."""
        with faults_named(self._path), transaction(self.connection):
            return self._run_script(script_of)

    def read(self, script_of: ScriptOf[T]) -> T:
        """Run a script over one snapshot, whoever writes meanwhile. DatabaseFault."""
        with faults_named(self._path):
            self.connection.execute("begin")
            try:
                return self._run_script(script_of)
            finally:
                roll_back(self.connection)

    def data_version(self) -> int:
        """Another number after each commit of another connection."""
        (version,) = self.connection.execute("pragma data_version").fetchone()
        return int(version)

    def _run_script(self, script_of: ScriptOf[T]) -> T:
        script = script_of(At(self._number, self._clock_ms()))
        with closing(script):
            try:
                queries = next(script)
                while True:
                    queries = script.send([self._rows(query) for query in queries])
            except StopIteration as end:
                result: T = end.value
                return result

    def _rows(self, query: Query) -> list[tuple[object, ...]]:
        return self.connection.execute(_in_words(query), query.parameters).fetchall()

    def _find_or_make(self, namespace: str) -> int:
        with faults_named(self._path):
            found = self.connection.execute(_FIND, (namespace,)).fetchone()
            if found is None:
                with transaction(self.connection):
                    # Another process may have been faster.
                    found = self.connection.execute(_FIND, (namespace,)).fetchone()
                    if found is None:
                        self.connection.execute(_MAKE, (namespace, secrets.token_hex(8)))
                        found = self.connection.execute(_FIND, (namespace,)).fetchone()
        return int(found[0])


def _in_words(query: Query) -> str:
    return query.in_words(position="instr", newline="char(10)") if "{" in query.text else query.text


def _run(deciding: Generator[Wanted, Loaded, Decided], batch: SqliteBatch) -> Decided:
    try:
        wanted = next(deciding)
        while True:
            wanted = deciding.send(batch.read(wanted))
    except StopIteration as end:
        decided: Decided = end.value
        return decided
