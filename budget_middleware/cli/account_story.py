"""Prints an account's explanation: its sentences, then the table of what they are about."""

from budget_middleware.cli.account_table import table_rows
from budget_middleware.cli.output import Table, print_line, with_one_amount
from budget_middleware.operations.account_explanation import AccountExplanation
from budget_middleware.operations.account_sentences import counter_sentences, refusals_sentence


def print_account(explanation: AccountExplanation) -> None:
    for counter in explanation.counters:
        standing, *happened = counter_sentences(counter)
        print_line(standing)
        for line in happened:
            print_line(f"  {line}")
    for refusals in explanation.refusal_sums:
        print_line(refusals_sentence(refusals))
    if rows := table_rows(explanation):
        print_line("")
        Table().write(with_one_amount(rows))
