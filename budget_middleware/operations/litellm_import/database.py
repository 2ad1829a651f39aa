"""Maps the tables of LiteLLM's database: whose each budget is, and which accounts a key belongs to."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from budget_middleware.core.payers.accounts import GLOBAL, KEY, encode_subject, key_id, parts_of
from budget_middleware.operations.litellm_import.budgets import Budget, Moment, add_budget
from budget_middleware.operations.litellm_import.cells import is_empty, mapping_of, nanos_of, text_of
from budget_middleware.operations.litellm_import.collector import Collector, Parts, is_like_token, parts_of_subject
from budget_middleware.operations.litellm_import.values import ImportedKey, Row

TEAM, USER, MEMBER, ORG, PROJECT, TAG, END_USER = "team", "user", "member", "org", "project", "tag", "end_user"
"""Kinds of accounts. A ``member`` is a user within a team, `TEAM/USER`."""

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}")
_UI_TEAM: Final = "litellm-dashboard"
_GLOBAL_USER: Final = "litellm-proxy-budget"

Tables = Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Database:
    """The tables, joined."""

    tables: Tables
    into: Collector
    moment: Moment
    users_pay_for_teams: bool
    """Whether a user's own budget also binds keys of teams: `apply_user_budget_to_team_keys`."""
    on_key: Callable[[int, int], None] | None
    """Told after each key how many of how many are done."""
    known: dict[str, dict[str, None]] = field(default_factory=dict)
    """The subjects of each kind that LiteLLM has made already, and all of whose limits were mapped."""
    keys: dict[str, ImportedKey] = field(default_factory=dict)

    def add_all(self) -> None:
        """Add the limits of all tables, and the keys of the accounts file."""
        budgets = self._by_id("BudgetTable", "budget_id")
        teams = self._by_id("TeamTable", "team_id")
        keys = self.tables.get("VerificationToken", ())
        for done, row in enumerate(keys, start=1):
            if not _is_session(row):
                self._add_key(row, budgets, teams)
            if self.on_key is not None:
                self.on_key(done, len(keys))
        if n_sessions := sum(map(_is_session, keys)):
            self.into.skip(f"sessions of LiteLLM's UI: {n_sessions}", "VerificationToken", "they are keys of no client")
        for row in self.tables.get("TeamTable", ()):
            self._add(row, lambda columns: parts_of_subject(TEAM, text_of(columns.get("team_id"))), {}, "team_alias")
            self._add_member_default(row, budgets)
        for row in self.tables.get("UserTable", ()):
            is_global = text_of(row.columns.get("user_id")) == _GLOBAL_USER
            self._add(Row(row.where, without_zero(row.columns)) if is_global else row, _user_parts, {}, "user_alias")
        for table, kind, column, alias in _LINKED:
            for row in self.tables.get(table, ()):
                self._add(row, _parts_by(kind, column), budgets, alias)
        for row in self.tables.get("TeamMembership", ()):
            self._add(row, _member_parts, budgets, "")
        self._list_users_of_teams()
        self._list_missing_tables()
        self._list_other_tables()

    def _by_id(self, table: str, column: str) -> dict[str, Row]:
        return {text_of(row.columns.get(column)): row for row in self.tables.get(table, ())}

    def _add(
        self, row: Row, parts_by: Callable[[Mapping[str, Any]], Parts], budgets: Mapping[str, Row], alias: str
    ) -> None:
        n_listed = len(self.into.unmapped)
        with self.into.listing("this row", row.where):
            parts = parts_by(row.columns)
            columns = self._joined(row, budgets)
            name = _shown_name(row.columns.get(alias), parts)
            add_budget(self.into, Budget(parts, columns, row.where, name), self.moment)
            # An end user without a budget of its own has the default one in LiteLLM; any other account has none.
            has_no_default = END_USER not in parts or not is_empty(row.columns.get("budget_id"))
            # Where its own limit is lost, the default stays: better too narrow than free.
            if has_no_default and len(self.into.unmapped) == n_listed:
                for kind, subject in parts.items():
                    self.known.setdefault(kind, {})[subject] = None

    def _joined(self, row: Row, budgets: Mapping[str, Row]) -> Mapping[str, Any]:
        """The columns of a row; those that it leaves empty are those of the budget that it names."""
        own = {name: value for name, value in row.columns.items() if not is_empty(value)}
        budget_id = text_of(row.columns.get("budget_id"))
        if not budget_id:
            return own
        if budget_id not in budgets:
            self.into.skip(
                f"budget_id {budget_id[:80]}",
                row.where,
                "no such row was given: export LiteLLM_BudgetTable too, or what it limits is not limited",
            )
            return own
        return {**budgets[budget_id].columns, **own}

    def _add_key(self, row: Row, budgets: Mapping[str, Row], teams: Mapping[str, Row]) -> None:
        columns = row.columns
        token = text_of(columns.get("token"))
        if not _HASH.fullmatch(token) and not is_like_token(token):
            self.into.skip("token", row.where, "it is not the SHA-256 of a key, 64 hex digits, so its id is not known")
            return
        key = token[:16].lower() if _HASH.fullmatch(token) else key_id(token)
        self._add(row, lambda _: {KEY: key}, budgets, "key_alias")
        with self.into.listing("the accounts of this key", row.where):
            subjects = self._subjects(columns, teams)
            found = ImportedKey(key, subjects, _shown_name(columns.get("key_alias"), {}))
            if self.keys.setdefault(key, found).subjects != subjects:
                self.into.skip(f"accounts of key:{key}", row.where, "an earlier row names others for the same key")

    def _subjects(self, columns: Mapping[str, Any], teams: Mapping[str, Row]) -> dict[str, str]:
        team, user = text_of(columns.get("team_id")), text_of(columns.get("user_id"))
        of_team = teams[team].columns if team in teams else {}
        org = text_of(columns.get("organization_id")) or text_of(of_team.get("organization_id"))
        pays_itself = not team or self.users_pay_for_teams
        subjects = {
            TEAM: team,
            MEMBER: _member(team, user) if team and user else "",
            USER: user if pays_itself else "",
            ORG: org,
            PROJECT: text_of(columns.get("project_id")),
        }
        return {kind: _writable(raw) for kind, raw in subjects.items() if raw and parts_of_subject(kind, raw)}

    def _add_member_default(self, row: Row, budgets: Mapping[str, Row]) -> None:
        """`team_member_budget_id`: a limit for each member of the team that has none of its own."""
        with self.into.listing("metadata.team_member_budget_id", row.where):
            budget_id = text_of(mapping_of(row.columns.get("metadata")).get("team_member_budget_id"))
            if not budget_id:
                return
            own = {"budget_id": budget_id}
            columns = without_zero(self._joined(Row(row.where, own), budgets))
            parts = {MEMBER: encode_subject(_member(text_of(row.columns.get("team_id")), "")) + "*"}
            add_budget(self.into, Budget(parts, columns, row.where, "each member"), self.moment)

    def _list_users_of_teams(self) -> None:
        """Rates and model budgets of a user bind keys of teams too in LiteLLM, but these keys name no user here."""
        keys = self.keys.values()
        members = {encode_subject(key.subjects[MEMBER].rpartition("/")[2]) for key in keys if MEMBER in key.subjects}
        for (account, slot), limit in list(self.into.limits.items()):
            parts = dict(parts_of(account))
            is_personal = len(parts) == 1 and slot.startswith("/")
            if parts.get(USER) in members and not self.users_pay_for_teams and not is_personal:
                self.into.skip(
                    f"{account}={limit.limit} on keys of teams",
                    limit.where,
                    "such keys name a member and no user, since the user's own budget must not bind them",
                )

    def _list_missing_tables(self) -> None:
        kinds = {kind for key in self.keys.values() for kind in key.subjects}
        for table, kind in _TABLES_OF_KEYS.items():
            if kind in kinds and table not in self.tables:
                self.into.skip(
                    f"LiteLLM_{table}", "no file", "keys name rows of it: export it too, or they are not limited"
                )

    def _list_other_tables(self) -> None:
        for table in self.tables.keys() - _READ:
            rows = [row for row in self.tables[table] if not is_empty(row.columns.get("budget_id"))]
            for row in rows:
                self.into.skip("budget_id", row.where, f"budgets of LiteLLM_{table} are on nothing that pays here")
            if not rows:
                self.into.skip(f"LiteLLM_{table}", "the whole table", "no limit is read from it")


def without_zero(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """The columns of a budget that LiteLLM takes for none where its amount is 0."""
    with suppress(ValueError):
        if not is_empty(columns.get("max_budget")) and not nanos_of(columns["max_budget"]):
            return {name: value for name, value in columns.items() if name != "max_budget"}
    return columns


def _shown_name(alias: Any, parts: Parts) -> str:
    """What people call an account, fit for a comment; empty where it says nothing more, or may be a token."""
    name = " ".join(text_of(alias).split())
    is_fit = name.isprintable() and not any(map(is_like_token, name.split()))
    return name[:60] if is_fit and name not in parts.values() else ""


def _writable(raw: str) -> str:
    """The subject itself; ValueError for half a surrogate pair, which no file in UTF-8 holds."""
    raw.encode()
    return raw


def _is_session(row: Row) -> bool:
    return text_of(row.columns.get("team_id")) == _UI_TEAM


def _member(team: str, user: str) -> str:
    if "/" in team:
        raise ValueError("the id of its team contains a slash, which parts team and user here")
    return f"{team}/{user}"


def _user_parts(columns: Mapping[str, Any]) -> Parts:
    user = text_of(columns.get("user_id"))
    return {GLOBAL: ""} if user == _GLOBAL_USER else parts_of_subject(USER, user)


def _member_parts(columns: Mapping[str, Any]) -> Parts:
    return parts_of_subject(MEMBER, _member(text_of(columns.get("team_id")), text_of(columns.get("user_id"))))


def _parts_by(kind: str, column: str) -> Callable[[Mapping[str, Any]], Parts]:
    return lambda columns: parts_of_subject(kind, text_of(columns.get(column)))


_LINKED: Final = (
    ("OrganizationTable", ORG, "organization_id", "organization_alias"),
    ("ProjectTable", PROJECT, "project_id", "project_alias"),
    ("EndUserTable", END_USER, "user_id", "alias"),
    ("TagTable", TAG, "tag_name", ""),
)
"""Tables whose budgets stand in the budget table: kind, column of the subject, column of its name."""

_TABLES_OF_KEYS: Final = {
    "TeamTable": TEAM,
    "UserTable": USER,
    "TeamMembership": MEMBER,
    "OrganizationTable": ORG,
    "ProjectTable": PROJECT,
}
_READ: Final = frozenset(
    ("VerificationToken", "TeamTable", "UserTable", "BudgetTable", "TeamMembership", *(linked[0] for linked in _LINKED))
)
