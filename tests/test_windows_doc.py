"""docs/windows.md held against the code: its drawings, and the periods, ids and ends that it tells."""

import re
from zoneinfo import ZoneInfo

from budget_middleware.core.windows import Period, window_named
from tests.test_docs import rows
from tests.window_timelines import PAGE, redrawn

TEXT = PAGE.read_text("utf-8")


def test_the_drawings_are_those_of_the_code():
    assert TEXT.count("```text\n") == 14
    assert redrawn(TEXT) == TEXT, "run `python -m tests.window_timelines`"


def test_the_table_names_windows_of_its_periods():
    of_the_id = {"month@31": "month@15", "30d": "24h"}
    for periods, _, ids, _ in rows(TEXT, "period"):
        last, window_id = (re.findall(r"`([^`]+)`", cell)[-1] for cell in (periods, ids))
        period = Period(of_the_id.get(last, last))
        assert window_named(period, window_id, timezone=ZoneInfo("Europe/Berlin")).id == window_id
        assert all(map(Period, re.findall(r"`([^`]+)`", periods)))
