"""A LiteLLM proxy as somebody runs it: its config, and its database in each form in which people export one."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

TOKENS = {name: f"sk-canary-{name}" for name in ("alice", "search", "batch", "blocked", "session")}
MASTER = "sk-canary-master"

CONFIG = f"""\
model_list:
  - model_name: fast
    litellm_params:
      model: openai/gpt-4o-mini
      api_key: sk-canary-upstream
      max_budget: 50
      budget_duration: 1d
      default_api_key_rpm_limit: 30
  - model_name: gpt-4o
    litellm_params: {{model: azure/gpt-4o-eu, rpm: 480}}
  - model_name: gpt-4o
    litellm_params: {{model: azure/gpt-4o-us, max_budget: 10}}
litellm_settings:
  max_budget: 2500
  budget_duration: 30d
  timezone: Europe/Berlin
  max_end_user_budget_id: customers
  default_internal_user_params: {{user_role: internal_user, max_budget: 20, budget_duration: monthly}}
  tag_budget_config:
    "product:chat-bot": {{budget_limit: 12, time_period: 1d}}
  budget_reset_time: "06:00"
  budget_of_the_future: {{amount: 3}}
general_settings:
  master_key: {MASTER}
  database_url: postgresql://litellm:canary@db/litellm
  global_max_parallel_requests: 200
  user_header_name: X-Customer
router_settings:
  provider_budget_config:
    azure: {{budget_limit: 300, time_period: 30d}}
"""

END_OF_NOVEMBER = "2026-11-30T23:00:00"
"""Midnight in Berlin, as LiteLLM keeps it: in UTC, without a zone."""


def hashed(name: str) -> str:
    return hashlib.sha256(TOKENS[name].encode()).hexdigest()


def key(name: str) -> str:
    return f"key:{hashed(name)[:16]}"


def _row(columns: str, *values: Any) -> dict[str, Any]:
    return dict(zip(columns.split(), values, strict=True))


_KEY = (
    "token key_alias spend user_id team_id max_budget budget_duration budget_reset_at tpm_limit rpm_limit"
    " max_parallel_requests metadata model_max_budget budget_id blocked"
)
_SEARCH_METADATA = {
    "model_rpm_limit": {"gpt-4o": 10},
    "temp_budget_increase": 50,
    "temp_budget_expiry": "2026-12-24T00:00:00",
}
_USER = "user_id user_email max_budget budget_duration budget_reset_at spend rpm_limit"
_TEAM = (
    "team_id team_alias organization_id max_budget soft_budget spend budget_duration budget_reset_at tpm_limit"
    " max_parallel_requests metadata"
)
_BUDGET = "budget_id max_budget soft_budget budget_duration budget_reset_at rpm_limit tpd_limit"

TABLES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "LiteLLM_VerificationToken": [
        _row(
            _KEY,
            hashed("alice"),
            "alice's laptop",
            3.25,
            "alice",
            None,
            25,
            "30d",
            END_OF_NOVEMBER,
            200_000,
            60,
            4,
            {},
            {},
            None,
            None,
        ),
        _row(
            _KEY,
            hashed("search"),
            "search-prod",
            81.5,
            "bob",
            "search",
            100,
            "7d",
            "2026-11-29T23:00:00",
            None,
            None,
            None,
            _SEARCH_METADATA,
            {"gpt-4o": {"budget_limit": 5, "time_period": "1d"}},
            "soft",
            False,
        ),
        _row(
            _KEY,
            hashed("batch"),
            None,
            0,
            None,
            None,
            9.5,
            "36h",
            "2026-11-30T03:00:00",
            None,
            None,
            None,
            {},
            {},
            "gone",
            None,
        ),
        _row(
            _KEY,
            hashed("blocked"),
            "sk-canary-alias",
            1e-06,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            {},
            {},
            None,
            True,
        ),
        _row(
            _KEY,
            hashed("session"),
            None,
            0,
            "alice",
            "litellm-dashboard",
            0.25,
            "1d",
            None,
            None,
            None,
            None,
            {},
            {},
            None,
            None,
        ),
    ],
    "LiteLLM_UserTable": [
        _row(_USER, "alice", "alice@example.com", 40, "30d", END_OF_NOVEMBER, 10, 5),
        _row(_USER, "bob", "bob@example.com", None, None, None, 4.0, 9),
        _row(_USER, "litellm-proxy-budget", None, 2500, "30d", END_OF_NOVEMBER, 1234.5, None),
    ],
    "LiteLLM_TeamTable": [
        _row(
            _TEAM,
            "search",
            "Search\nteam",
            "acme",
            1000,
            800,
            412.0000001,
            "30d",
            "2026-12-15T00:00:00",
            1_000_000,
            20,
            {"team_member_budget_id": "member"},
        ),
    ],
    "LiteLLM_BudgetTable": [
        _row(_BUDGET, "soft", None, 80, "7d", None, None, 5),
        _row(_BUDGET, "org", 9000, None, "1mo", END_OF_NOVEMBER, 600, None),
        _row(_BUDGET, "member", 7.5, None, "24h", None, None, None),
        _row(_BUDGET, "customers", 1.5, None, "7d", None, None, None),
        _row(_BUDGET, "odd", 3, None, "2mo", None, None, None),
    ],
    "LiteLLM_OrganizationTable": [
        _row("organization_id organization_alias budget_id spend", "acme", "ACME", "org", 500)
    ],
    "LiteLLM_EndUserTable": [
        _row("user_id spend budget_id blocked allowed_model_region", "cust-1", 1.0, "member", False, None),
        _row("user_id spend budget_id blocked allowed_model_region", "cust-2", 0.2, None, True, None),
        _row("user_id spend budget_id blocked allowed_model_region", "cust-3", 0.1, "odd", False, None),
    ],
    "LiteLLM_TagTable": [_row("tag_name description budget_id spend", "x y", None, "member", 2)],
    "LiteLLM_TeamMembership": [_row("user_id team_id spend budget_id", "bob", "search", 3, "member")],
    "LiteLLM_OrganizationMembership": [_row("user_id organization_id spend budget_id", "bob", "acme", 0, "member")],
}


def as_json() -> dict[str, str]:
    return {"export.json": json.dumps(TABLES)}


def as_json_files() -> dict[str, str]:
    return {f"{name}.json": json.dumps(rows) for name, rows in TABLES.items()}


def as_json_lines() -> dict[str, str]:
    """As `psql -At -c 'SELECT row_to_json(t) …'` prints them; which tables they are is told by the columns."""
    return {f"{at}.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows) for at, rows in enumerate(TABLES.values())}


def as_csv() -> dict[str, str]:
    """As `COPY … TO … CSV HEADER` writes them; which tables they are is told by the columns."""
    files = {}
    for at, rows in enumerate(TABLES.values()):
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        files[f"{at}.csv"] = text.getvalue()
    return files


def as_dump() -> dict[str, str]:
    """As `pg_dump --data-only` writes them."""
    lines = ["--", "-- PostgreSQL database dump", "--", ""]
    for name, rows in TABLES.items():
        columns = ", ".join(rows[0])
        lines.append(f'COPY public."{name}" ({columns}) FROM stdin;')
        lines += ["\t".join(_dumped(value) for value in row.values()) for row in rows]
        lines += ["\\.", "", ""]
    return {"litellm.sql": "\n".join(lines)}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, dict):
        return json.dumps(value)
    return "" if value is None else str(value)


def _dumped(value: Any) -> str:
    text = "\\N" if value is None else _cell(value).replace("\\", "\\\\")
    return text.replace("\n", "\\n").replace("\t", "\\t")
