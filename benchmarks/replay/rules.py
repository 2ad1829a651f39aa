"""The rules that are compared: what a call holds, and what the hold of an answer grows to that has come to more."""

import math
from typing import NamedTuple, Protocol

from benchmarks.replay.traces import INPUT_NANOS, OUTPUT_NANOS, Call
from budget_middleware.core.costs.learning import (
    NO_ANSWERS,
    AnswerSeen,
    Expectation,
    Sums,
    answer_seen,
    expect,
    input_to_hold,
    merge,
    sums_of,
    tokens_to_grow_to,
    tokens_to_hold,
)

PRIOR_TOKENS = 1_024


class Hold(NamedTuple):
    """What is held of one call. ``tokens`` are those of its output that it has room for beside ``other_nanos``,
    ``tokens_per_s`` is how fast an answer is taken to write of which nothing is seen, and ``expected_nanos`` what the
    call is expected to cost.
    """

    nanos: int
    tokens: int
    tokens_per_s: float
    other_nanos: int
    expected_nanos: int


class Rule(Protocol):
    """What to hold of a call."""

    def hold(self, call: Call) -> Hold: ...

    def grow(self, hold: Hold, *, seen_tokens: int) -> Hold:
        """What to hold of an answer that has come to so much; the same again if it holds no more."""
        ...

    def learn(self, call: Call) -> None:
        """A call has had its answer."""
        ...


class Fixed:
    """The same output for each call, and no more once it has begun."""

    def __init__(self, output_tokens: int) -> None:
        self._output_tokens = output_tokens

    def hold(self, call: Call) -> Hold:
        input_nanos = call.told_input_tokens * INPUT_NANOS
        nanos = input_nanos + self._output_tokens * OUTPUT_NANOS
        return Hold(nanos, self._output_tokens, tokens_per_s=1.0, other_nanos=input_nanos, expected_nanos=nanos)

    def grow(self, hold: Hold, *, seen_tokens: int) -> Hold:  # noqa: ARG002 - whatever is seen
        return hold

    def learn(self, call: Call) -> None:
        """It stays as it is."""


class _Group:
    """What is known of one group's answers, and those that are not yet added to it."""

    __slots__ = ("expected", "sums", "unfolded")

    def __init__(self, sums: Sums = NO_ANSWERS) -> None:
        self.sums = sums
        self.unfolded: list[AnswerSeen] = []
        self.expected: Expectation | None = None

    def learn(self, answer: AnswerSeen) -> None:
        self.unfolded.append(answer)
        if len(self.unfolded) >= max(1.0, min(32.0, self.sums.answers / 16)):
            self.sums = merge(self.sums, sums_of(self.unfolded))
            self.unfolded.clear()
            self.expected = None


class Learned:
    """What this caller's answers usually come to, and so many spreads more; it doubles as an answer outgrows it."""

    def __init__(self, *, most_tokens: int, spreads: float) -> None:
        self._most_tokens = most_tokens
        self._spreads = spreads
        self._model = _Group()
        self._callers: dict[str, _Group] = {}

    def copy(self) -> "Learned":
        """One that knows the same, and learns by itself from now on."""
        copied = Learned(most_tokens=self._most_tokens, spreads=self._spreads)
        copied._model = _Group(self._model.sums)
        copied._callers = {session: _Group(group.sums) for session, group in self._callers.items()}
        return copied

    def hold(self, call: Call) -> Hold:
        group = self._group_of(call)
        expected = group.expected
        if expected is None:
            expected = group.expected = expect(group.sums, self._model.sums, prior_tokens=PRIOR_TOKENS)
        tokens = tokens_to_hold(expected, spreads=self._spreads, at_most=self._most_tokens)
        told_nanos = call.told_input_tokens * INPUT_NANOS
        output_spread = expected.spread_tokens * OUTPUT_NANOS
        other_nanos = input_to_hold(expected, told_nanos, spreads=self._spreads, output_spread=output_spread)
        nanos = other_nanos + tokens * OUTPUT_NANOS
        mean_nanos = math.ceil(told_nanos * expected.input_ratio + expected.mean_tokens * OUTPUT_NANOS)
        return Hold(nanos, tokens, expected.tokens_per_s, other_nanos, expected_nanos=min(mean_nanos, nanos))

    def grow(self, hold: Hold, *, seen_tokens: int) -> Hold:
        tokens = tokens_to_grow_to(seen_tokens, held=hold.tokens, at_most=self._most_tokens)
        return hold._replace(nanos=max(hold.nanos, hold.other_nanos + tokens * OUTPUT_NANOS), tokens=tokens)

    def learn(self, call: Call) -> None:
        told, billed = call.told_input_tokens * INPUT_NANOS, call.input_tokens * INPUT_NANOS
        answer = answer_seen(tokens=call.output_tokens, seconds=call.seconds, estimated=told, billed=billed)
        if answer is not None:
            self._model.learn(answer)
            self._group_of(call).learn(answer)

    def _group_of(self, call: Call) -> _Group:
        group = self._callers.get(call.session)
        if group is None:
            group = self._callers[call.session] = _Group()
        return group
