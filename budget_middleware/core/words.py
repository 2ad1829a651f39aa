"""Closed sets of words: what one of them may be, a type checker knows."""

from enum import StrEnum


class Word(StrEnum):
    """A word of a closed set. It hashes as its text does, which is many times as fast as an enum does by itself."""

    __hash__ = str.__hash__
