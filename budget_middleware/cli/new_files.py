"""Writes files that are not there yet: no command overwrites what somebody has."""

import os
from collections.abc import Mapping
from pathlib import Path

from budget_middleware.cli.parsing import CommandError

PRIVATE = 0o600
"""Permissions of a file that holds a secret."""


def write_new(texts: Mapping[str, str], *, permissions: int = 0o666) -> None:
    """Write the text of each path to a new file: none if one of them exists."""
    for name in texts:
        if Path(name).exists():
            raise CommandError(f"{name}: it exists, and is not overwritten; nothing was written")
    for name, text in texts.items():
        try:
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise CommandError(f"{name}: {error.strerror or error}") from None
