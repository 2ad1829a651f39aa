"""docs/security.md held against the tests: each line of its tables names a test, and each of these exists."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
PAGE = (DOCS / "security.md").read_text("utf-8")
DEFINED = {
    name
    for path in TESTS.rglob("test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
}
# The lines of all tables, without their heads and rules.
LINES = [
    line
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| who |", "| what |", "| attack", "| slip |"))
]
SECTIONS = ("Who may do what", "What is kept secret", "What is defended against", "What stays the operator's business")


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip()[:60])
def test_each_line_names_tests_that_exist(line: str):
    named = re.findall(r"`(test_\w+)`", line.rstrip("| ").rpartition("|")[2])
    assert named
    assert set(named) <= DEFINED


def test_every_section_has_lines():
    for section in SECTIONS:
        text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        assert any(line in LINES for line in text.splitlines()), section


def test_failure_modes_are_those_of_their_own_page():
    rows = set(re.findall(r"^\| (F\d\d) \|", (DOCS / "failure-modes.md").read_text("utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"\bF\d\d\b", PAGE.partition("\n## ")[2])) <= rows
