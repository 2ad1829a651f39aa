"""docs/limits.md: every form of a limit that it shows is read, and an error reads as it says."""

import re
from pathlib import Path

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.limits.limits import LimitMode
from budget_middleware.core.limits.texts import rule_text
from budget_middleware.core.periods import Clock, Days, Months, Rolling, Total, Weeks, Years
from budget_middleware.core.units import Unit

PAGE = (Path(__file__).parents[3] / "docs" / "limits.md").read_text("utf-8")
FORMS = re.findall(r"^\| `([a-z][^`]*)` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_table_is_one_limit(form: str):
    (rule,) = parse_limits(form)
    assert parse_limits(rule_text(rule)) == (rule,)


def test_the_table_has_every_unit_mode_and_kind_of_period():
    slots = [rule.slot for form in FORMS for rule in parse_limits(form) if rule.slot is not None]
    assert {slot.unit for slot in slots} == set(Unit)
    assert {slot.mode for slot in slots} == set(LimitMode)
    kinds = {type(slot.period.rule) for slot in slots}
    assert kinds == {Clock, Days, Weeks, Months, Years, Total, Rolling}


def test_the_error_reads_as_the_page_says():
    entry, column, reason = re.search(r"limit '(.*)', column (\d+): ('.*accepted are)", PAGE).groups()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=re.escape(f"limit {entry!r}, column {column}: {reason}")):
        parse_limits(entry)
