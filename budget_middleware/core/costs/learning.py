"""What answers usually come to: decayed sums of those that were seen, and what to hold by them.

Theory of operation. Answers are learnt in groups: all of one model, and those of one account on one model. A group is
seven sums, in which an answer counts half after a thousand others. Sums of several workers are merged by adding, in any
order, so that no worker keeps a list and none is the master.

    answers of a key  ── plus five answers' worth of its model ──┐
    answers of the model ── merged into five imagined answers ───┴─> mean, spread, tokens a second, input ratio

A model that nobody has asked yet is imagined by its *prior*: five answers of that mean, spread as waiting times are. So
a first estimate is careful, and each real answer takes a part of the imagined ones' place.

This is statistics, not money: it ends where an amount is made of it, and no counter ever hears of a float.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from itertools import repeat
from operator import add, mul
from typing import Final, NamedTuple

from budget_middleware.core.costs.estimate import LARGEST_CONTEXT_TOKENS
from budget_middleware.core.fast import maker_of
from budget_middleware.core.money import MAX_NANOS

FORGETTING: Final = 1 - 2 ** (-1 / 1000)
"""What one answer takes from the weight of all before it, so that half of it is left after a thousand. If it took more,
estimates would follow noise; if less, they would lag behind a mean that drifts."""
BORROWED_ANSWERS: Final = 5
"""A key's answers count against so many of its model, and a model's against so many imagined ones. With fewer, a second
request is estimated by a single answer; with more, a key that differs from others is taken for them for long."""
PRIOR_TOKENS_PER_S: Final = 50
"""How fast a model is taken to write before its answers are known."""

MOST_ANSWERS: Final = math.ceil(1 / FORGETTING)
"""What the weights of answers add up to at most, however many there were."""
LARGEST_SUM: Final = 1e36
"""Larger than any sum of billed amounts squared; what is above it was never written by us."""

_LONGEST_S: Final = 86_400.0
_FASTEST_TOKENS_PER_S: Final = 100_000.0
# A model's whole context, billed where one token was estimated.
_LARGEST_RATIO: Final = float(LARGEST_CONTEXT_TOKENS)


class AnswerGroup(NamedTuple):
    """Answers of one account on one model, or without an account all answers of the model.

    The model is named as in the price book, and encoded as the subject of an account.
    """

    model: str
    account: str = ""

    @property
    def name(self) -> str:
        """What a record of its sums is called: neither part has such a letter."""
        return f"{self.model}|{self.account}"


class AnswerSeen(NamedTuple):
    """One answer, as it is learnt from, made by ``answer_seen``: ``tokens`` for each choice, and what its input was
    estimated to cost and was billed, in nano-dollars.
    """

    tokens: int
    seconds: float
    estimated: int
    billed: int


class Sums(NamedTuple):
    """Sums over the answers of one group, each weighted by its age. None is negative, and none larger than LARGEST_SUM.

    ``answers`` is the sum of the weights. ``billed_squared`` is that of billed * billed / estimated, so that a ratio of
    two sums is weighted by what each answer's input costs.
    """

    answers: float = 0.0
    tokens: float = 0.0
    tokens_squared: float = 0.0
    seconds: float = 0.0
    estimated: float = 0.0
    billed: float = 0.0
    billed_squared: float = 0.0

    def plus(self, other: "Sums") -> "Sums":
        return _sums(map(add, self, other))

    def times(self, factor: float) -> "Sums":
        return _sums(map(mul, self, repeat(factor)))

    @property
    def is_sound(self) -> bool:
        """Whether answers can have led to them, of which the last counts whole; False for what damage may have left."""
        # By comparisons that no "not a number" passes.
        return 1 <= self.answers <= MOST_ANSWERS and all(0 <= each <= LARGEST_SUM for each in self)


NO_ANSWERS: Final = Sums()
_sums, _answer_seen = maker_of(Sums), maker_of(AnswerSeen)


class Basis(StrEnum):
    """Whose answers an expectation is mostly based on."""

    KEY = "key"
    MODEL = "model"
    PRIOR = "prior"


class Expectation(NamedTuple):
    """What the next answer of a group comes to: the mean of its tokens, for each choice, and how far answers spread
    around it; how fast they are written; and what inputs cost, as a multiple of what they were estimated to.

    ``answers`` is how many of ``basis`` it was learnt from, an old one counting less.
    """

    mean_tokens: float
    spread_tokens: float
    tokens_per_s: float
    input_ratio: float
    input_ratio_spread: float
    answers: int
    basis: Basis


def answer_seen(*, tokens: int, seconds: float, estimated: int, billed: int) -> AnswerSeen | None:
    """What can be learnt from an answer, whatever its usage reports; None if that is nothing. An input that was
    estimated to cost nothing gives no ratio.
    """
    if tokens <= 0:
        return None
    if estimated <= 0 or billed < 0:
        estimated = billed = 0
    # By comparisons, which take a quarter of the time of min: this is done for each answer.
    return _answer_seen(
        (
            min(LARGEST_CONTEXT_TOKENS, tokens),
            seconds if 0.0 <= seconds < _LONGEST_S else 0.0 if seconds < 0 else _LONGEST_S,
            min(MAX_NANOS, estimated),
            min(MAX_NANOS, billed),
        )
    )


def sums_of(answers: Sequence[AnswerSeen]) -> Sums:
    """Answers of about the same time, of which none counts less than another."""
    tokens, seconds, estimated, billed = zip(*answers, strict=True)
    return Sums(
        float(len(answers)),
        float(sum(tokens)),
        float(sum([each * each for each in tokens])),
        sum(seconds, 0.0),
        float(sum(estimated)),
        float(sum(billed)),
        sum([paid * paid / due for due, paid in zip(estimated, billed, strict=True) if due], 0.0),
    )


def merge(older: Sums, newer: Sums) -> Sums:
    """The sums of both, in which each newer answer has made the older ones count less.

    So much is left of the older ones' weight: for n new answers, 2^(-n/1000). The Redis script does the same four
    operations, and comes to the same bits.
    """
    return older.times(max(0.0, 1 - newer.answers * FORGETTING)).plus(newer)


def prior_sums(mean_tokens: int, *, like: Sums = NO_ANSWERS) -> Sums:
    """The answers that are imagined of a model before its own are known: spread exponentially around their mean. Their
    inputs are ``like`` those of known answers, and cost what they were estimated to.
    """
    mean = float(min(max(mean_tokens, 1), LARGEST_CONTEXT_TOKENS))
    estimated = like.estimated / like.answers if like.answers else 0.0
    one = Sums(1.0, mean, 2 * mean * mean, mean / PRIOR_TOKENS_PER_S, estimated, estimated, estimated)
    return one.times(float(BORROWED_ANSWERS))


def expect(own: Sums, model: Sums, *, prior_tokens: int) -> Expectation:
    """What to expect of a group whose own sums these are, ``model`` being those of its whole model."""
    with_prior = merge(prior_sums(prior_tokens, like=model), model)
    both = own.plus(with_prior.times(BORROWED_ANSWERS / with_prior.answers))
    answers, tokens, tokens_squared, seconds, estimated, billed, billed_squared = both
    mean = min(tokens / answers, float(LARGEST_CONTEXT_TOKENS))
    speed = min(tokens / seconds, _FASTEST_TOKENS_PER_S) if seconds else _FASTEST_TOKENS_PER_S
    basis, counted = _basis_of(own, model)
    return Expectation(
        mean,
        min(_deviation(tokens_squared / answers, mean), float(LARGEST_CONTEXT_TOKENS)),
        max(speed, 1.0),
        *_ratio_and_spread(estimated, billed, billed_squared),
        round(counted.answers),
        basis,
    )


def _basis_of(own: Sums, model: Sums) -> tuple[Basis, Sums]:
    for basis, sums in ((Basis.KEY, own), (Basis.MODEL, model)):
        # Of five answers the first has lost a little of its weight.
        if round(sums.answers) >= BORROWED_ANSWERS:
            return basis, sums
    return Basis.PRIOR, model


def _deviation(mean_of_squares: float, mean: float) -> float:
    # Of equal values the difference may be less than 0 by a rounding.
    return math.sqrt(max(0.0, mean_of_squares - mean * mean))


def _ratio_and_spread(estimated: float, billed: float, billed_squared: float) -> tuple[float, float]:
    # Weights that have decayed to less than a unit of money say nothing.
    if estimated < 1:
        return 1.0, 0.0
    ratio = min(billed / estimated, _LARGEST_RATIO)
    return ratio, min(_deviation(billed_squared / estimated, ratio), _LARGEST_RATIO)


def tokens_to_hold(expected: Expectation, *, spreads: float, at_most: int) -> int:
    """For each choice: the mean and so many spreads above it, never more than the answer can come to."""
    return min(math.ceil(expected.mean_tokens + spreads * expected.spread_tokens), at_most)


def input_to_hold(expected: Expectation, estimated: int, *, spreads: float, output_spread: float) -> int:
    """What to hold for an input that is estimated to cost so much, beside an output whose cost spreads as is said.

    Input and output are not both dear at once, so only what the input adds to the spread of their sum is held for it.
    """
    input_spread = estimated * expected.input_ratio_spread
    margin = math.hypot(output_spread, input_spread) - output_spread
    return math.ceil(estimated * expected.input_ratio + spreads * margin)


def tokens_to_grow_to(seen: int, *, held: int, at_most: int) -> int:
    """What to hold of an answer that has come to ``seen`` tokens: twice as much until it fits, and never less."""
    return max(held, min(double_to_cover(seen + 1, held=max(held, 1)), at_most))


def double_to_cover(needed: int, *, held: int) -> int:
    """Twice as much as is held, or four times, and so on, until that is enough; what is needed, if nothing is held."""
    while 0 < held < needed:
        held *= 2
    return max(held, needed)
