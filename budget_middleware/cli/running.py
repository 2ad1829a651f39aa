"""Runs a command on the store that the settings name, and prints errors in one line."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from budget_middleware.cli.parsing import CommandError, Run
from budget_middleware.operations.context import OperatorContext, no_answer, open_context
from budget_middleware.operations.errors import (
    Confirmation,
    OperationError,
    StoreRefused,
    StoreUnavailable,
    Unconfirmed,
)
from budget_middleware.settings_loading import load

StateCommand = Callable[[OperatorContext, argparse.Namespace], Awaitable[int]]

_OPTIONS = {Confirmation.NEW_ACCOUNT: "--new", Confirmation.LARGE_AMOUNT: "--yes"}


def on_state(command: StateCommand, *, makes_file: bool = False, may_be_away: bool = False) -> Run:
    """Run ``command`` on the store; CommandError for all that keeps it from being carried out.

    Only a command that ``makes_file`` may begin a ledger in a file that is not there. A store that ``may_be_away``
    keeps nothing from being carried out by itself: the command may have its answer from elsewhere.
    """

    def run(arguments: argparse.Namespace) -> int:
        settings = load()
        try:
            context = open_context(settings, makes_file=makes_file, may_be_away=may_be_away)
            return asyncio.run(_in_context(command, context, arguments))
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
    command: StateCommand, opened: AbstractAsyncContextManager[OperatorContext], arguments: argparse.Namespace
) -> int:
    async with opened as context:
        return await command(context, arguments)
