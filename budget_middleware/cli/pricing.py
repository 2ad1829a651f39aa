"""`price` and `key-id`: what a call costs, line by line, and which account a token is."""

import getpass
import sys
from argparse import Namespace
from typing import Any

from budget_middleware.cli.output import Table, complain, say, say_json, usd
from budget_middleware.cli.parsing import CommandError, add_command, tokens
from budget_middleware.cli.price_checking import operators_book
from budget_middleware.core.accounts import KEY, account_of, key_id
from budget_middleware.core.money import half_even_div, usd_from_nanos
from budget_middleware.core.pricing import FEMTOS_PER_NANO, Line, Rates, Usage, breakdown, cost_nanos
from budget_middleware.payers.payers import token_of
from budget_middleware.settings import load


def add_to(commands: Any) -> None:
    price = add_command(commands, "price", _price, says="Show what so many tokens of a model cost, line by line.")
    price.add_argument("model", metavar="MODEL")
    for name, help_ in (
        ("input", "all input tokens, --cached, --cache-write and --audio-in included"),
        ("output", "all output tokens, --reasoning and --audio-out included"),
    ):
        price.add_argument(f"--{name}", type=tokens, metavar="N", required=True, help=help_)
    for name in ("cached", "cache-write", "reasoning", "audio-in", "audio-out"):
        price.add_argument(f"--{name}", type=tokens, metavar="N", default=0)
    add_command(
        commands,
        "key-id",
        _key_id,
        says="Tell the account of a token, which is read from stdin and never shown.",
        more="It is hashed as the gateway does, under BUDGET_HASH_SECRET if that is set. One trailing newline"
        " is dropped; 'Bearer TOKEN', as it stands in a header, is the same as the token alone.",
    )


# Price.


def _price(arguments: Namespace) -> int:
    usage = _usage(arguments)
    rates = operators_book().resolve(arguments.model)
    if rates is None:
        complain(
            f"{arguments.model} has no price: BUDGET_UNKNOWN_MODEL=reject answers 400 where a limit binds the"
            " request, else books 0; give it a price in BUDGET_PRICES, or set BUDGET_UNKNOWN_MODEL to IN/OUT"
        )
        return 1
    lines, nanos = breakdown(rates, usage), cost_nanos(rates, usage)
    if arguments.json:
        _say_price_json(rates, lines, nanos)
    else:
        _say_price(arguments.model, rates, lines, nanos)
    return 0


def _usage(arguments: Namespace) -> Usage:
    for whole, parts in (
        ("input", ("cached", "cache_write")),
        ("input", ("audio_in",)),
        ("output", ("reasoning", "audio_out")),
    ):
        if sum(getattr(arguments, part) for part in parts) > getattr(arguments, whole):
            named = " and ".join(f"--{part.replace('_', '-')}" for part in parts)
            raise CommandError(f"{named} cannot exceed --{whole}, which includes them")
    return Usage(
        input_tokens=arguments.input,
        output_tokens=arguments.output,
        cached_input_tokens=arguments.cached,
        cache_write_tokens=arguments.cache_write,
        reasoning_tokens=arguments.reasoning,
        input_audio_tokens=arguments.audio_in,
        output_audio_tokens=arguments.audio_out,
    )


def _say_price(model: str, rates: Rates, lines: tuple[Line, ...], nanos: int) -> None:
    if rates.model:
        say(f"{rates.model} ({rates.provider or 'own price'})")
    else:
        say(f"{model} is not in the price book; BUDGET_UNKNOWN_MODEL prices it")
    femtos = sum(line.femtos for line in lines)
    total = {"unit": "sum", "count": "", "usd_per_million": "", "usd": _usd_from_femtos(femtos)}
    Table().say([*map(_line_row, lines), total])
    if half_even_div(femtos, FEMTOS_PER_NANO) * FEMTOS_PER_NANO != femtos:
        say(f"booked: {usd(nanos)} USD (half-even to the nano-dollar)")


def _say_price_json(rates: Rates, lines: tuple[Line, ...], nanos: int) -> None:
    say_json(
        {
            "model": rates.model or None,
            "provider": rates.provider or None,
            "lines": [_line_row(line) for line in lines],
            "cost_usd": usd(nanos),
        }
    )


def _line_row(line: Line) -> dict[str, object]:
    return {
        "unit": line.unit,
        "count": line.count,
        "usd_per_million": usd_from_nanos(line.nanos_per_million),
        "usd": _usd_from_femtos(line.femtos),
    }


def _usd_from_femtos(femtos: int) -> str:
    dollars, fraction = divmod(femtos, 10**15)
    return f"{dollars}.{f'{fraction:015d}'.rstrip('0').ljust(2, '0')}"


# Key id.


def _key_id(arguments: Namespace) -> int:
    settings = load()
    raw = getpass.getpass("token: ").encode() if sys.stdin.isatty() else sys.stdin.buffer.read()
    # What the gateway would read from a header, so that both hash the same.
    line = raw.removesuffix(b"\n").removesuffix(b"\r")
    token = "" if b"\n" in line else token_of({"type": "http", "headers": [(b"authorization", line)]})
    if not token:
        raise CommandError("stdin holds no token; accepted is one line, TOKEN or 'Bearer TOKEN'")
    account = account_of(KEY, key_id(token, secret=settings.hash_secret.get_secret_value()))
    if arguments.json:
        say_json({"account": account})
    else:
        say(account)
    return 0
