"""docs/gateways.md names every example, and every example is run by a test."""

from pathlib import Path

import pytest

from budget_middleware.demo.servers import EXAMPLES

ROOT = Path(__file__).parents[2]
TESTS = {path.name: path.read_text("utf-8") for path in ROOT.glob("tests/**/test_*.py") if path != Path(__file__)}


@pytest.mark.parametrize("example", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_an_example_is_named_and_run(example):
    assert f"(../examples/{example}.py)" in (ROOT / "docs" / "gateways.md").read_text("utf-8")
    ways = (f"{example}:app", f"{example}.", f'"{example}"')
    assert any(way in text for text in TESTS.values() for way in ways)
