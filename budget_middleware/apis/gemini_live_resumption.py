"""Conversations that go on in another session: what each has used last, by the handle that resumes it."""

import hashlib
from collections import OrderedDict
from typing import Final

from budget_middleware.core.usage import Usage

_MOST: Final = 1_024


class ResumableConversations:
    """Those of one worker that were told a handle last. A handle lets whoever has it in, so its hash alone is kept."""

    def __init__(self) -> None:
        self._used: OrderedDict[bytes, Usage] = OrderedDict()

    def keep(self, handle: str | None, used: Usage | None) -> None:
        """A handle leads to a conversation, which has used so much last."""
        if not handle or used is None:
            return
        self._used[_key(handle)] = used
        self._used.move_to_end(_key(handle))
        if len(self._used) > _MOST:
            self._used.popitem(last=False)

    def find(self, handle: str | None) -> Usage | None:
        """What the conversation has used last that a handle leads to; None if that is not known."""
        return self._used.get(_key(handle)) if handle else None


def _key(handle: str) -> bytes:
    return hashlib.blake2b(handle.encode(errors="surrogatepass"), digest_size=16).digest()
