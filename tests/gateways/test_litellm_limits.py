"""What `import litellm` takes for LiteLLM's own, asked of LiteLLM itself: its hashes, resets, and names of columns."""

import json
import re
import subprocess
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.windows import Period, window_at
from budget_middleware.operations.litellm_import.budgets import is_mapped_or_explained
from budget_middleware.operations.litellm_import.durations import map_duration
from tests.gateways.running import PYTHON

pytestmark = pytest.mark.gateways

ASKED = """
import json, sys
from datetime import datetime
import litellm
from litellm.litellm_core_utils.duration_parser import get_next_standardized_reset_time as reset
from litellm.proxy._types import hash_token

token, durations, moments, zone = json.loads(sys.argv[1])
resets = [[reset(each, datetime.fromisoformat(at), zone).isoformat() for at in moments] for each in durations]
print(json.dumps([hash_token(token), resets, litellm.__file__]))
"""
TOKEN = "sk-1234567890abcdef"
DURATIONS = ("1m", "60s", "1h", "60m", "24h", "1d", "daily", "7d", "1w", "weekly", "30d", "1mo", "monthly")
MOMENTS = (
    "2026-02-28T23:30:15+00:00",
    "2026-03-29T00:59:59+00:00",
    "2026-10-24T23:30:00+00:00",
    "2026-12-31T23:00:00+00:00",
)
ZONE = "Europe/Berlin"
TABLES = (
    "BudgetTable",
    "OrganizationTable",
    "TeamTable",
    "ProjectTable",
    "UserTable",
    "VerificationToken",
    "EndUserTable",
)


@pytest.fixture(scope="module")
def answer():
    ran = subprocess.run(
        [PYTHON, "-c", ASKED, json.dumps([TOKEN, DURATIONS, MOMENTS, ZONE])],
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_hash_of_a_key_begins_with_its_id(answer):
    assert answer[0][:16] == key_id(TOKEN)


def test_a_calendar_period_ends_when_litellm_resets(answer):
    for duration, resets in zip(DURATIONS, answer[1], strict=True):
        for moment, reset in zip(MOMENTS, resets, strict=True):
            at_ms = int(datetime.fromisoformat(moment).timestamp() * 1_000)
            window = window_at(Period(map_duration(duration).period), time_ms=at_ms, timezone=ZoneInfo(ZONE))
            assert window.ends_ms == datetime.fromisoformat(reset).timestamp() * 1_000, (duration, moment)


def test_every_column_that_limits_is_mapped_or_has_a_reason(answer):
    schema = (Path(answer[2]).parent / "proxy" / "schema.prisma").read_text("utf-8")
    for table in TABLES:
        _, text = schema.split(f"model LiteLLM_{table} {{")
        columns = re.findall(
            r"^\s+(\w+)\s+(?:String|Int|BigInt|Float|Boolean|Json|DateTime)\b", text.partition("\n}")[0], re.MULTILINE
        )
        assert [column for column in columns if not is_mapped_or_explained(column)] == [], table
