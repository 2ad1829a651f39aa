"""How what is held for an answer grows when the answer outgrows it.

Theory of operation. What is held is what answers usually come to, so some come to more. A hold that may grow has a
`Growth`: what is held, and what should be. Two see that this is not the same any more:

    the exchange     after each chunk, by two comparisons, once more text is shown than is held for
                     -> `growing.Growing.begin`, a task that nobody waits for
    the heartbeat    by the age of an answer that has shown nothing yet (a JSON body, hidden reasoning), which is taken
                     to be written as fast as its model usually writes; and by what the app has added by its handle
                     -> a grow in the place of the extend: no call more

What is held doubles until the answer fits, up to the most that it can come to: so there are few calls, and a hold is at
most twice what is known. A stream that asks moves its threshold at once, and a hold has one call in flight. One that
gets no answer is dropped: the next threshold, or the next heartbeat, asks for the larger amount. What the store does
not know, or has ended, grows no more; its ending says what it cost.

With BUDGET_ON_LIMIT=stop the chunk that crosses the threshold waits for the answer (`growing.Growing.grow_and_look`):
what is held is within each limit but for that chunk, so that a stream which ends there passes a limit by no more.
"""

import sys
from time import monotonic
from typing import Final, Protocol

from budget_middleware.core.costs.estimate import BYTES_PER_TOKEN, GrowthPlan
from budget_middleware.core.costs.learning import double_to_cover, tokens_to_grow_to
from budget_middleware.core.money import MAX_NANOS
from budget_middleware.core.units import Amounts, format_amounts

_NEVER: Final = sys.maxsize


class Added(Protocol):
    """What an app adds by its handle, so far."""

    @property
    def added_nanos(self) -> int: ...
    @property
    def added_tokens(self) -> int: ...


class Shown(Protocol):
    """What was seen of an answer, so far."""

    @property
    def output_tokens(self) -> int: ...


class Growth:
    """What one answer has come to, beside what is held for it.

    It is outgrown when more than ``grows_at_bytes`` of text or ``grows_at_tokens`` chunks are shown. ``held_nanos`` is
    what the store holds, as far as is known, ``wanted_nanos`` what it should; ``reason`` says why. So are
    ``held_tokens`` and ``wanted_tokens``, input included, if it ``counts_tokens``; else both stay 0. Without a plan
    nothing is known of the answer but what the app adds. ``model`` is a bounded name, for the metric.
    """

    __slots__ = (
        "_added",
        "_plan",
        "_shown",
        "_since_s",
        "_tokens",
        "counts_tokens",
        "grows_at_bytes",
        "grows_at_tokens",
        "has_grown",
        "held_nanos",
        "held_tokens",
        "is_asking",
        "model",
        "reason",
        "wanted_nanos",
        "wanted_tokens",
    )

    def __init__(
        self,
        plan: GrowthPlan | None,
        *,
        held_nanos: int,
        held_tokens: int | None = None,
        model: str,
        added: Added,
        shown: Shown | None = None,
    ) -> None:
        self.held_nanos = self.wanted_nanos = held_nanos
        self.counts_tokens = held_tokens is not None
        self.held_tokens = self.wanted_tokens = held_tokens or 0
        self.model = model
        self.reason = ""
        self.has_grown = self.is_asking = False
        self._plan = plan
        self._added = added
        self._shown = shown
        self._since_s = monotonic()
        self._tokens = plan.held_tokens if plan is not None else 0
        self._set_thresholds()

    def _set_thresholds(self) -> None:
        tokens = self._tokens
        can_grow = self._plan is not None and tokens < self._plan.cap_tokens
        self.grows_at_tokens = tokens if can_grow else _NEVER
        self.grows_at_bytes = tokens * BYTES_PER_TOKEN if can_grow else _NEVER

    def stop(self) -> None:
        """Let it grow no more."""
        self._plan = None
        self._set_thresholds()
        self.wanted_nanos, self.wanted_tokens = self.held_nanos, self.held_tokens

    @property
    def is_outgrown(self) -> bool:
        """Whether the store is to hold more than it does."""
        return self.wanted_nanos > self.held_nanos or self.wanted_tokens > self.held_tokens

    def shows_more(self) -> bool:
        """Whether more tokens are shown than are held for."""
        return self._shown_tokens() > self.grows_at_tokens

    def _shown_tokens(self) -> int:
        return self._shown.output_tokens if self._shown is not None else 0

    def want(self, nanos: int, *, reason: str) -> None:
        """Hold at least so much from now on."""
        if nanos > self.wanted_nanos:
            self.wanted_nanos, self.reason = min(nanos, MAX_NANOS), reason

    def _want_in_tokens(self, tokens: int, *, reason: str) -> None:
        """The same in tokens, if these are counted."""
        if self.counts_tokens and tokens > self.wanted_tokens:
            self.wanted_tokens, self.reason = min(tokens, MAX_NANOS), reason

    def follow_answer(self) -> None:
        """Want as much as the text that is shown asks for."""
        shown = self._shown_tokens()
        self._want_tokens(shown, f"{shown} tokens shown")
        # Here only: what the age of an answer asks for is a guess, and a stream that shows more has to ask itself.
        self._set_thresholds()

    def follow_age(self) -> None:
        """Want what the age of an answer that has shown nothing asks for, and what the app has added."""
        plan, shown = self._plan, self._shown_tokens()
        if plan is not None and shown == 0:
            age_s = monotonic() - self._since_s
            self._want_tokens(int(age_s * plan.tokens_per_s), f"{age_s:.0f} s at {plan.tokens_per_s:.0f} tokens/s")
        added, shown_nanos = self._added.added_nanos, plan.nanos_of(shown) if plan is not None else 0
        if added and shown_nanos + added > self.wanted_nanos:
            nanos = double_to_cover(shown_nanos + added, held=self.wanted_nanos)
            self.want(nanos, reason=f"outgrown: {_in_dollars(added)} added")
        added_tokens, shown_tokens = self._added.added_tokens, plan.input_tokens + shown if plan is not None else 0
        if added_tokens and shown_tokens + added_tokens > self.wanted_tokens:
            tokens = double_to_cover(shown_tokens + added_tokens, held=self.wanted_tokens)
            self._want_in_tokens(tokens, reason=f"outgrown: {added_tokens} tokens added")

    def _want_tokens(self, seen: int, what: str) -> None:
        plan = self._plan
        if plan is None or seen <= self._tokens:
            return
        self._tokens = tokens_to_grow_to(seen, held=self._tokens, at_most=plan.cap_tokens)
        nanos = plan.nanos_of(self._tokens) + self._added.added_nanos
        reason = f"outgrown: {what}, holds {self._tokens}"
        self.want(nanos, reason=reason)
        self._want_in_tokens(plan.input_tokens + self._tokens + self._added.added_tokens, reason=reason)


def _in_dollars(nanos: int) -> str:
    return format_amounts(Amounts(usd=nanos))
