"""Progress on the terminal."""

import sys


def progress(text: str) -> None:
    """Show one line in the place of the last; a log gets none of it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
