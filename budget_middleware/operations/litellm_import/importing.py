"""Reads LiteLLM's limits from its config and exports of its database, and maps them to limits and accounts."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from budget_middleware.core.payers.accounts import KEY, compound_of
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.litellm_import.budgets import Budget, Moment
from budget_middleware.operations.litellm_import.cells import mapping_of, text_of
from budget_middleware.operations.litellm_import.collector import LIFTED, Collector
from budget_middleware.operations.litellm_import.config import ConfigImport
from budget_middleware.operations.litellm_import.config_files import SECTIONS, read_config
from budget_middleware.operations.litellm_import.database import END_USER, MEMBER, PROJECT, TAG, Database
from budget_middleware.operations.litellm_import.table_files import is_dump, read_csv, read_dump, read_json
from budget_middleware.operations.litellm_import.values import Config, Import, ImportedKey, Row, Sources

_HEADERS_OF_END_USERS: Final = ("x-litellm-customer-id", "x-litellm-end-user-id")
_IN_BODY: Final = "body:user|body:litellm_metadata.user|body:metadata.user_id|body:safety_identifier"
_TAGS: Final = "header:x-litellm-tags|body:metadata.tags"
"""Where LiteLLM finds the subjects that no key tells."""


def import_litellm(
    files: Mapping[str, str],
    *,
    now: datetime,
    timezone: ZoneInfo,
    has_secret: bool,
    on_key: Callable[[int, int], None] | None = None,
) -> Import:
    """Map the texts of files, by name. ``timezone`` is used unless a config names one; ``has_secret`` says whether
    keys are hashed under BUDGET_HASH_SECRET, which LiteLLM's hashes of keys do not fit. ``on_key`` is told after each
    key how many of how many are done.

    OperationError, in one line, for a text that is none of the accepted, and for keys whose ids cannot be known.
    """
    try:
        sources = read_sources(files)
    except ValueError as error:
        raise OperationError(str(error)) from None
    if has_secret and sources.tables.get("VerificationToken"):
        raise OperationError(
            "BUDGET_HASH_SECRET is set, and LiteLLM keeps SHA-256 of its keys without a secret: their ids cannot be"
            " mapped; unset it here and in the gateways, or leave the table of keys out"
        )
    into = Collector()
    zone = _zone_of(sources.configs, timezone)
    moment = Moment(now, zone)
    configs = [ConfigImport(config, into=into, moment=moment) for config in sources.configs]
    pay = [config.users_pay_for_teams() for config in configs]
    database = Database(sources.tables, into, moment, users_pay_for_teams=any(pay), on_key=on_key)
    database.add_all()
    for config in configs:
        config.add_all(sources.tables)
        if (master_key := config.master_key()) is not None and not has_secret:
            database.known.setdefault(KEY, {})[master_key[KEY]] = None
    for budget in (budget for config in configs for budget in config.new):
        _lift_for_known(into, budget, database)
    limited = _kinds(into)
    return Import(
        settings=_settings(limited, configs, zone if zone != timezone else None),
        durations=tuple(into.durations.values()),
        limits=tuple(sorted(into.limits.values(), key=lambda limit: (limit.account.count("+"), limit.account))),
        keys=tuple(_needed(key, limited) for key in database.keys.values()),
        commands=tuple(into.commands.values()),
        unmapped=tuple(into.unmapped),
    )


def read_sources(files: Mapping[str, str]) -> Sources:
    """What the texts hold; ValueError, in one line, for one that is neither a config nor an export."""
    configs: list[Config] = []
    tables: dict[str, list[Row]] = {}
    for file, text in files.items():
        config, found = _read(file, text)
        configs += [config] if config is not None else []
        for table, rows in found:
            tables.setdefault(table, []).extend(rows)
    # What LiteLLM's UI has changed of its config stands in its database, and goes before the file.
    changed = [
        Config(row.where, {text_of(row.columns.get("param_name")): mapping_of(row.columns.get("param_value"))}, {})
        for row in tables.pop("Config", [])
    ]
    return Sources((*changed, *configs), {table: tuple(rows) for table, rows in tables.items()})


def _read(file: str, text: str) -> tuple[Config | None, list[tuple[str, tuple[Row, ...]]]]:
    if not text.strip():
        raise ValueError(f"{file}: it is empty")
    if text.lstrip().startswith(("{", "[")):
        tree, found = read_json(file, text)
        if tree is not None and not SECTIONS & tree.keys():
            raise ValueError(f"{file}: accepted are a config of LiteLLM, or an object of its tables by name")
        return Config(file, tree, {}) if tree is not None else None, found
    if is_dump(text):
        return None, read_dump(file, text)
    if file.lower().endswith(".csv"):
        return None, read_csv(file, text)
    return read_config(file, text), []


def _zone_of(configs: Iterable[Config], timezone: ZoneInfo) -> ZoneInfo:
    for config in configs:
        settings = config.tree.get("litellm_settings")
        name = text_of(settings.get("timezone")) if isinstance(settings, Mapping) else ""
        if name:
            try:
                return ZoneInfo(name)
            except (ValueError, KeyError, OSError):
                raise OperationError(
                    f"{config.file}: litellm_settings.timezone is no zone of the zone database"
                ) from None
    return timezone


def _lift_for_known(into: Collector, budget: Budget, database: Database) -> None:
    """What only new accounts get must not bind those that LiteLLM has without it."""
    default = compound_of(budget.parts)
    slots = [
        slot for (account, slot), limit in into.limits.items() if account == default and budget.where in limit.where
    ]
    (kind,) = budget.parts
    for subject in database.known.get(kind, ()):
        for slot in slots:
            if (f"{kind}:{subject}", slot) not in into.limits:
                into.limit({kind: subject}, LIFTED, slot, where=budget.where, note="older than the default")


def _needed(key: ImportedKey, limited: AbstractSet[str]) -> ImportedKey:
    """The key without members and projects where no limit is on them: each account is a counter in every request."""
    needed = {kind: raw for kind, raw in key.subjects.items() if kind in limited or kind not in (MEMBER, PROJECT)}
    return replace(key, subjects=needed)


def _kinds(into: Collector) -> set[str]:
    return {kind for account, _ in into.limits for kind in account.partition(":")[0].split("+")}


def _settings(kinds: AbstractSet[str], configs: Iterable[ConfigImport], zone: ZoneInfo | None) -> dict[str, str]:
    headers = dict.fromkeys(
        (*_HEADERS_OF_END_USERS, *(name for config in configs for name in config.headers_of_end_users()))
    )
    end_users = "|".join((*(f"header:{name}" for name in headers), _IN_BODY))
    sources = [f"{kind}={places}" for kind, places in ((END_USER, end_users), (TAG, _TAGS)) if kind in kinds]
    settings = {"BUDGET_ACCOUNTS": f"'{'; '.join(('key=token', *sources))}'"} if sources else {}
    return settings | ({"BUDGET_TIMEZONE": zone.key} if zone is not None else {})
