"""Conversations that go on at another worker: facts in the store lead from one session to the next.

Nobody waits for it. What is told is kept beside the session, and what is asked for has come long before the provider
has said that the next session is ready; if not, a turn is held by what its own session shows.
"""

from contextlib import suppress
from typing import Final

from budget_middleware.apis.protocol.session_events import Conversation, SharedConversation
from budget_middleware.ledger import Ledger
from budget_middleware.ledger.jobs.tickets import fact_name
from budget_middleware.stores.errors import NO_ANSWER

# As long as Google takes a handle.
_KEPT_MS: Final = 86_400_000


def share(conversation: Conversation, ledger: Ledger) -> None:
    """Let a conversation go on at any worker, if it is one that may."""
    if not isinstance(conversation, SharedConversation):
        return

    def publish(key: str, text: str) -> None:
        ledger.run_in_background(_keep(ledger, key, text))

    def look_up(key: str) -> None:
        ledger.run_in_background(_recall(ledger, key, conversation))

    conversation.share(publish=publish, look_up=look_up)


async def _keep(ledger: Ledger, key: str, text: str) -> None:
    with suppress(*NO_ANSWER):
        await ledger.tickets.keep_fact(_name(key), text, keep_ms=_KEPT_MS)


async def _recall(ledger: Ledger, key: str, conversation: SharedConversation) -> None:
    text = await ledger.tickets.fact(_name(key))
    if text is not None:
        conversation.recall(text)


def _name(key: str) -> str:
    return fact_name("conversation", key)
