"""An operator's context over each store, as any face may have one: no process, no argument, no stream."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from budget_middleware.opening import operators_ledger_of
from budget_middleware.operations.context import OperatorContext
from budget_middleware.settings_loading import load
from tests.ledger.conftest import base, clock, faults  # noqa: F401 - its stores and their faults serve here too
from tests.ledger.faults import FaultyStore

OpenContext = Callable[..., OperatorContext]


@pytest.fixture
async def open_context(faults: FaultyStore) -> AsyncIterator[OpenContext]:  # noqa: F811
    """Makes contexts over the one store; keywords are settings."""
    opened: list[OperatorContext] = []

    def make(**settings: Any) -> OperatorContext:
        loaded = load(**settings)
        opened.append(OperatorContext(loaded, faults.store, operators_ledger_of(loaded, faults.store)))
        return opened[-1]

    yield make
    for context in opened:
        await context.ledger.drain()


@pytest.fixture
def context(open_context: OpenContext) -> OperatorContext:
    return open_context()
