"""What the followers of one ledger share in its store: who has the lease, how far they have read, what was sent.

Theory of operation. Everything is a text that is swapped where the expected one is, so that two workers that both think
they have the lease harm nobody: of two that write, one finds another text and stands back. What an entry sets off is
first marked as new, then queued, then marked as told; only then the position moves. Whoever goes on where another one
was killed reads the same entries again, and finds by the marks what is left to do.
"""

import json
from collections import OrderedDict
from typing import Any

from budget_middleware.core.limits.shadow import day_of
from budget_middleware.stores.base import Store

LEASE_MS = 15_000
"""So long alerts wait for another worker where the one that followed has died."""

KEEP_MS = 400 * 86_400_000
_DAY_MS = 86_400_000
_REMEMBERED_MAX = 20_000

FOLLOWER, QUEUE = "alerts:follower", "alerts:queue"
_TOLD = "alerts:told"
_NEW, _DONE = "new", "told"


class StandBackError(Exception):
    """Another worker has written meanwhile: it goes on, and this one stops."""


class Board:
    """The board of one ledger, as one worker sees it."""

    def __init__(self, store: Store, *, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._known: dict[str, str | None] = {}
        self._reported: OrderedDict[str, None] = OrderedDict()

    async def look(self) -> None:
        """Read what is there."""
        self._known = dict(await self._store.texts(FOLLOWER))

    async def take_lease(self, now_ms: int) -> bool:
        """Take the lease, or renew it; False as long as it is another's."""
        await self.look()
        lease = _fields(self._known.get("lease"))
        if lease.get("owner") != self._owner and int(lease.get("until_ms", 0)) > now_ms:
            return False
        try:
            await self.put("lease", {"owner": self._owner, "until_ms": now_ms + LEASE_MS})
        except StandBackError:
            return False
        return True

    async def give_up_lease(self) -> None:
        """Let another worker go on at once."""
        await self.look()
        if _fields(self._known.get("lease")).get("owner") == self._owner:
            await self.put("lease", {"owner": "", "until_ms": 0})

    def get(self, name: str) -> dict[str, Any]:
        """What was kept under a name when this worker last looked; nothing where that is nothing."""
        return _fields(self._known.get(name))

    async def put(self, name: str, fields: dict[str, Any]) -> None:
        """StandBackError where another worker has put something there."""
        before, after = self._known.get(name), json.dumps(fields, separators=(",", ":"))
        if before == after:
            return
        if not await self._store.swap_text(FOLLOWER, name, before=before, after=after, keep_ms=KEEP_MS):
            raise StandBackError
        self._known[name] = after

    async def begin_telling(self, alert_id: str, *, until_ms: int, now_ms: int) -> bool:
        """Whether this is to be told: nobody has, or somebody began to and did not end it."""
        if alert_id in self._reported:
            return False
        shelf, keep_ms = _shelf(until_ms, now_ms)
        for before in (None, _NEW):
            if await self._store.swap_text(shelf, alert_id, before=before, after=_NEW, keep_ms=keep_ms):
                return True
        self._remember(alert_id)
        return False

    async def end_telling(self, alert_id: str, *, until_ms: int, now_ms: int) -> None:
        shelf, keep_ms = _shelf(until_ms, now_ms)
        await self._store.swap_text(shelf, alert_id, before=_NEW, after=_DONE, keep_ms=keep_ms)
        self._remember(alert_id)

    def _remember(self, alert_id: str) -> None:
        self._reported[alert_id] = None
        if len(self._reported) > _REMEMBERED_MAX:
            self._reported.popitem(last=False)


def _shelf(until_ms: int, now_ms: int) -> tuple[str, int]:
    """Where marks are that are needed until then, and how long they are kept: late endings come after a window."""
    if until_ms - now_ms > KEEP_MS:
        return f"{_TOLD}:for-good", KEEP_MS
    return f"{_TOLD}:{day_of(until_ms)}", max(0, until_ms - now_ms) + 3 * _DAY_MS


def _fields(text: str | None) -> dict[str, Any]:
    """What a text says; nothing where it cannot be read, so that it is put anew."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
