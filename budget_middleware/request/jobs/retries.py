"""When the store is asked again in the background, where it gave no answer."""

from typing import Final

RETRY_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between one try and the next."""
