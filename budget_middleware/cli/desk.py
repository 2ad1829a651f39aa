"""Where a command on state works: the settings, the store they name, a ledger over it."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from budget_middleware.cli.parsing import CommandError, Run
from budget_middleware.ledger import Ledger
from budget_middleware.opening import store_of
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import Settings, load
from budget_middleware.stores.base import Store, StoreRefused, StoreUnavailable
from budget_middleware.stores.opening import MEMORY_URL
from budget_middleware.telemetry import Telemetry

# An operator would rather have a late answer than none.
LEAST_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command on state is handed; its store's connections are closed after it."""

    settings: Settings
    store: Store
    ledger: Ledger


StateCommand = Callable[[Desk, argparse.Namespace], Awaitable[int]]


def on_state(command: StateCommand) -> Run:
    """Run `command` on the store that the settings name."""

    def run(arguments: argparse.Namespace) -> int:
        settings = load()
        if settings.store_url == MEMORY_URL:
            raise CommandError(
                f"BUDGET_STORE_URL is {MEMORY_URL}: the counters live in the gateway's process, and no other"
                " sees them; set it to the store that the gateways share"
            )
        try:
            return asyncio.run(_at_desk(command, settings, arguments))
        except StoreUnavailable as error:
            raise CommandError(no_answer(settings, error)) from None
        except StoreRefused as error:
            raise CommandError(f"the store refused and changed nothing: {' '.join(str(error).split())}") from None

    return run


def no_answer(settings: Settings, error: StoreUnavailable) -> str:
    """One line for a store that cannot be reached: what happened, where, what to check."""
    return (
        f"no answer from BUDGET_STORE_URL={redact_url(settings.store_url)} ({' '.join(str(error).split())});"
        " check that the server runs, that this machine reaches it, and its password"
    )


def patient_store(settings: Settings) -> Store:
    """The store that the gateways use, with an operator's patience; SettingsError where its URL cannot be used."""
    return store_of(settings, timeout_s=max(settings.store_timeout_s, LEAST_TIMEOUT_S))


async def _at_desk(command: StateCommand, settings: Settings, arguments: argparse.Namespace) -> int:
    store = patient_store(settings)
    ledger = Ledger(
        store,
        limits=settings.limits,
        timezone=settings.timezone,
        lease_ms=settings.lease_ms,
        store_timeout_s=max(settings.store_timeout_s, LEAST_TIMEOUT_S),
        telemetry=Telemetry(spans=settings.spans),
    )
    try:
        return await command(Desk(settings, store, ledger), arguments)
    finally:
        await ledger.drain()
