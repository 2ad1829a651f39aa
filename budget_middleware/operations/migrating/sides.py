"""The two ledgers of a migration, and why some pairs are refused."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from budget_middleware.core.answers import Answer
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.sending import Sendable
from budget_middleware.opening import operators_ledger_of, operators_store_of
from budget_middleware.operations.errors import OperationError
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import Settings, SettingsError
from budget_middleware.settings_loading import load
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.notes import Topic
from budget_middleware.stores.opening import MEMORY_URL

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
PATIENCE_S = 600.0
"""How long a migration that is under way waits for a store that gives no answer, such as for a failover."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Side:
    """A ledger and what it is called in messages: FROM_URL or TO_URL."""

    label: str
    settings: Settings
    store: Store
    ledger: Ledger

    @property
    def shown(self) -> str:
        """Which ledger it is, without a password."""
        return f"{redact_url(self.settings.store_url)} ({self.settings.namespace})"

    async def send(self, verb: Sendable) -> Answer:
        """The answer of a verb, each attempt with a span; OperationError as `ask`."""
        return await self.ask(lambda: self.ledger.sender.send(verb))

    async def ask(self, call: Callable[[], Awaitable[_T]], *, patience_s: float = PATIENCE_S) -> _T:
        """The answer of a call that may be repeated; OperationError once the store has been away for too long."""
        clock, pause_s = asyncio.get_running_loop().time, FIRST_PAUSE_S
        until = clock() + patience_s
        while True:
            try:
                return await _interruptible(call())
            except StoreUnavailable as error:
                if clock() + pause_s > until:
                    raise OperationError(f"{self.label}: no answer from {self.shown} ({_one_line(error)})") from None
            except StoreRefused as error:
                raise OperationError(f"{self.label}: {self.shown} refused: {_one_line(error)}") from None
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _interruptible(call: Awaitable[_T]) -> _T:
    """A call of its own task: a driver's reads may lose the interruption that ends a migration, this wait does not."""
    task = asyncio.ensure_future(call)
    # Whoever is interrupted does not ask how it ended.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        await asyncio.wait((task,))
    finally:
        task.cancel()
    return task.result()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@asynccontextmanager
async def open_sides(
    from_url: str,
    to_url: str,
    *,
    from_namespace: str | None,
    to_namespace: str | None,
    from_shard_by: str | None = None,
    to_shard_by: str | None = None,
) -> AsyncIterator[tuple[Side, Side]]:
    """Both ledgers; the namespaces are BUDGET_NAMESPACE, and for the destination that of the source, unless named.

    Shards are those of BUDGET_SHARD_BY unless named; a database has none.

    OperationError, in one line, for a URL that cannot be used.
    """
    async with AsyncExitStack() as stack:
        source = _opened("FROM_URL", from_url, from_namespace, from_shard_by)
        stack.push_async_callback(source.ledger.drain)
        destination = _opened("TO_URL", to_url, to_namespace or source.settings.namespace, to_shard_by)
        stack.push_async_callback(destination.ledger.drain)
        yield source, destination


def _opened(label: str, url: str, namespace: str | None, shard_by: str | None) -> Side:
    named = {"namespace": namespace, "shard_by": shard_by}
    if not url.startswith(("redis", "unix:")):
        named |= {"shard_by": shard_by or "", "replicas": "0"}
    try:
        settings = load(store_url=url, **{name: value for name, value in named.items() if value is not None})
        if url == MEMORY_URL:
            raise OperationError(
                f"{label} is {MEMORY_URL}: its counters live in a gateway's process, no other sees them"
            )
        store = operators_store_of(settings)
        return Side(label, settings, store, operators_ledger_of(settings, store))
    except SettingsError as error:
        raise OperationError(f"{label}: {error}") from None


@dataclass(frozen=True, slots=True)
class Heads:
    """Both ledgers at the beginning."""

    source: Answer
    destination: Answer


async def check_sides(source: Side, destination: Side, *, is_merge: bool) -> Heads:
    """OperationError, in one line, for what cannot be moved, or not to there. Marks the destination as ours.

    With ``is_merge`` it may have counters of its own: what is copied is added to them.
    """
    for side in (source, destination):
        await side.ask(side.store.check, patience_s=0)
    heads = Heads(*[await side.ask(side.store.head) for side in (source, destination)])
    is_same_place = source.shown == destination.shown
    if is_same_place or (heads.source.seq and heads.source.generation == heads.destination.generation):
        raise OperationError(
            f"TO_URL is the same ledger as FROM_URL: {destination.shown}; name another place or namespace"
        )
    if not heads.source.seq and not (await source.ask(source.store.limits)).limits:
        others = ", ".join(await source.ask(source.store.neighbours)) or "none"
        raise OperationError(f"FROM_URL: there is nothing to move in {source.shown}; other namespaces there: {others}")
    await _require_ours(destination, heads, is_merge=is_merge)
    return heads


async def _require_ours(destination: Side, heads: Heads, *, is_merge: bool) -> None:
    mark = heads.source.generation
    notes = await destination.ask(destination.store.notes)
    marks = {note.text for note in notes if note.topic is Topic.MIGRATION}
    if (
        not is_merge
        and not marks
        and (heads.destination.seq or (await destination.ask(destination.store.limits)).limits)
    ):
        raise OperationError(
            f"TO_URL is in use: {destination.shown} has counters or limits, and no unfinished migration; name an empty"
            " namespace, or have all that is copied added to what is there"
        )
    if not is_merge and marks - {mark}:
        raise OperationError(
            f"TO_URL: the migration to {destination.shown} was begun from another ledger than {source_text(mark)}"
        )
    await destination.ask(lambda: destination.store.add_note(Topic.MIGRATION, mark))


def source_text(generation: str) -> str:
    """How a ledger is named where nothing else of it is kept."""
    return f"generation {generation}"
