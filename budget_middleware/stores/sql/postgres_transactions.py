"""What is done within one transaction of Postgres."""

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Final

from budget_middleware.databases.postgres.faults import TablesMissing
from budget_middleware.databases.postgres.statements import Parameter, Statement, number, text
from budget_middleware.databases.postgres.wire import Wire
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.sql.batch_data import Head, Loaded
from budget_middleware.stores.sql.postgres_statements import Take
from budget_middleware.stores.sql.scripts import Query, Script, T

COMMIT: Final = Statement("commit")


async def made_anew(work: Callable[[], Awaitable[T]]) -> T:
    """Work that begins once more where the ledger is not there: the next connection makes it."""
    try:
        return await work()
    except TablesMissing:
        return await work()


async def load(wire: Wire, plan: Sequence[tuple[Statement, Take]]) -> Loaded:
    loaded = Loaded()
    answers = await wire.ask([statement for statement, _ in plan])
    for (_, take), rows in zip(plan, answers, strict=True):
        take(loaded, rows)
    return loaded


def head_of(loaded: Loaded) -> Head:
    if loaded.head is None:
        raise TablesMissing("the ledger is not there any more", "restore a backup; else it is made anew")
    return loaded.head


async def run_script(wire: Wire, script: Script[T]) -> T:
    """Run a script in the transaction of a connection, and commit."""
    queries = next(script)
    while True:
        rows = await wire.ask([_statement(query) for query in queries])
        try:
            queries = script.send(rows)
        except StopIteration as end:
            result: T = end.value
            await wire.ask([COMMIT])
            return result


def _statement(query: Query) -> Statement:
    return Statement(_text_of(query.text), [*map(_parameter, query.parameters)])


@lru_cache(1_024)
def _text_of(query: str) -> str:
    """With the marks of Postgres for the parameters, and its words."""
    first, *others = Query(query).in_words(position="strpos", newline="chr(10)").split("?")
    return first + "".join(f"${place}{part}" for place, part in enumerate(others, start=1))


def _parameter(value: str | int | None) -> Parameter:
    if value is None:
        return None
    if isinstance(value, int):
        return number(value)
    if "\0" in value:
        raise StoreRefused("text with a NUL character cannot be stored")
    return text(value)
