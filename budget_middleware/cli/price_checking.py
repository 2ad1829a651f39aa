"""`prices check` and `prices explain`: which names have no price, where sources differ, and where a rate comes from."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from budget_middleware.cli.output import Row, Table, print_error, print_json, print_line, print_rows
from budget_middleware.cli.parsing import CommandError, add_command
from budget_middleware.core.costs.pricing import UsageClass
from budget_middleware.core.money import half_even_div, usd_from_nanos
from budget_middleware.opening import price_book
from budget_middleware.prices import Found, PriceBook
from budget_middleware.setting_types import LiteLLMPrices
from budget_middleware.settings_loading import load

# In hundredths of a percent.
_TOLERATED: Final = 200
_MAX_NAMES: Final = 100_000


def add_to(commands: Any) -> None:
    says = "Check which names have a price, and explain where a price comes from."
    prices = commands.add_parser("prices", help=says, description=says)
    verbs = prices.add_subparsers(metavar="COMMAND", required=True)
    check = add_command(
        verbs,
        "check",
        _check,
        says="List the names in a file that have no price, and those whose sources differ by more than 2 percent.",
        more="Exit code 1 if a name has no price.",
    )
    check.add_argument("file", metavar="FILE", help="names, one a line, optionally with the API's provider; - is stdin")
    explain = add_command(
        verbs, "explain", _explain, says="Show by which rule, and from which source, a name gets each rate."
    )
    explain.add_argument("name", metavar="NAME", help="as clients or the gateway write it")
    explain.add_argument("--provider", metavar="P", default="", help="whose API is called, such as aws or google")


def operators_book() -> PriceBook:
    """The book of a gateway with these settings. LiteLLM is imported there, and only installed here."""
    settings = load()
    if settings.litellm_prices is LiteLLMPrices.AUTO:
        settings = settings.model_copy(update={"litellm_prices": LiteLLMPrices.INSTALLED})
    return price_book(settings)


# Check.


def _check(arguments: Namespace) -> int:
    book = operators_book()
    names = list(dict.fromkeys(_names_in(arguments.file)))
    unpriced = [" ".join(words) for words in names if book.find(words[0], provider=words[1]) is None]
    differing = [row for name, provider in names for row in _differences(book, name, provider)]
    if arguments.json:
        print_json({"names": len(names), "unpriced": [name.strip() for name in unpriced], "differences": differing})
    else:
        _print_checked(len(names), unpriced, differing)
    return 1 if unpriced else 0


def _names_in(file: str) -> Iterator[tuple[str, str]]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: {' '.join(str(error).split())}") from None
    lines = text.splitlines()
    if len(lines) > _MAX_NAMES:
        raise CommandError(f"{file}: {len(lines)} lines; accepted are at most {_MAX_NAMES}")
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if len(words) > 2:
            raise CommandError(
                f"{file}, line {number}: accepted are a name, optionally the API's provider, and # comments"
            )
        if words:
            yield words[0], (words[1] if len(words) > 1 else "")


def _differences(book: PriceBook, name: str, provider: str) -> Iterator[Row]:
    """Each rate of a name that another source publishes otherwise than the one that counts."""
    counts, *others = book.find_all(name, provider=provider) or [None]
    for other in others:
        if counts is None or other is None:
            continue
        for unit in UsageClass:
            ours, theirs = counts.rates.by_unit.get(unit), other.rates.by_unit.get(unit)
            if ours is None or theirs is None:
                continue
            mine, its = ours.nanos_per_million, theirs.nanos_per_million
            if abs(mine - its) * 10_000 > _TOLERATED * max(mine, its):
                yield {
                    "name": name,
                    "unit": unit,
                    "usd_per_million": usd_from_nanos(mine),
                    "source": counts.source,
                    "other_usd_per_million": usd_from_nanos(its),
                    "other_source": other.source,
                    "other_is_percent": half_even_div(its * 100, mine) if mine else None,
                }


def _print_checked(n_names: int, unpriced: list[str], differing: list[Row]) -> None:
    for name in unpriced:
        print_line(f"no price: {name.strip()}")
    if differing:
        Table().write(differing)
    print_line(
        f"{n_names - len(unpriced)} of {n_names} names have a price; {len(differing)} rates differ by more than 2 %"
    )


# Explain.


def _explain(arguments: Namespace) -> int:
    book = operators_book()
    found = book.find(arguments.name, provider=arguments.provider)
    if found is None:
        print_error(
            f"{arguments.name[:256]} has no price in any source: give it one in BUDGET_PRICES, or name the provider"
            " that serves it, as in groq/NAME"
        )
        return 1
    others = book.find_all(arguments.name, provider=arguments.provider)[1:]
    if arguments.json:
        rates = list(_rate_rows(found))
        print_json({**_heading(found), "rates": rates, "others": [_other_row(other) for other in others]})
        return 0
    heading = _heading(found)
    print_line(f"{arguments.name} is {heading['model']} ({heading['provider'] or 'own price'})")
    print_line(f"rule: {found.rule}")
    Table().write(list(_rate_rows(found)))
    for mode, points in found.rates.basis_points_by_mode.items():
        print_line(f"mode {mode}: {Decimal(points) / 10_000:f} times all but the fees")
    if others:
        print_line("")
        print_line("Other sources, which do not count:")
        print_rows([_other_row(other) for other in others], in_json=False, if_none="")
    return 0


def _heading(found: Found) -> dict[str, object]:
    times = {mode: f"{Decimal(points) / 10_000:f}" for mode, points in found.rates.basis_points_by_mode.items()}
    return {
        "model": found.rates.model,
        "provider": found.rates.provider or None,
        "rule": found.rule,
        "times_by_mode": times,
    }


def _rate_rows(found: Found) -> Iterator[Row]:
    modes = {"": found.rates.by_unit, **found.rates.by_mode}
    for mode, by_unit in modes.items():
        for unit, rate in by_unit.items():
            if mode and found.rates.by_unit.get(unit) == rate:
                continue
            for above, nanos in ((None, rate.nanos_per_million), *rate.tiers):
                yield {
                    "unit": unit,
                    "above_tokens": above,
                    "mode": mode or None,
                    "usd_per_million": usd_from_nanos(nanos),
                    "source": found.source_of(unit, mode=mode),
                }


def _other_row(found: Found) -> Row:
    rates = found.rates
    return {
        "source": found.source,
        "model": rates.model,
        "provider": rates.provider or None,
        "input_usd_per_million": _usd_of(found, UsageClass.INPUT),
        "output_usd_per_million": _usd_of(found, UsageClass.OUTPUT),
        "rule": found.rule,
    }


def _usd_of(found: Found, unit: UsageClass) -> str | None:
    rate = found.rates.by_unit.get(unit)
    return None if rate is None else usd_from_nanos(rate.nanos_per_million)
