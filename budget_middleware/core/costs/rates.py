"""The prices of a model: by unit, in the tiers of long inputs, and in the modes in which a call may be served.

A rate is an ``int`` of nano-dollars per million of a unit, so a count times a rate is an exact ``int`` of
femto-dollars (1e-15 USD).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeGuard

from budget_middleware.core.costs.usage import FEES, UsageClass
from budget_middleware.core.money import ceil_div

_BASIS_POINTS: Final = 10_000
_UNITS: Final = tuple(UsageClass)


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one unit, in nano-dollars per million."""

    nanos_per_million: int
    # (above, nanos_per_million), rising: a request with more than `above` input tokens pays that rate for all
    # of the unit, not only for what is above it.
    tiers: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        """The rate for a request with so many input tokens, cached ones included.

        A tier never lowers it: a longer request costs no less.
        """
        rate = self.nanos_per_million
        for above, nanos_per_million in self.tiers:
            if input_tokens > above and nanos_per_million > rate:
                rate = nanos_per_million
        return rate

    def times(self, basis_points: int) -> "Rate":
        """So many hundredths of a percent of the rate, rounded up."""

        def part(nanos: int) -> int:
            return ceil_div(nanos * basis_points, _BASIS_POINTS)

        return Rate(part(self.nanos_per_million), tuple((above, part(nanos)) for above, nanos in self.tiers))

    @property
    def is_free(self) -> bool:
        """Whether the unit costs nothing, however long the request."""
        return self.nanos_per_million == 0 and all(rate == 0 for _, rate in self.tiers)


FREE: Final = Rate(0)

# UsageClass -> the prices it may be billed at, after its own. Cached audio is audio before it is cached text: whoever
# has a price for audio and none for cached audio gives no discount on it. So with images.
_ELSE_BILLED_AS: Final = {
    UsageClass.CACHED_INPUT: (UsageClass.INPUT,),
    UsageClass.CACHE_WRITE: (UsageClass.INPUT,),
    UsageClass.CACHE_WRITE_1H: (UsageClass.CACHE_WRITE, UsageClass.INPUT),
    UsageClass.INPUT_AUDIO: (UsageClass.INPUT,),
    UsageClass.CACHED_AUDIO: (UsageClass.INPUT_AUDIO, UsageClass.CACHED_INPUT, UsageClass.INPUT),
    UsageClass.INPUT_IMAGE: (UsageClass.INPUT,),
    UsageClass.CACHED_IMAGE: (UsageClass.INPUT_IMAGE, UsageClass.CACHED_INPUT, UsageClass.INPUT),
    UsageClass.REASONING: (UsageClass.OUTPUT,),
    UsageClass.OUTPUT_AUDIO: (UsageClass.OUTPUT,),
    UsageClass.OUTPUT_IMAGE: (UsageClass.OUTPUT,),
    UsageClass.INPUT_VIDEO: (UsageClass.INPUT,),
    UsageClass.OUTPUT_VIDEO: (UsageClass.OUTPUT,),
}


def _as_long(rate: Rate, standard: Rate | None) -> Rate:
    """The rate of a mode. Where it is a discount that no list has for long inputs, it is the same discount there."""
    if standard is None or rate.tiers or not standard.tiers or rate.nanos_per_million >= standard.nanos_per_million:
        return rate
    part = rate.nanos_per_million, standard.nanos_per_million
    return replace(rate, tiers=tuple((above, ceil_div(nanos * part[0], part[1])) for above, nanos in standard.tiers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The prices of one model, by unit. What has no price, and belongs to nothing that has one, costs nothing.

    `model` is the price book's canonical name, ``""`` for a model that the book does not know. A model
    without prices has no Rates: that is None, never a rate of 0.

    A *mode* is a way to be served that has a price of its own: a service tier, a speed, a region, a size. `by_mode`
    holds the rates that differ there, `basis_points_by_mode` what all rates but those of fees are multiplied by.
    """

    model: str
    by_unit: Mapping[UsageClass, Rate]
    by_mode: Mapping[str, Mapping[UsageClass, Rate]] = field(default_factory=dict)
    basis_points_by_mode: Mapping[str, int] = field(default_factory=dict)
    provider: str = ""
    max_output_tokens: int | None = None
    context_window: int | None = None
    # What answers are taken to come to before any is known.
    expected_output_tokens: int | None = None
    # A shorter recording costs as much as one of this length.
    least_audio_ms: int = 0
    # So much is held for a job at most, and where its request does not show what it will cost.
    hold_at_most_nanos: int | None = None
    # The price list that the rates are from, and of some units and modes another one.
    source: str = field(default="", compare=False)
    other_sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    # Looked up many times a request, and found once a model: the rate that each unit is billed at, its own or else that
    # of what it is part of, and of those that have a price the price list that it is from.
    of: Callable[[UsageClass], Rate] = field(init=False, repr=False, compare=False)
    source_by_unit: Mapping[UsageClass, str] = field(init=False, repr=False, compare=False)
    # The most output tokens that one answer of this model can have, where that is known.
    output_ceiling: int | None = field(init=False, repr=False, compare=False)
    # Whether no more is billed than is used: nothing for the request itself, nor for a recording that is too short.
    counts_as_used: bool = field(init=False, repr=False, compare=False)
    _is_known_mode: Callable[[str | None], TypeGuard[str]] = field(init=False, repr=False, compare=False)
    # As many as there are combinations of modes with a price of their own, which are few.
    _in_modes: dict[tuple[str, ...], "Rates"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        billed_as = {unit: self._billed_as(unit) for unit in _UNITS}
        rates = {unit: self.by_unit.get(name, FREE) for unit, name in billed_as.items()}
        sources = {
            unit: self.other_sources.get(name, self.source) for unit, name in billed_as.items() if name in self.by_unit
        }
        object.__setattr__(self, "of", rates.__getitem__)
        object.__setattr__(self, "source_by_unit", sources)
        ceiling = self.context_window if self.max_output_tokens is None else self.max_output_tokens
        object.__setattr__(self, "output_ceiling", ceiling)
        counts_as_used = not self.least_audio_ms and UsageClass.REQUEST not in self.by_unit
        object.__setattr__(self, "counts_as_used", counts_as_used)
        modes = frozenset({*self.by_mode, *self.basis_points_by_mode}) - {""}
        object.__setattr__(self, "_is_known_mode", modes.__contains__)
        object.__setattr__(self, "_in_modes", {})

    def _billed_as(self, unit: UsageClass) -> UsageClass:
        """The unit whose price it is billed at."""
        if unit not in self.by_unit:
            for name in _ELSE_BILLED_AS.get(unit, ()):
                if name in self.by_unit:
                    return name
        return unit

    def source_of(self, unit: UsageClass) -> str:
        """The price list that the rate of a unit is from."""
        return self.source_by_unit.get(unit, self.source)

    def in_modes(self, modes: Iterable[str | None]) -> "Rates":
        """The prices in modes, of which a later one wins: these, where the book knows no others."""
        known = tuple(filter(self._is_known_mode, modes))
        if not known:
            return self
        if known not in self._in_modes:
            self._in_modes[known] = self._changed_by(known)
        return self._in_modes[known]

    def _changed_by(self, modes: tuple[str, ...]) -> "Rates":
        by_unit, sources = dict(self.by_unit), dict(self.other_sources)
        for name in dict.fromkeys(modes):
            others = self.by_mode.get(name, {})
            by_unit |= {unit: _as_long(rate, self.by_unit.get(unit)) for unit, rate in others.items()}
            sources |= dict.fromkeys(others, self.other_sources.get(name, self.source))
        changed = replace(self, by_unit=by_unit, by_mode={}, basis_points_by_mode={}, other_sources=sources)
        for name in dict.fromkeys(modes):
            changed = changed.times(self.basis_points_by_mode.get(name, _BASIS_POINTS))
        return changed

    def times(self, basis_points: int) -> "Rates":
        """So many hundredths of a percent of all rates but the fees."""
        if basis_points == _BASIS_POINTS:
            return self

        def changed(by_unit: Mapping[UsageClass, Rate]) -> dict[UsageClass, Rate]:
            return {unit: rate if unit in FEES else rate.times(basis_points) for unit, rate in by_unit.items()}

        by_mode = {mode: changed(by_unit) for mode, by_unit in self.by_mode.items()}
        return replace(self, by_unit=changed(self.by_unit), by_mode=by_mode)

    @property
    def is_free(self) -> bool:
        """Whether every unit costs nothing."""
        return all(rate.is_free for rate in self.by_unit.values())
