"""The pages that are made of the code are as the code is, and leave nothing out."""

import re

import pytest

from budget_middleware.apis.protocol.base import Reason
from budget_middleware.cli.entry import _parser
from budget_middleware.core.model import Reservation
from budget_middleware.core.statuses import Op, State
from budget_middleware.core.transitions import ENDINGS, finalize, release
from budget_middleware.core.units import NOTHING
from budget_middleware.core.verbs import Finalize, Release
from tests.reference_pages import BECOMES, DOCS, HEADERS, STATUSES, _arguments, _commands, pages

PACKAGE = DOCS.parent / "budget_middleware"


@pytest.mark.parametrize("name", pages())
def test_the_page_is_as_the_code_is(name: str):
    assert (DOCS / name).read_text("utf-8") == pages()[name], "python -m tests.reference_pages"


def test_every_reason_has_a_status():
    assert STATUSES.keys() == set(Reason)


def test_every_header_that_the_code_names_is_told():
    sources = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    assert HEADERS.keys() | {"x-budget-outer-session"} == set(re.findall(r"x-budget-[a-z-]*[a-z]", sources))


@pytest.mark.parametrize(("op", "state"), ENDINGS, ids=lambda value: str(value or "none"))
def test_what_an_ending_makes_of_a_reservation(op: Op, state: State | None):
    known = Reservation("r", state, targets=(), asked=NOTHING) if state else None
    if op is Op.FINALIZE:
        decision = finalize(known, Finalize("r", (), NOTHING), remember_ms=1)
    else:
        decision = release(known, Release("r"), remember_ms=1)
    assert decision.status is ENDINGS[op, state]
    assert BECOMES.get(decision.status) is (decision.becomes.state if decision.becomes else None)


def test_each_argument_of_a_command_is_explained():
    for name, parser in _commands(_parser(), ()):
        assert [action.dest for action in _arguments(parser) if not action.help] == [], name


@pytest.mark.parametrize("name", [name for name in pages() if name.endswith(".md")])
def test_the_rows_of_a_table_have_as_many_cells_as_its_head(name: str):
    for table in re.findall(r"(?:^\|.*\n)+", pages()[name], flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table
        assert r"\\|" not in table
