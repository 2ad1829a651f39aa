"""What may go wrong between a ledger and its store, by script.

A fault is a function of one argument, the call itself: it decides whether and when the store sees the call, and
what its caller hears.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.testing import Gate

Apply = Callable[[], Awaitable[Any]]
Fault = Callable[[Apply], Awaitable[Any]]


async def request_lost(_: Apply) -> Any:
    raise StoreUnavailable("request lost")


async def reply_lost(apply: Apply) -> Any:
    await apply()
    raise StoreUnavailable("reply lost")


async def refused(_: Apply) -> Any:
    raise StoreRefused("refused")


async def twice(apply: Apply) -> Any:
    """The network duplicates the request; the first reply is heard."""
    first = await apply()
    await apply()
    return first


async def overtaken(apply: Apply) -> Any:
    """The network duplicates the request; the copy comes first, and nobody hears the reply to it."""
    await apply()
    return await apply()


def request_held(gate: Gate, arriving: list["asyncio.Task[Any]"] | None = None) -> Fault:
    """The store sees the call when the gate opens, even if its caller has given up by then; see `arriving`."""

    async def later(apply: Apply) -> Any:
        await gate.wait()
        return await apply()

    async def fault(apply: Apply) -> Any:
        task = asyncio.create_task(later(apply))
        if arriving is not None:
            arriving.append(task)
        return await asyncio.shield(task)

    return fault


def reply_held(gate: Gate) -> Fault:
    """The store has applied the call; its caller hears of it when the gate opens."""

    async def fault(apply: Apply) -> Any:
        answer = await apply()
        await gate.wait()
        return answer

    return fault


def after(action: Callable[[], object], fault: Fault | None = None) -> Fault:
    """Something happens just before the store sees the call."""

    async def with_action(apply: Apply) -> Any:
        action()
        return await (fault(apply) if fault else apply())

    return with_action


class FaultyStore:
    """A store whose next calls of a method meet the faults in its script, one each, and then what is `always`.

    Every call takes a turn of the event loop before and after, as one through a network does, so that there is
    something to cancel. `calls` are the names of methods in the order in which they were asked for.
    """

    def __init__(self, inner: Store, *, ends_when_cancelled: bool = False) -> None:
        self.inner = inner
        self.ends_when_cancelled = ends_when_cancelled
        self.script: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.always: dict[str, Fault] = {}
        self.calls: list[str] = []

    @property
    def store(self) -> Store:
        return cast(Store, self)

    def meets(self, method: str, *faults: Fault) -> None:
        self.script[method] += faults

    def count(self, method: str) -> int:
        return self.calls.count(method)

    def is_silent(self) -> bool:
        return True

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(method)
            await asyncio.sleep(0)
            fault = self.script[method].popleft() if self.script[method] else self.always.get(method)

            async def apply() -> Any:
                return await getattr(self.inner, method)(*args, **kwargs)

            answer = await (fault(apply) if fault else apply())
            await asyncio.sleep(0)
            return answer

        return call
