"""What an import reads and what it gives: rows with their places, limits, commands, and what cannot be mapped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, and where it stood: ``keys.csv row 2``. Its columns are as read: text, numbers, JSON."""

    where: str
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """A parsed config, with the line of each entry by its path."""

    file: str
    tree: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Sources:
    """All that was read: configs, and the rows of each table by the table's name."""

    configs: tuple[Config, ...]
    tables: Mapping[str, tuple[Row, ...]]


@dataclass(frozen=True, slots=True)
class ImportedLimit:
    """One entry of BUDGET_LIMITS: ``account`` = ``limit``, where it stood, and what an operator should know of it."""

    account: str
    limit: str
    where: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A key of the accounts file with the subjects that belong to it, not encoded; ``name`` is its alias."""

    key: str
    subjects: Mapping[str, str]
    name: str = ""


@dataclass(frozen=True, slots=True)
class MappedDuration:
    """Which period stands for a duration, and why that one."""

    duration: str
    period: str
    why: str


@dataclass(frozen=True, slots=True)
class Unmapped:
    """What no limit here can say, where it stood, and why not."""

    what: str
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Import:
    """All that an import found. ``settings`` are those that the limits need; ``commands`` are to be run once."""

    settings: Mapping[str, str]
    durations: tuple[MappedDuration, ...]
    limits: tuple[ImportedLimit, ...]
    keys: tuple[ImportedKey, ...]
    commands: tuple[str, ...]
    unmapped: tuple[Unmapped, ...]
