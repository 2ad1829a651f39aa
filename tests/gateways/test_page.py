"""docs/gateways.md names every example, and every example is run by a test."""

import re
from pathlib import Path

import pytest

from budget_middleware.demo.servers import EXAMPLES

ROOT = Path(__file__).parents[2]
TESTS = {path: path.read_text("utf-8") for path in ROOT.glob("tests/**/test_*.py") if path != Path(__file__)}


def test_the_version_of_litellm_is_the_one_that_is_tested():
    pinned = re.search(r"litellm\[proxy\]==([\d.]+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert pinned
    assert f"LiteLLM {pinned[1]}," in (ROOT / "docs" / "gateways.md").read_text("utf-8")


@pytest.mark.parametrize("example", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_an_example_is_named_and_run(example):
    assert f"(../examples/{example}.py)" in (ROOT / "docs" / "gateways.md").read_text("utf-8")
    ways = (f"{example}:app", f"{example}.", f'"{example}"')
    assert any(way in text for text in TESTS.values() for way in ways)
