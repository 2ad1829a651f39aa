"""The limits of a LiteLLM proxy as ours: whose they are, in which windows, and what is listed instead."""

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.payers.sources import parse_sources
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.litellm_import import (
    accounts_text,
    commands_text,
    import_litellm,
    limits_text,
    unmapped_text,
)
from budget_middleware.operations.litellm_import.values import Import
from budget_middleware.operations.values import as_json as json_of
from budget_middleware.payers.accounts_file import AccountsFile
from tests.operations import litellm_exports as proxy
from tests.operations.litellm_exports import key

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


def imported(files: dict[str, str], **differently: Any) -> Import:
    options: dict[str, Any] = {"now": NOW, "timezone": UTC_ZONE, "has_secret": False}
    return import_litellm(files, **options | differently)


def of_config(text: str) -> Import:
    return imported({"config.yaml": text})


def of_rows(table: str, *rows: dict[str, Any]) -> Import:
    return imported({f"LiteLLM_{table}.json": json.dumps(rows)})


def limits_of(found: Import) -> dict[str, set[str]]:
    limits: dict[str, set[str]] = {}
    for limit in found.limits:
        limits.setdefault(limit.account, set()).add(limit.limit)
    return limits


def unmapped_of(found: Import) -> dict[str, str]:
    return {f"{each.where}: {each.what}": each.reason for each in found.unmapped}


@pytest.fixture(scope="module")
def whole() -> Import:
    return imported({"config.yaml": proxy.CONFIG, **proxy.as_json()})


# The whole proxy.


def test_every_limit_has_its_account(whole: Import):
    assert limits_of(whole) == {
        "global": {"2500/month", "200inflight"},
        key("alice"): {"25/month", "200000tokens/minute", "60requests/minute", "4inflight"},
        key("search"): {"100/week", "80/week!soft"},
        key("batch"): {"9.50/36h"},
        key("blocked"): {"0/total"},
        f"key+model:{key('search')[4:]}+gpt-4o": {"5/day", "10requests/minute"},
        "key+model:*+fast": {"30requests/minute"},
        "team:search": {"1000/month", "800/month!soft", "1000000tokens/minute", "20inflight"},
        "member:search/*": {"7.50/day"},
        "member:search/bob": {"7.50/day"},
        "org:acme": {"9000/month", "600requests/minute"},
        "user:alice": {"40/month", "5requests/minute"},
        "user:bob": {"none/month", "9requests/minute"},
        "user:*": {"20/month"},
        "end_user:*": {"1.50/week"},
        "end_user:-": {"none"},
        "end_user:cust-1": {"7.50/day", "none/week"},
        "end_user:cust-2": {"0/total"},
        "tag:product:chat-bot": {"12/day"},
        "tag:x%20y": {"7.50/day"},
        "model:fast": {"50/day"},
    }


def test_our_own_parser_reads_the_limits(whole: Import):
    assert len(parse_limits(limits_text(whole))) == len(whole.limits)


def test_what_cannot_be_mapped_is_listed_with_its_place(whole: Import):
    listed = unmapped_of(whole)
    row = "export.json: {} row {}: {}".format
    assert listed.keys() == {
        row("VerificationToken", 2, "tpd_limit"),
        row("VerificationToken", 3, "budget_id gone"),
        "VerificationToken: sessions of LiteLLM's UI: 1",
        row("UserTable", 2, "user:bob=9requests/minute on keys of teams").replace(": user:", ": rpm_limit: user:"),
        row("EndUserTable", 3, "max_budget"),
        row("OrganizationMembership", 1, "budget_id"),
        "config.yaml line 10: model_list.1.litellm_params.rpm",
        "config.yaml line 12: model_list.2.litellm_params.max_budget",
        "config.yaml line 21: litellm_settings.budget_reset_time",
        "config.yaml line 22: litellm_settings.budget_of_the_future.amount",
        "config.yaml line 30: router_settings.provider_budget_config.azure",
    }
    assert all(listed.values())
    assert len(unmapped_text(whole).splitlines()) == len(listed)


def test_an_account_whose_own_limit_is_lost_keeps_the_default(whole: Import):
    """Its two months have no counterpart: with the default lifted it would be free."""
    assert "end_user:cust-3" not in limits_of(whole)


async def test_keys_have_their_accounts(whole: Import, tmp_path):
    path = tmp_path / "accounts.toml"
    path.write_text(accounts_text(whole))
    accounts = AccountsFile(path)
    assert await accounts.subjects_of(key("alice")[4:]) == {"user": "alice"}
    assert await accounts.subjects_of(key("search")[4:]) == {"team": "search", "member": "search/bob", "org": "acme"}
    assert await accounts.subjects_of(key("batch")[4:]) == {}
    assert await accounts.subjects_of(key("session")[4:]) is None


def test_what_is_spent_is_carried_into_the_window_of_the_export(whole: Import):
    rest = "--reason 'spent in LiteLLM' --new --yes"
    assert set(commands_text(whole).splitlines()) == {
        f"budget-middleware adjust {key('alice')} 3.25 --window month:2026-11 {rest}",
        f"budget-middleware adjust {key('search')} 81.50 --window week:2026-W48 {rest}",
        # LiteLLM's own next reset fits none of our windows.
        f"budget-middleware adjust team:search 412.0000001 --window month {rest}",
        f"budget-middleware adjust user:alice 10 --window month:2026-11 {rest}",
        f"budget-middleware adjust org:acme 500 --window month:2026-11 {rest}",
        f"budget-middleware adjust global 1234.50 --window month:2026-11 {rest}",
        f"budget-middleware adjust end_user:cust-1 1 --window day {rest}",
        f"budget-middleware adjust 'tag:x%20y' 2 --window day {rest}".replace("'", "", 2),
        f"budget-middleware adjust member:search/bob 3 --window day {rest}",
        # Midnight in UTC, told in BUDGET_TIMEZONE.
        f"budget-middleware limit set {key('search')} +50/week --until 2026-12-24 01:00 --new",
    }


def test_the_settings_that_the_limits_need(whole: Import):
    assert whole.settings["BUDGET_TIMEZONE"] == "Europe/Berlin"
    sources = {
        source.kind: source.alternatives for source in parse_sources(whole.settings["BUDGET_ACCOUNTS"].strip("'"))
    }
    assert sources.keys() == {"key", "end_user", "tag"}
    assert [place.name for place in sources["end_user"]] == [
        "x-litellm-customer-id",
        "x-litellm-end-user-id",
        "x-customer",
        "user",
        "litellm_metadata.user",
        "metadata.user_id",
        "safety_identifier",
    ]
    assert all(f"# These limits need {name}={value}\n" in limits_text(whole) for name, value in whole.settings.items())


def test_nothing_shows_a_token(whole: Import):
    texts = (limits_text, accounts_text, commands_text, unmapped_text)
    shown = "".join(text(whole) for text in texts) + json.dumps(json_of(whole))
    assert "canary" not in shown


def test_comments_name_what_people_know(whole: Import):
    lines = limits_text(whole).splitlines()
    assert f"{key('alice')}=60requests/minute  # alice's laptop" in lines
    assert "# 30d is month: LiteLLM resets it on the first of the month" in lines
    reset = "LiteLLM would reset it at 2026-12-15T00:00+00:00 next"
    assert f"team:search=1000/month  # Search team; {reset}" in lines


@pytest.mark.parametrize("export", [proxy.as_json_files, proxy.as_json_lines, proxy.as_csv, proxy.as_dump])
def test_each_form_of_an_export_is_the_same(export: Callable[[], dict[str, str]], whole: Import):
    found = imported({"config.yaml": proxy.CONFIG, **export()})
    assert limits_of(found) == limits_of(whole)
    assert (found.keys, found.commands, found.settings) == (whole.keys, whole.commands, whole.settings)
    assert [each.reason for each in found.unmapped] == [each.reason for each in whole.unmapped]


# Windows.


@pytest.mark.parametrize(
    ("duration", "period"),
    [
        (None, "total"),
        *((text, "minute") for text in ("60s", "1m")),
        *((text, "hour") for text in ("1h", "60m", "3600s", "hourly")),
        *((text, "day") for text in ("1d", "24h", "daily")),
        *((text, "week") for text in ("7d", "1w", "168h", "weekly")),
        *((text, "month") for text in ("30d", "1mo", "monthly")),
        *(("12h", "12h"), ("2h", "2h"), ("36h", "36h"), ("48h", "2d"), ("14d", "14d"), ("2w", "14d"), ("720h", "30d")),
    ],
)
def test_a_duration_is_a_period(duration: str | None, period: str):
    found = of_rows("TeamTable", {"team_id": "a", "max_budget": 5, "budget_duration": duration})
    assert limits_of(found) == {"team:a": {f"5/{period}"}}
    assert [(each.duration, each.period) for each in found.durations] == [(duration or "no duration", period)]


@pytest.mark.parametrize("duration", ["0d", "2mo", "12mo", "90m", "10s", "1hr", "1y", "soon", "-1d", "9999999999d"])
def test_a_duration_without_a_period_is_listed(duration: str):
    found = of_rows("TeamTable", {"team_id": "a", "max_budget": 5, "budget_duration": duration})
    assert not found.limits
    assert duration in unmapped_of(found)["LiteLLM_TeamTable.json: TeamTable row 1: max_budget"]


# Amounts.


@pytest.mark.parametrize(
    ("amount", "limit"),
    [(0, "0"), (0.1, "0.10"), (1e-07, "0.0000001"), (0.30000000000000004, "0.30"), ("12.5", "12.50"), (100.0, "100")],
)
def test_an_amount_is_exact_to_the_nano_dollar(amount: object, limit: str):
    found = of_rows("TeamTable", {"team_id": "a", "max_budget": amount, "budget_duration": "1d"})
    assert limits_of(found) == {"team:a": {f"{limit}/day"}}


@pytest.mark.parametrize("column", ["max_budget", "soft_budget", "tpm_limit", "rpm_limit", "max_parallel_requests"])
@pytest.mark.parametrize("value", [-1, "many", True, float("inf"), float("nan"), "os.environ/LIMIT", [1]])
def test_what_is_no_amount_is_listed(column: str, value: object):
    found = of_rows("TeamTable", {"team_id": "a", column: value})
    assert not found.limits
    assert len(found.unmapped) == 1


def test_two_amounts_of_one_period_are_one_limit_and_a_listing():
    windows = [{"budget_duration": "1d", "max_budget": 3}, {"budget_duration": "30d", "max_budget": 9}]
    row = {"team_id": "a", "max_budget": 5, "budget_duration": "1d", "budget_limits": windows}
    found = of_rows("TeamTable", row)
    assert limits_of(found) == {"team:a": {"5/day", "9/month"}}
    assert "5/day stands for it" in next(iter(unmapped_of(found).values()))


def test_an_increase_that_has_lapsed_is_none():
    metadata = {"temp_budget_increase": 5, "temp_budget_expiry": "2026-11-28T00:00:00"}
    row = {"token": proxy.hashed("alice"), "max_budget": 5, "budget_duration": "1d", "metadata": metadata}
    found = of_rows("VerificationToken", row)
    assert (found.commands, found.unmapped) == ((), ())


# Whose a budget is.


def test_a_key_has_the_columns_that_it_leaves_empty_from_its_budget():
    rows = {
        "LiteLLM_VerificationToken": [{"token": proxy.hashed("alice"), "max_budget": 5, "budget_id": "b"}],
        "LiteLLM_BudgetTable": [{"budget_id": "b", "max_budget": 9, "rpm_limit": 3, "budget_duration": "1d"}],
    }
    assert limits_of(imported({"export.json": json.dumps(rows)})) == {key("alice"): {"5/day", "3requests/minute"}}


def test_a_key_in_clear_text_has_the_id_of_its_hash():
    found = of_rows("VerificationToken", {"token": "sk-canary-alice", "max_budget": 5})
    assert limits_of(found) == {f"key:{key_id('sk-canary-alice')}": {"5/total"}}


def test_a_key_that_is_no_hash_is_listed():
    found = of_rows("VerificationToken", {"token": "abc", "max_budget": 5})
    assert not found.limits
    assert not found.keys
    assert "SHA-256" in found.unmapped[0].reason


def test_a_subject_like_a_token_is_listed_and_not_shown():
    found = of_rows("UserTable", {"user_id": "sk-canary", "max_budget": 5})
    assert not found.limits
    assert "canary" not in unmapped_text(found)


def test_users_may_pay_for_teams():
    files = {"config.yaml": "general_settings: {apply_user_budget_to_team_keys: true}", **proxy.as_json()}
    (found,) = (each for each in imported(files).keys if f"key:{each.key}" == key("search"))
    assert found.subjects["user"] == "bob"


def test_a_default_of_new_accounts_spares_those_that_are_older():
    config = "litellm_settings: {default_team_params: {max_budget: 5, budget_duration: 1d, rpm_limit: 3}}"
    rows = [{"team_id": "a", "team_alias": "", "rpm_limit": 9}, {"team_id": "b", "team_alias": ""}]
    found = imported({"config.yaml": config, "teams.json": json.dumps(rows)})
    assert limits_of(found) == {
        "team:*": {"5/day", "3requests/minute"},
        "team:a": {"9requests/minute", "none/day"},
        "team:b": {"none requests/minute", "none/day"},
    }


def test_what_the_ui_has_changed_of_the_config_stands_in_the_database():
    found = of_rows("Config", {"param_name": "litellm_settings", "param_value": {"max_budget": 7}})
    assert limits_of(found) == {"global": {"7/total"}}


def test_a_table_that_keys_name_is_missed():
    found = of_rows("VerificationToken", {"token": proxy.hashed("alice"), "team_id": "a", "user_id": "b"})
    assert [each.what for each in found.unmapped] == ["LiteLLM_TeamTable", "LiteLLM_TeamMembership"]


def test_a_null_of_json_says_nothing_in_a_csv_too():
    text = "team_id,team_alias,budget_limits,model_max_budget,budget_fallbacks\na,,null,null,null\n"
    assert not imported({"teams.csv": text}).unmapped


def test_a_table_without_rows_is_there():
    files = {"1.csv": "team_id,team_alias\n", "2.csv": "team_id,user_id,budget_id\n"}
    keys = json.dumps([{"token": proxy.hashed("alice"), "team_id": "a", "user_id": "b"}])
    assert not imported({"keys.json": keys, **files}).unmapped


# What LiteLLM may add.


@pytest.mark.parametrize(
    "name", ["token_budget", "itpm_limit", "session_tpm_limit", "max_parallel_batches", "rpd_limit"]
)
def test_what_may_be_a_limit_is_listed_by_its_name(name: str):
    found = of_rows("TeamTable", {"team_id": "a", name: 5, "metadata": {name: 6}})
    assert [each.what for each in found.unmapped] == [name, name]
    config = of_config(f"general_settings: {{{name}: 5}}")
    assert [each.what for each in config.unmapped] == [f"general_settings.{name}"]


# Bad input.


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("a.yaml", "", "it is empty"),
        ("a.yaml", "a: [sk-canary", "this is not YAML, at line 1"),
        ("a.yaml", "litellm_settings: &a [*a]", "this is not YAML"),
        ("a.yaml", "just words", "no config of LiteLLM"),
        ("a.yaml", "other: {a: 1}", "no config of LiteLLM"),
        ("a.json", '{"a": {"b": 1}}', "accepted are a config of LiteLLM, or an object of its tables by name"),
        ("a.json", "[1]", "rows that are objects"),
        ("a.json", '{"a": 1', "line 1 is not JSON"),
        ("a.json", "[{}]", "no table that is read"),
        ("a.csv", "a,b\n1,2\n", "no table that is read"),
        ("LiteLLM_TeamTable.csv", "team_id,max_budget\na\n", "more or fewer cells"),
        ("LiteLLM_TeamTable.csv", 'team_id,max_budget\n"a,5\n', "this is not CSV"),
        ("a.sql", 'COPY public."LiteLLM_TeamTable" (team_id, x) FROM stdin;\na\n\\.\n', "more or fewer cells"),
        ("a.yaml", "litellm_settings: {timezone: Nowhere}", "no zone"),
    ],
)
def test_bad_input_is_one_line_that_names_the_file(file: str, text: str, says: str):
    with pytest.raises(OperationError) as error:
        imported({file: text})
    assert says in str(error.value)
    assert str(error.value).startswith(file)
    assert len(str(error.value).splitlines()) == 1
    assert "canary" not in str(error.value)


def test_with_a_secret_no_id_can_be_mapped():
    with pytest.raises(OperationError, match="BUDGET_HASH_SECRET is set") as error:
        imported(proxy.as_json(), has_secret=True)
    assert len(str(error.value).splitlines()) == 1
    assert imported({"config.yaml": proxy.CONFIG}, has_secret=True).limits


def test_an_accounts_file_has_any_subject(tmp_path):
    row = {"token": proxy.hashed("alice"), "team_id": 'a "b"\\\n\x7f\u00e9\U0001f600'}
    document = tomllib.loads(accounts_text(of_rows("VerificationToken", row)))
    assert document["keys"][key("alice")[4:]]["team"] == row["team_id"]


def test_half_a_surrogate_is_listed():
    found = of_rows("VerificationToken", {"token": proxy.hashed("alice"), "team_id": "\ud800"})
    assert [each.what for each in found.unmapped] == ["the accounts of this key"]
    assert not found.keys
    accounts_text(found).encode()


BREAKS = ["\n", "\r", "\v", "\x85", "\u2028"]


@pytest.mark.parametrize("line_break", BREAKS, ids=ascii)
def test_no_name_begins_a_line_of_its_own(line_break: str, tmp_path):
    evil = f"x{line_break}key=none{line_break}#"
    config = {
        "router_settings": {"provider_budget_config": {evil: {"budget_limit": 5, "time_period": "1d"}}},
        "general_settings": {"user_header_name": evil, "user_header_mappings": [{"header_name": evil}]},
    }
    row = {
        **dict.fromkeys(("key_alias", "team_id", "budget_id"), evil),
        "token": "a" * 64,
        "max_budget": 5,
        "model_max_budget": {evil: {"budget_limit": 5, "time_period": "1d"}},
        "metadata": {"tag_rpm_limit": {evil: 5}, f"{evil} budget": 5},
    }
    user = {"user_id": evil, "budget_id": None, "alias": evil, "max_budget": 1}
    exports = {
        "c.json": json.dumps(config),
        "LiteLLM_VerificationToken.json": json.dumps([row]),
        "LiteLLM_EndUserTable.json": json.dumps([user]),
    }
    found = imported(exports)
    shown = limits_text(found) + unmapped_text(found)
    assert not [rule for rule in parse_limits(shown) if rule.slot is None]
    assert len(parse_limits(shown)) == len(found.limits)
    assert len(shown.splitlines()) == shown.count("\n")
    path = tmp_path / "accounts.toml"
    path.write_text(accounts_text(found), newline="")
    assert [each["team"] for each in tomllib.loads(path.read_text())["keys"].values()] == [evil]


def test_aliases_of_aliases_are_not_written_out():
    rows = ["litellm_settings:", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"  a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 30)]
    with pytest.raises(
        OperationError, match=r"^c\.yaml: with its aliases written out it has more than 1,000,000 values$"
    ):
        imported({"c.yaml": "\n".join(rows)})
