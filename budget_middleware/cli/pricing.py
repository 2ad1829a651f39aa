"""`price` and `key-id`: the cost of a call, line by line, and the account of a token."""

import getpass
import sys
from argparse import Namespace
from typing import Any

from budget_middleware.cli.answer_pricing import price_answer, print_no_price
from budget_middleware.cli.bill_table import print_bill
from budget_middleware.cli.output import print_json, print_line
from budget_middleware.cli.parsing import CommandError, add_command, tokens
from budget_middleware.cli.price_checking import operators_book
from budget_middleware.core.costs.bill import ItemizedBill
from budget_middleware.core.costs.bill_packing import bill_of_usage
from budget_middleware.core.costs.pricing import Rates, Usage
from budget_middleware.core.payers.accounts import KEY, account_of, key_id
from budget_middleware.operations.bills import bill_row
from budget_middleware.operations.values import as_json
from budget_middleware.payers.places import token_of
from budget_middleware.settings_loading import load


def add_to(commands: Any) -> None:
    price = add_command(
        commands,
        "price",
        _price,
        says="Show the cost of a number of tokens, or of a saved answer, line by line.",
        more="Either MODEL with --input and --output, or --answer FILE.",
    )
    price.add_argument("model", metavar="MODEL", nargs="?", default="", help="the model that was asked for")
    for name, help_ in (
        ("input", "all input tokens, --cached, --cache-write and --audio-in included"),
        ("output", "all output tokens, --reasoning and --audio-out included"),
    ):
        price.add_argument(f"--{name}", type=tokens, metavar="N", help=help_)
    for name, help_ in (
        ("cached", "input tokens that are read from a cache"),
        ("cache-write", "input tokens that are written to a cache"),
        ("reasoning", "output tokens of reasoning"),
        ("audio-in", "input tokens of sound"),
        ("audio-out", "output tokens of sound"),
    ):
        price.add_argument(f"--{name}", type=tokens, metavar="N", default=0, help=help_)
    price.add_argument("--answer", metavar="FILE", help="an answer as curl saves it, JSON or a stream; - is stdin")
    price.add_argument("--model", dest="asked", metavar="MODEL", default="", help="the same, beside --answer")
    price.add_argument(
        "--api",
        metavar="API|PATH",
        default="",
        help="the API of the answer, or its path, if the shape does not show it",
    )
    add_command(
        commands,
        "key-id",
        _key_id,
        says="Print the account of an API key. The key is read from stdin and never shown.",
        more="It is hashed as the gateway does it, with BUDGET_HASH_SECRET if that is set. One trailing newline"
        " is dropped; 'Bearer TOKEN', as it stands in a header, is the same as the token alone.",
    )


# Price.


def _price(arguments: Namespace) -> int:
    if arguments.answer is not None:
        return price_answer(
            arguments.answer, model=arguments.asked or arguments.model, api=arguments.api, in_json=arguments.json
        )
    if not arguments.model or arguments.input is None or arguments.output is None:
        raise CommandError("price needs MODEL, --input and --output; or --answer FILE")
    usage = _usage(arguments)
    rates = operators_book().resolve(arguments.model)
    if rates is None:
        print_no_price(arguments.model)
        return 1
    bill = bill_of_usage(rates, usage)
    if arguments.json:
        _print_price_json(rates, bill)
    else:
        _print_price(arguments.model, rates, bill)
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


def _print_price(model: str, rates: Rates, bill: ItemizedBill) -> None:
    if rates.model:
        print_line(f"{rates.model} ({rates.provider or 'own price'})")
    else:
        print_line(f"{model} is not in the price book; BUDGET_UNKNOWN_MODEL prices it")
    print_bill(bill_row(bill))


def _print_price_json(rates: Rates, bill: ItemizedBill) -> None:
    print_json({**as_json(bill_row(bill)), "model": rates.model or None, "provider": rates.provider or None})


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
        print_json({"account": account})
    else:
        print_line(account)
    return 0
