"""A provider, a store and a price list for all gateways of a session; a token for each test."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from budget_middleware.demo.servers import serving
from tests.gateways.running import Books

PRICES = """
[models.talk]  # A word of a prompt is a tenth of a cent, a word of an answer is a cent.
input = 1000
output = 10000
allow_high_prices = true
"""


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example provider: each word is a token, and an answer has ten times those of the prompt."""
    with serving("provider:app", {}, log=tmp_path_factory.mktemp("upstream") / "log") as address:
        yield address


@pytest.fixture(scope="session")
def books(server_url: str) -> Books:
    return Books(server_url, f"gateways-{uuid4().hex[:8]}")


@pytest.fixture(scope="session")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prices") / "prices.toml"
    path.write_text(PRICES)
    return path


@pytest.fixture
def token() -> str:
    """A key that no other test uses."""
    return f"sk-{uuid4().hex}"
