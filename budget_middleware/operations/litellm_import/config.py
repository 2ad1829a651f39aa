"""Maps LiteLLM's config: the proxy's own budget, what new users, teams and keys get, and budgets of models and tags."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from budget_middleware.core.payers.accounts import ABSENT, ANY, GLOBAL, KEY, MODEL, encode_subject, key_id
from budget_middleware.operations.litellm_import.budgets import LIMITING, Budget, Moment, add_budget
from budget_middleware.operations.litellm_import.cells import flag_of, is_empty, text_of
from budget_middleware.operations.litellm_import.collector import LIFTED, Collector, Parts, default_of, is_like_token
from budget_middleware.operations.litellm_import.database import END_USER, TAG, TEAM, USER, Tables, without_zero
from budget_middleware.operations.litellm_import.values import Config

Path = tuple[str, ...]

_LITELLM, _GENERAL = "litellm_settings", "general_settings"
_FIELDS: Final = ("max_budget", "budget_duration", "soft_budget", "tpm_limit", "rpm_limit", "max_parallel_requests")
_NEW: Final = {
    "default_internal_user_params": USER,
    "default_team_params": TEAM,
    "default_key_generate_params": KEY,
}
"""What each new user, team and key gets that asks for nothing else."""

_REASONS: Final = {
    "provider_budget_config": "a budget of a provider is on nothing that pays; put limits on its models",
    "upperbound_key_generate_params": "it bounds what may be asked for a new key, and limits no request",
    "max_ui_session_budget": "sessions of LiteLLM's UI are no clients",
    "max_user_budget": "LiteLLM reads it nowhere",
    "priority_reservation": "no share of a model's rate is kept for some of its callers",
    "budget_reset_time": "windows end at midnight of BUDGET_TIMEZONE",
    "budget_rollover": "what was spent beyond a limit is not carried into the next window",
    "default_key_max_budget_alert_emails": "nobody is mailed: add !alert=PERCENT to the limits, and watch the metric",
    "token_rate_limit_type": "tokens are input and output together, cached input as BUDGET_TOKENS says",
}
_BORNE: Final = "it is what a deployment bears, which LiteLLM's router keeps; for all callers of a model there is"
_OF_DEPLOYMENTS: Final = {
    "rpm": f"{_BORNE} model:NAME=Nrequests/minute",
    "tpm": f"{_BORNE} model:NAME=Ntokens/minute",
    "max_parallel_requests": f"{_BORNE} model:NAME=Ninflight",
    "max_budget": "it is on one of several deployments of a model, and callers pay for models",
}
_HARMLESS: Final = {
    *("proxy_budget_rescheduler_min_time", "proxy_budget_rescheduler_max_time", "budget_duration", "timezone"),
    "disable_budget_reservation",
}


class ConfigImport:
    """One config, read once: each setting that may limit something is mapped, or listed."""

    def __init__(self, config: Config, *, into: Collector, moment: Moment) -> None:
        self._config = config
        self._into = into
        self._moment = moment
        self._read: set[Path] = set()
        self.new: list[Budget] = []
        """What LiteLLM gives a new account when it makes it: those that exist without have no limit."""

    def value(self, *path: str) -> Any:
        """The setting at a path, marked as read; None where there is none."""
        self._read.add(path)
        found: Any = self._config.tree
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def where(self, *path: str) -> str:
        return f"{self.place(*path)}: {_dotted(path)}"

    def place(self, *path: str) -> str:
        line = self._config.lines.get(path)
        return f"{self._config.file}{f' line {line}' if line else ''}"

    def master_key(self) -> Parts | None:
        """The account of the master key, if the config has it in clear text."""
        master_key = text_of(self.value(_GENERAL, "master_key"))
        return {KEY: key_id(master_key)} if is_like_token(master_key) else None

    def users_pay_for_teams(self) -> bool:
        return flag_of(self.value(_GENERAL, "apply_user_budget_to_team_keys"))

    def headers_of_end_users(self) -> tuple[str, ...]:
        """Headers in which LiteLLM looks for end users besides its own."""
        mappings = self.value(_GENERAL, "user_header_mappings")
        entries = [each for each in mappings if isinstance(each, Mapping)] if isinstance(mappings, list) else []
        names = [each.get("header_name") for each in entries if each.get("litellm_user_role") == "customer"]
        names.append(self.value(_GENERAL, "user_header_name"))
        return tuple(text_of(name).lower() for name in names if not is_empty(name))

    def add_all(self, tables: Tables) -> None:
        self._add_global()
        self._add_new()
        self._add_end_users(tables)
        self._add_tags()
        self._add_models()
        self._list_unread()

    def _add(self, parts: Parts, columns: Mapping[str, Any], *path: str, note: str = "") -> Budget:
        budget = Budget(parts, columns, self.where(*path), note)
        add_budget(self._into, budget, self._moment)
        return budget

    def _add_global(self) -> None:
        columns = {name: self.value(_LITELLM, name) for name in ("max_budget", "budget_duration")}
        self._add({GLOBAL: ""}, without_zero(columns), _LITELLM)
        for name, parts in (("global_max_parallel_requests", {GLOBAL: ""}), ("max_parallel_requests", default_of(KEY))):
            value = self.value(_GENERAL, name)
            if not is_empty(value):
                self._add(parts, {"max_parallel_requests": value}, _GENERAL, name)

    def _add_new(self) -> None:
        for name, kind in _NEW.items():
            columns = {field: self.value(_LITELLM, name, field) for field in _FIELDS}
            if kind == USER:
                columns = {**self._older_defaults_of_users(), **_given(columns)}
            if _given(columns):
                self.new.append(self._add(default_of(kind), columns, _LITELLM, name))

    def _older_defaults_of_users(self) -> dict[str, Any]:
        names = ("max_internal_user_budget", "default_max_internal_user_budget")
        amounts = [value for name in names if not is_empty(value := self.value(_LITELLM, name))]
        duration = self.value(_LITELLM, "internal_user_budget_duration")
        return _given({"max_budget": next(iter(amounts), None), "budget_duration": duration})

    def _add_end_users(self, tables: Tables) -> None:
        budget_id = text_of(self.value(_LITELLM, "max_end_user_budget_id"))
        path, note = (_LITELLM, "max_end_user_budget"), "LiteLLM 1.106 does not look at it"
        columns: Mapping[str, Any] = {"max_budget": self.value(*path)}
        if budget_id:
            path, note = (_LITELLM, "max_end_user_budget_id"), ""
            self._read.discard((_LITELLM, "max_end_user_budget"))
            rows = {text_of(row.columns.get("budget_id")): row.columns for row in tables.get("BudgetTable", ())}
            columns = rows.get(budget_id, {})
            if not columns:
                reason = "no such row was given: export LiteLLM_BudgetTable too"
                self._into.skip(f"budget_id {budget_id[:80]}", self.where(*path), reason)
        if _given({name: columns.get(name) for name in (*_FIELDS, "model_max_budget") if name != "budget_duration"}):
            self.new.append(self._add(default_of(END_USER), columns, *path, note=note))
            says = "requests that name no end user"
            self._into.limit({END_USER: ABSENT}, LIFTED, "", where=self.where(*path), note=says)

    def _add_tags(self) -> None:
        settings = self._config.tree.get(_LITELLM)
        tags = settings.get("tag_budget_config") if isinstance(settings, Mapping) else None
        for tag, columns in tags.items() if isinstance(tags, Mapping) else ():
            if isinstance(columns, Mapping):
                path = (_LITELLM, "tag_budget_config", str(tag))
                self._read.add(path)
                self._add({TAG: encode_subject(str(tag))}, _renamed(columns), *path)

    def _add_models(self) -> None:
        """Budgets of models that have one deployment; of several, each has its own, and callers pay for none."""
        deployments: dict[str, list[int]] = {}
        entries = self._config.tree.get("model_list")
        listed = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
        for at, entry in enumerate(listed):
            deployments.setdefault(text_of(entry.get("model_name")), []).append(at)
        for model, places in deployments.items():
            for at in places if model else ():
                self._add_deployment(model, listed[at].get("litellm_params"), at, is_only=len(places) == 1)

    def _add_deployment(self, model: str, params: Any, at: int, *, is_only: bool) -> None:
        if not isinstance(params, Mapping):
            return
        path = ("model_list", str(at), "litellm_params")
        name = encode_subject(model)
        for_keys = {field: params.get(f"default_api_key_{field}") for field in ("tpm_limit", "rpm_limit")}
        for field in for_keys:
            self._read.add((*path, f"default_api_key_{field}"))
        self._add({KEY: ANY, MODEL: name}, for_keys, *path)
        if is_only and not is_empty(params.get("max_budget")):
            self._read.add((*path, "max_budget"))
            columns = {field: params.get(field) for field in ("max_budget", "budget_duration")}
            self._add({MODEL: name}, columns, *path)

    def _list_unread(self) -> None:
        for path, value in _leaves(self._config.tree):
            is_read = any(path[:length] in self._read for length in range(1, len(path) + 1))
            limiting = [at for at, name in enumerate(path) if LIMITING.search(name) and name not in _HARMLESS]
            if limiting and not is_read and not is_empty(value):
                # One line for each of the things that a setting limits, whatever it says of them.
                shown = path[: limiting[0] + 2]
                self._into.skip(_dotted(shown), self.place(*shown), _reason(path))


def _dotted(path: Path) -> str:
    return ".".join("***" if is_like_token(name) else name for name in path)


def _reason(path: Path) -> str:
    known = _OF_DEPLOYMENTS if path[0] == "model_list" else _REASONS
    return next((known[name] for name in path if name in known), "no limit here is known for it")


def _leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _leaves(value, (*path, str(name)))
    elif isinstance(tree, list):
        for at, value in enumerate(tree):
            yield from _leaves(value, (*path, str(at)))
    else:
        yield path, tree


def _given(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in columns.items() if not is_empty(value)}


def _renamed(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a budget by their newer names."""
    newer = {"budget_limit": "max_budget", "time_period": "budget_duration"}
    return {newer.get(str(name), str(name)): value for name, value in columns.items()}
