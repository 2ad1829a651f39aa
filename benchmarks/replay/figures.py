"""What windows come to under each rule, and whether the learned one does what it is to do."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.replay.grid import FIXED, LEARNED, LEARNED_WAITING, Contender, Result
from benchmarks.tables import table

MOST_OVERSPENT, MOST_OVERSPENT_SHIFTING = 0.01, 0.04
"""In at most so many windows more than 1 % of the limit is overspent; where a trace shifts on purpose, in more."""
MOST_EARLY, MOST_EARLY_WAITING = 1 / 3, 1 / 8
"""So many early refusals, compared with those of the best fixed rule."""
MOST_GROWS = 0.1
NAMED_BEFOREHAND = next(each for each in FIXED if each.fixed_tokens == 8_192)
"""Best of the fixed rules where the aims were set. A larger one refuses more, and would make them easier to meet."""

HEAD = ("rule", "early %", "used %", "P(over 1 %) %", "P(over 5 %) %", "worst over %", "grows a call", "beyond hold %")


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over windows; growth and answers beyond their hold are counted over all answers."""

    early: float
    used: float
    over_1: float
    over_5: float
    worst_over: float
    grows: float
    beyond: float

    def row(self, name: str) -> list[object]:
        over = [f"{100 * each:.2f}" for each in (self.over_1, self.over_5)]
        return [
            name,
            f"{100 * self.early:.1f}",
            f"{100 * self.used:.1f}",
            *over,
            f"{100 * self.worst_over:.1f}",
            f"{self.grows:.3f}",
            f"{100 * self.beyond:.2f}",
        ]


def figures_of(results: Iterable[Result]) -> Figures:
    outcomes = [each.outcome for each in results]
    over = [each.overspent for each in outcomes]
    answers = sum(each.answers for each in outcomes) or 1
    return Figures(
        early=fmean(each.early / max(1, each.affordable) for each in outcomes),
        used=fmean(each.spent_nanos / each.limit_nanos for each in outcomes),
        over_1=fmean(each > 0.01 for each in over),
        over_5=fmean(each > 0.05 for each in over),
        worst_over=max(over),
        grows=sum(each.grows for each in outcomes) / answers,
        beyond=sum(each.beyond for each in outcomes) / answers,
    )


def of(results: Iterable[Result], contender: Contender) -> list[Result]:
    return [each for each in results if each.contender is contender]


def steady(results: Iterable[Result]) -> list[Result]:
    """Without those of traces that shift on purpose."""
    return [each for each in results if not each.is_shifting]


def best_fixed(results: Sequence[Result]) -> tuple[Contender, Figures]:
    """The smallest fixed hold that overspends seldom enough, or the one named beforehand if that is smaller."""
    for contender in FIXED:
        figures = figures_of(of(results, contender))
        if figures.over_1 <= MOST_OVERSPENT or contender is NAMED_BEFOREHAND:
            return contender, figures
    raise AssertionError("one was named")


def missed_aims(results: Sequence[Result], *, are_real: bool) -> list[str]:
    """A line for each aim that these windows do not meet. How much waiting is to help was set for real traces."""
    shifting = [each for each in results if each.is_shifting]
    missed = [*_missed_growth(results), *_missed_overspending(steady(results), at_most=MOST_OVERSPENT, where="")]
    if shifting:
        where = " of traces that shift"
        missed += _missed_overspending(shifting, at_most=MOST_OVERSPENT_SHIFTING, where=where)
    shares = {LEARNED: MOST_EARLY, LEARNED_WAITING: MOST_EARLY_WAITING} if are_real else {LEARNED: MOST_EARLY}
    return missed + _missed_early(steady(results), shares)


def _missed_overspending(results: Sequence[Result], *, at_most: float, where: str) -> list[str]:
    over_1 = figures_of(of(results, LEARNED)).over_1
    if over_1 <= at_most:
        return []
    share = f"{100 * over_1:.2f} % of windows{where} overspend by more than 1 % of the limit"
    return [f"{LEARNED.name}: {share}, at most {100 * at_most:.0f} % may"]


def _missed_early(results: Sequence[Result], shares: Mapping[Contender, float]) -> list[str]:
    fixed, fixed_figures = best_fixed(results)
    return [
        f"{contender.name}: {100 * early:.1f} % are refused early, at most {100 * share * fixed_figures.early:.1f} %"
        f" may, {share:.3f} of the {100 * fixed_figures.early:.1f} % of {fixed.name}"
        for contender, share in shares.items()
        if (early := figures_of(of(results, contender)).early) > share * fixed_figures.early
    ]


def _missed_growth(results: Sequence[Result]) -> list[str]:
    missed = []
    for contender in (LEARNED, LEARNED_WAITING):
        figures = figures_of(of(results, contender))
        if figures.grows > MOST_GROWS:
            missed.append(f"{contender.name}: {figures.grows:.3f} grows a call, at most {MOST_GROWS} may be")
    if left := sum(each.outcome.reserved_nanos != 0 for each in results):
        missed.append(f"in {left:,} windows something was reserved when all answers had ended")
    return missed


def tell(results: Sequence[Result]) -> str:
    """A table of all rules, without traces that shift, and one of the learned rules on each trace and in each cell."""
    contenders = dict.fromkeys(each.contender for each in results)
    compared = steady(results)
    rules = [figures_of(of(compared, each)).row(each.name) for each in contenders]
    learned = [each for each in results if each.contender in (LEARNED, LEARNED_WAITING)]
    parts = [*_parts(learned, by_trace), *_parts(learned, by_cell)]
    return f"{table(HEAD, rules)}\n\n{table(HEAD, parts)}"


def by_trace(result: Result) -> str:
    return result.trace


def by_cell(result: Result) -> str:
    return f"{result.cell.budget_calls:,} calls, {result.cell.in_flight} in flight"


def _parts(results: Sequence[Result], part_of: Callable[[Result], str]) -> Iterator[list[object]]:
    parts: dict[str, list[Result]] = {}
    for each in results:
        parts.setdefault(f"{part_of(each)}: {each.contender.name}", []).append(each)
    for name, own in parts.items():
        yield figures_of(own).row(name)
