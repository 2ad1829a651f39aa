"""Runs a command on the store that the settings name, and prints errors in one line."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from budget_middleware.cli.parsing import CommandError, Run
from budget_middleware.operations.context import OperatorContext, no_answer, open_context
from budget_middleware.operations.errors import (
    Confirmation,
    OperationError,
    StoreRefused,
    StoreUnavailable,
    Unconfirmed,
)
from budget_middleware.settings import Settings, load

StateCommand = Callable[[OperatorContext, argparse.Namespace], Awaitable[int]]

_OPTIONS = {Confirmation.NEW_ACCOUNT: "--new", Confirmation.LARGE_AMOUNT: "--yes"}


def on_state(command: StateCommand, *, makes_file: bool = False) -> Run:
    """Run ``command`` on the store; CommandError for all that keeps it from being carried out.

    Only a command that ``makes_file`` may begin a ledger in a file that is not there.
    """

    def run(arguments: argparse.Namespace) -> int:
        settings = load()
        try:
            return asyncio.run(_in_context(command, settings, arguments, makes_file=makes_file))
        except Unconfirmed as error:
            raise CommandError(f"{error}, or add {_OPTIONS[error.needs]}") from None
        except OperationError as error:
            raise CommandError(str(error)) from None
        except StoreUnavailable as error:
            raise CommandError(no_answer(settings, error)) from None
        except StoreRefused as error:
            raise CommandError(f"the store refused and changed nothing: {' '.join(str(error).split())}") from None

    return run


async def _in_context(
    command: StateCommand, settings: Settings, arguments: argparse.Namespace, *, makes_file: bool
) -> int:
    async with open_context(settings, makes_file=makes_file) as context:
        return await command(context, arguments)
