"""Which models have answered to a name, where they cost more than the name does.

Theory of operation. Whoever settles a request says who has answered it (`add`), and whoever estimates one asks who may
(`of`). So the next request that names the same is held at what the most expensive of them costs. Workers share what
they have learnt through the store, as notes that `doctor` shows too: each writes a pair when it is new and once an
hour, and reads those of the others at its start and once a minute. A pair is forgotten a day after it was last seen.

All of it is bounded, since names come from clients and answers from providers: so many names are known, those that were
used last, and of one name so many models, the most expensive. A pair whose name came with other models in one request
is learnt for its account alone, and is not shared: the client may have chosen whom the gateway falls back to.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from budget_middleware.ledger.tasks import OwnedTasks
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import NO_ANSWER
from budget_middleware.stores.notes import Topic

MOST_NAMES: Final = 1_000
MOST_MODELS: Final = 8
REMEMBERED_S: Final = 86_400.0
MOST_SHARED: Final = 1_000
"""So many pairs does one process write into the store."""

_REFRESH_S: Final = 3_600.0
_EVERY_S: Final = 60.0
_ARROW: Final = " -> "
_SHAREABLE: Final = re.compile(r"[!-~]{1,256}")
# Of a pair that another worker has learnt, until it is seen here.
_UNRANKED: Final = 0

_log = logging.getLogger("budget_middleware")


class _Pair:
    """One model that has answered to a name: how expensive it is, when it last did, and when that was last shared."""

    __slots__ = ("rank", "seen_s", "shared_s")

    def __init__(self, rank: int, seen_s: float, shared_s: float) -> None:
        self.rank = rank
        self.seen_s = seen_s
        self.shared_s = shared_s


class AnsweringModels:
    """What one process knows of who answers, in ``by_name``. ``shares``: it hears of other processes and tells them."""

    def __init__(
        self,
        store: Store,
        *,
        tasks: OwnedTasks,
        timeout: SharedTimeout,
        shares: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._timeout = timeout
        self._shares = shares
        self._clock = clock
        self._looked_s = -_EVERY_S
        self._shared: set[tuple[str, str]] = set()
        self.by_name: dict[tuple[str, str], dict[str, _Pair]] = {}

    def of(self, name: str, *, account: str) -> Sequence[str]:
        """The models that have answered to a name within a day, and cost more than it; for anybody or an account."""
        if not self.by_name:
            return ()
        forgotten_s = self._clock() - REMEMBERED_S
        models: list[str] = []
        for key in ((name, ""), (name, account)):
            pairs = self.by_name.get(key)
            if pairs is not None:
                # The last in the dictionary is the one that was used last.
                self.by_name[key] = self.by_name.pop(key)
                models += [model for model, pair in pairs.items() if pair.seen_s > forgotten_s]
        return tuple(dict.fromkeys(models))

    def add(self, name: str, model: str, *, rank: int, account: str = "") -> bool:
        """A model has answered to a name, for one account or for all; whether that is new. ``rank``: its price."""
        pair, is_new = self._put((name, account), model, rank=rank, seen_s=self._clock())
        if not account and self._shares and pair.seen_s - pair.shared_s >= _REFRESH_S:
            self._share(name, model, pair)
        return is_new

    def _put(self, key: tuple[str, str], model: str, *, rank: int, seen_s: float) -> tuple[_Pair, bool]:
        pairs = self.by_name.setdefault(key, {})
        if len(self.by_name) > MOST_NAMES:
            del self.by_name[next(iter(self.by_name))]
        known = pairs.get(model)
        if known is not None:
            known.rank, known.seen_s = max(rank, known.rank), max(seen_s, known.seen_s)
            return known, False
        pair = pairs[model] = _Pair(rank, seen_s, -_REFRESH_S)
        if len(pairs) > MOST_MODELS:
            del pairs[min(pairs, key=lambda each: pairs[each].rank)]
        return pair, True

    def _share(self, name: str, model: str, pair: _Pair) -> None:
        if not _SHAREABLE.fullmatch(name) or not _SHAREABLE.fullmatch(model):
            return
        if (name, model) not in self._shared and len(self._shared) >= MOST_SHARED:
            return
        self._shared.add((name, model))
        pair.shared_s = pair.seen_s
        self._tasks.spawn(self._write(f"{name}{_ARROW}{model}"))

    async def _write(self, text: str) -> None:
        try:
            with self._timeout.timeout():
                await self._store.add_note(Topic.ANSWERED, text)
        except NO_ANSWER as error:
            _log.debug("who answers did not reach the store: %s", error)

    def check(self) -> None:
        """Hear in the background of what others have learnt, once a minute at most."""
        now_s = self._clock()
        if self._shares and now_s - self._looked_s >= _EVERY_S:
            self._looked_s = now_s
            self._tasks.spawn(self.read())

    async def read(self) -> None:
        """Take over what is in the store. It never raises."""
        try:
            with self._timeout.timeout():
                head, notes = await self._store.head(), await self._store.notes()
        except NO_ANSWER as error:
            _log.debug("who answers could not be read: %s", error)
            return
        pairs = [note for note in notes if note.topic is Topic.ANSWERED]
        now_s = self._clock()
        for note in sorted(pairs, key=lambda note: note.time_ms)[-MOST_SHARED:]:
            name, arrow, model = note.text.partition(_ARROW)
            age_s = (head.now_ms - note.time_ms) / 1000
            if arrow and age_s < REMEMBERED_S:
                self._put((name, ""), model, rank=_UNRANKED, seen_s=now_s - age_s)
