"""A connection for code that blocks: whatever the server does, the caller gets its answer or an error."""

from collections.abc import Callable, Iterator

import pytest

from budget_middleware.databases.errors import DatabaseAway
from budget_middleware.databases.postgres import blocking
from budget_middleware.databases.postgres.blocking import BlockingConnection
from tests.databases.postgres_server import PostgresServer


@pytest.fixture
def connection(own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingConnection]:
    monkeypatch.setattr(blocking, "GRACE_S", 0.1)
    monkeypatch.setattr(blocking, "ROWS_AT_ONCE", 1)
    opened = BlockingConnection(own_postgres.url(), timeout_s=0.4)
    opened.execute("create table things (id bigint primary key)")
    opened.execute_many("insert into things values (?)", [(1,), (2,)])
    yield opened
    own_postgres.resume()
    opened.close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: connection.fetch("select id from things"),
        lambda connection: connection.execute("update things set id = id + 10"),
        lambda connection: connection.execute_many("insert into things values (?)", [(3,), (4,)]),
        lambda connection: connection.migrate("things", [["insert into things values (5)"]]),
        lambda connection: list(connection.stream("select id from things")),
    ],
    ids=["fetch", "execute", "execute many", "migrate", "stream"],
)
def test_a_server_that_hangs_gives_no_answer(
    own_postgres: PostgresServer, connection: BlockingConnection, ask: Callable[[BlockingConnection], object]
):
    """And the next statement has a connection of its own, once the server goes on."""
    own_postgres.pause()
    with pytest.raises(DatabaseAway, match=r"no answer within 0\.5 s|how far its tables are"):
        ask(connection)
    own_postgres.resume()
    # What was on its way may still have been done.
    assert len(connection.fetch("select id from things")) >= 2


def test_a_server_that_hangs_within_a_transaction_rolls_it_back(
    own_postgres: PostgresServer, connection: BlockingConnection
):
    def change_twice() -> None:
        with connection.transaction():
            connection.execute("update things set id = id + 10")
            own_postgres.pause()
            connection.execute("update things set id = id + 100")

    with pytest.raises(DatabaseAway, match="no answer"):
        change_twice()
    own_postgres.resume()
    assert connection.fetch("select id from things order by id") == [(1,), (2,)]


def test_a_server_that_hangs_keeps_nobody_who_closes(own_postgres: PostgresServer, connection: BlockingConnection):
    own_postgres.pause()
    connection.close()


def test_many_rows_have_as_much_time_as_they_need(connection: BlockingConnection):
    """A server that answers one after the other is not silent."""
    connection.execute_many("insert into things select ? from pg_sleep(0.02)", [(n,) for n in range(100, 160)])
    assert connection.fetch("select count(*) from things") == [(62,)]
