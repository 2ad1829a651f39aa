"""Conversations that go on in another session: what each has used last, by the handle that resumes it."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from budget_middleware.core.costs.usage import Usage

_MOST: Final = 1_024


class ResumableConversations:
    """Those of one worker that were told a handle last. A handle lets whoever has it in, so its hash alone is kept."""

    def __init__(self) -> None:
        self._used: OrderedDict[str, Usage] = OrderedDict()

    def keep(self, handle: str | None, used: Usage | None) -> None:
        """A handle leads to a conversation, which has used so much last."""
        if not handle or used is None:
            return
        self._used[handle_key(handle)] = used
        self._used.move_to_end(handle_key(handle))
        if len(self._used) > _MOST:
            self._used.popitem(last=False)

    def find(self, handle: str | None) -> Usage | None:
        """What the conversation has used last that a handle leads to; None if that is not known."""
        return self._used.get(handle_key(handle)) if handle else None


class Handles:
    """What one session knows of handles: from its worker, and from others if it may ``publish`` and ``look_up``."""

    def __init__(self, resumable: ResumableConversations) -> None:
        self.publish: Callable[[str, str], None] | None = None
        self.look_up: Callable[[str], None] | None = None
        self._resumable = resumable

    def keep(self, handle: str | None, used: Usage | None) -> None:
        """A handle leads to a conversation, which has used so much last."""
        self._resumable.keep(handle, used)
        if handle and used is not None and self.publish is not None:
            self.publish(handle_key(handle), packed_usage(used))

    def find(self, handle: str | None) -> Usage | None:
        """What the conversation has used last that a handle leads to; if that is not known here, others are asked."""
        used = self._resumable.find(handle)
        if handle and used is None and self.look_up is not None:
            self.look_up(handle_key(handle))
        return used


def handle_key(handle: str) -> str:
    """The key to find a handle by: a hash, for whoever has the handle itself may go on with its conversation."""
    return hashlib.blake2b(handle.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def packed_usage(usage: Usage) -> str:
    """A usage as other workers read it."""
    return json.dumps({name: count for name, count in asdict(usage).items() if count}, separators=(",", ":"))


def unpack_usage(text: str) -> Usage | None:
    """None for what is no usage, or one of a newer version."""
    try:
        fields = json.loads(text)
        return Usage(**{str(name): int(count) for name, count in fields.items()})
    except (ValueError, TypeError, AttributeError):
        return None
