"""The list of faults is in date: each can be planted. `make mutations` plants them."""

from pathlib import Path

import pytest

import budget_middleware
from tests.mutations.planted_faults import FAULTS, Fault

PACKAGE = Path(budget_middleware.__file__).parent


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_its_text_stands_in_its_file_once(fault: Fault):
    assert (PACKAGE / fault.file).read_text("utf-8").count(fault.old) == 1
    assert fault.new != fault.old


def test_names_are_unique():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
