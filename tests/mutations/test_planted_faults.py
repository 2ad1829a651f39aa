"""The list of faults is in date: each can be planted. `make mutations` plants them."""

from pathlib import Path

import budget_middleware
from tests.mutations.__main__ import REPOSITORY, finders
from tests.mutations.planted_faults import FAULTS, Fault

PACKAGE = Path(budget_middleware.__file__).parent


def _count_of_its_text(fault: Fault) -> int:
    return (PACKAGE / fault.file).read_text("utf-8").count(fault.old)


def test_the_text_of_each_stands_in_its_file_once():
    counts = {f"{fault.file}: {fault.name}": _count_of_its_text(fault) for fault in FAULTS}
    assert {which: count for which, count in counts.items() if count != 1} == {}
    assert [fault.name for fault in FAULTS if fault.new == fault.old] == []


def test_names_are_unique():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_what_found_faults_is_of_today():
    known = finders()
    assert known.keys() <= {fault.name for fault in FAULTS}
    assert [file for file in known.values() if not (REPOSITORY / file).exists()] == []
