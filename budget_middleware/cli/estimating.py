"""`estimate`: what a request of an account for a model would hold now, and what that was learnt from."""

from argparse import Namespace
from typing import Any

from budget_middleware.cli.answer_pricing import print_no_price
from budget_middleware.cli.output import Table, print_json, print_line
from budget_middleware.cli.parsing import account, add_command, positive, tokens
from budget_middleware.cli.running import on_state
from budget_middleware.operations.context import OperatorContext
from budget_middleware.operations.estimates import estimate_for
from budget_middleware.operations.values import as_json, format_amount

# A sentence says the rest.
_COLUMNS = (
    "model",
    "account",
    "answers",
    "mean_tokens",
    "spread_tokens",
    "tokens_per_s",
    "input_ratio",
    "input_ratio_spread",
    "expected_usd",
    "held_usd",
)


def add_to(commands: Any) -> None:
    estimate = add_command(
        commands,
        "estimate",
        on_state(_estimate),
        says="Show what a request for a model would hold now, and from how many answers that was learnt.",
    )
    estimate.add_argument("model", metavar="MODEL", help="as requests name it")
    estimate.add_argument(
        "account",
        metavar="ACCOUNT",
        nargs="?",
        type=account,
        help="learnt from the answers of this account: the first one of its requests, in the order of BUDGET_ACCOUNTS",
    )
    estimate.add_argument(
        "--input", type=tokens, default=0, metavar="N", help="input tokens of the request (default 0)"
    )
    estimate.add_argument(
        "--max-tokens", type=positive, metavar="N", help="the maximum of output tokens that the request names"
    )


async def _estimate(context: OperatorContext, arguments: Namespace) -> int:
    row = await estimate_for(
        context,
        arguments.model,
        arguments.account,
        input_tokens=arguments.input,
        max_output_tokens=arguments.max_tokens,
    )
    if row is None:
        print_no_price(arguments.model)
        return 1
    if arguments.json:
        print_json(row)
        return 0
    in_json = as_json(row)
    Table().write([{name: in_json[name] for name in _COLUMNS}])
    extra = f" beside {arguments.input:,} of input" if arguments.input else ""
    print_line(f"held: {format_amount(row.held)} for {row.output_tokens:,} tokens of output{extra}: {row.why}")
    return 0
