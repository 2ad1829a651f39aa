"""Which shard an account belongs to: the part that follows from its name alone."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple
from zlib import crc32

from budget_middleware.core.payers.accounts import ABSENT, GLOBAL, KIND, MODEL, parts_of
from budget_middleware.core.payers.payers import TAG

MAIN = "main"
"""The shard of the ledger's own tag. It has what belongs to no subject: runtime limits, notes, refusals, what was
learnt, and the accounts of CROSSING kinds."""

CROSSING = frozenset({GLOBAL, MODEL, TAG})
"""Kinds whose accounts requests of all subjects share."""

SHARDS = 16
SHARDS_MAX = 1_000

SHARD_BY_ACCEPTED = f"a kind of accounts, such as team, or with a number of shards from 1 to {SHARDS_MAX}: team/64"

_SPEC = re.compile(r"([a-z][a-z0-9_-]*)(?:/([1-9]\d{0,3}))?")


class Anchor(NamedTuple):
    """The account of one kind that others follow: a compound goes where the first of its own goes.

    ``proposal`` is its home where nobody has recorded another one and no subject of the request says more.
    """

    account: str
    proposal: str


@dataclass(frozen=True)
class ShardMap:
    """``count`` shards by the subjects of a ``kind``, and the main one.

    The number of shards is fixed, and a subject is hashed to one of them: what looks at all of them (sweeps, operators,
    audits) costs the same however many subjects there are.
    """

    kind: str
    count: int = SHARDS

    @cached_property
    def numbered(self) -> tuple[str, ...]:
        digits = max(2, len(str(self.count - 1)))
        return tuple([f"{number:0{digits}d}" for number in range(self.count)])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """In the order in which the parts of a reservation are made."""
        return (*self.numbered, MAIN)

    @property
    def spec(self) -> str:
        """As BUDGET_SHARD_BY has it, with the count."""
        return f"{self.kind}/{self.count}"

    def shard_of(self, word: str) -> str:
        """The numbered shard that a subject, or the name of an account, is hashed to."""
        return self.numbered[crc32(word.encode()) % self.count]

    def subject_in(self, account: str) -> str | None:
        """The subject by which an account is sharded, if its name has it."""
        for kind, subject in parts_of(account):
            if kind == self.kind:
                return subject
        return None

    @lru_cache(65_536)  # noqa: B019 - there is one in a process
    def place_of(self, account: str) -> "str | Anchor":
        """The shard of an account whose name says it; else the account that it follows."""
        own: list[str] = []
        for kind, subject in parts_of(account):
            if kind == self.kind:
                return self.shard_of(subject)
            if kind not in CROSSING and subject != ABSENT:
                own.append(f"{kind}:{subject}")
        return Anchor(own[0], self.shard_of(own[0])) if own else MAIN


def parse_shard_by(text: str) -> ShardMap | None:
    """BUDGET_SHARD_BY: `team`, or `team/64` for so many shards; empty for none. ValueError says what is accepted."""
    if not text:
        return None
    found = _SPEC.fullmatch(text)
    if found is None or not KIND.fullmatch(found[1]) or int(found[2] or SHARDS) > SHARDS_MAX:
        raise ValueError(f"accepted: {SHARD_BY_ACCEPTED}")
    if found[1] in CROSSING:
        raise ValueError(f"accepted: a kind that not all requests share, and {found[1]} is one that they do")
    return ShardMap(found[1], int(found[2] or SHARDS))
