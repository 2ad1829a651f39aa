"""Collects limits, each held against the grammar of BUDGET_LIMITS, and what cannot be one of them."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.payers.accounts import ANY, compound_of, encode_subject
from budget_middleware.operations.litellm_import.durations import map_duration
from budget_middleware.operations.litellm_import.values import ImportedLimit, MappedDuration, Unmapped

LIFTED: Final = "none"
"""The figure of a limit that is lifted."""

_TOKEN_PREFIX: Final = "sk-"  # noqa: S105 - how tokens begin, not one
_REASON: Final = "spent in LiteLLM"

Parts = Mapping[str, str]
"""The encoded subjects of an account by kind."""


def is_like_token(text: str) -> bool:
    """Whether a name may be a token: such a name is never shown."""
    return text.startswith(_TOKEN_PREFIX)


def parts_of_subject(kind: str, raw: str) -> Parts:
    """The account of one kind; ValueError for no subject, and for one that may be a token."""
    if is_like_token(raw):
        raise ValueError(f"the subject of this {kind} looks like a token, which is not repeated here")
    # No raw text is encoded as `*`, so a team of that name is no default.
    return {kind: encode_subject(raw)}


def default_of(kind: str) -> Parts:
    """The pattern of a limit for each account of a kind that has none of its own."""
    return {kind: ANY}


@dataclass(frozen=True, slots=True)
class Collector:
    """Everything found so far. Nothing is added that `parse_limits` refuses, and nothing is left out unlisted."""

    limits: dict[tuple[str, str], ImportedLimit] = field(default_factory=dict)
    durations: dict[str, MappedDuration] = field(default_factory=dict)
    commands: dict[tuple[str, str], str] = field(default_factory=dict)
    unmapped: dict[Unmapped, None] = field(default_factory=dict)
    _accepted: set[str] = field(default_factory=set)
    """Accounts and limits of entries that the grammar has accepted: thousands of keys share a few limits."""

    def limit(self, parts: Parts, figure: str, slot: str, *, where: str, note: str = "") -> bool:
        """Add ``figure`` and ``slot``, such as `10` and `/day!soft`; False if it cannot stand and is listed instead."""
        account = compound_of(parts)
        blank = " " if figure == LIFTED and slot[:1].isalpha() else ""
        found = ImportedLimit(account, f"{figure}{blank}{slot}", where, note)
        try:
            self._require_grammar(account, found.limit)
        except ValueError as error:
            self.skip(f"{account}={found.limit}", where, str(error))
            return False
        earlier = self.limits.setdefault((account, slot), found)
        if earlier.limit != found.limit:
            self.skip(f"{account}={found.limit}", where, f"{earlier.limit} stands for it, from {earlier.where}")
        return earlier.limit == found.limit

    def _require_grammar(self, account: str, limit: str) -> None:
        """ValueError for what `parse_limits` refuses, which judges an account and its limit each by itself."""
        if account not in self._accepted or limit not in self._accepted:
            parse_limits(f"{account}={limit}")
            self._accepted.update((account, limit))

    def period(self, duration: str) -> str:
        """The period of a duration, remembered with its reason; ValueError as for map_duration."""
        mapped = self.durations.get(duration) or map_duration(duration)
        self.durations[duration] = mapped
        return mapped.period

    def skip(self, what: str, where: str, reason: str) -> None:
        self.unmapped[Unmapped(what, where, " ".join(reason.split()))] = None

    @contextmanager
    def listing(self, what: str, where: str) -> Iterator[None]:
        """List ``what`` as unmapped if the block raises ValueError, whose words are the reason."""
        try:
            yield
        except ValueError as error:
            self.skip(what, where, str(error))

    def spent(self, parts: Parts, usd: str, *, window: str) -> None:
        """Add the command that books what LiteLLM has counted in its current window."""
        account = compound_of(parts)
        words = ["budget-middleware", "adjust", account, usd, "--window", window, "--reason", _REASON, "--new", "--yes"]
        self.commands.setdefault((account, window.partition(":")[0]), shlex.join(words))

    def increased(self, parts: Parts, increase: str, *, until: datetime) -> None:
        """Add the command for an increase, such as `+50/month`, that lapses at a time of BUDGET_TIMEZONE."""
        account = compound_of(parts)
        words = [
            "budget-middleware",
            "limit",
            "set",
            account,
            increase,
            "--until",
            f"{until:%Y-%m-%d}",
            f"{until:%H:%M}",
        ]
        self.commands.setdefault((account, increase), shlex.join([*words, "--new"]))
