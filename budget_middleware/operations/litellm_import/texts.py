"""Writes what an import found as the text of BUDGET_LIMITS, as an accounts file, and as the list of the rest."""

import json
from collections.abc import Iterable

from budget_middleware.operations.litellm_import.values import Import, ImportedLimit


def limits_text(found: Import) -> str:
    """The limits, one a line; comments say which settings they need, and which periods were chosen and why."""
    lines = [f"# These limits need {name}={value}" for name, value in found.settings.items()]
    lines += [f"# {mapped.duration} is {mapped.period}: {mapped.why}" for mapped in found.durations]
    return _text(map(_one_line, [*lines, *map(_limit_line, found.limits)]))


def accounts_text(found: Import) -> str:
    """The accounts file: a table for each key."""
    return _text(
        line
        for key in found.keys
        for line in (
            f'[keys."{key.key}"]{_comment(key.name)}',
            *(f"{kind} = {_toml_string(subject)}" for kind, subject in key.subjects.items()),
            "",
        )
    )


def commands_text(found: Import) -> str:
    return _text(found.commands)


def unmapped_text(found: Import) -> str:
    return _text(_one_line(f"# {each.where}: {each.what}: {each.reason}") for each in found.unmapped)


def _toml_string(text: str) -> str:
    # As in JSON, but that TOML knows no pairs of surrogates, and wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _limit_line(limit: ImportedLimit) -> str:
    return f"{limit.account}={limit.limit}{_comment(limit.note)}"


def _comment(text: str) -> str:
    return f"  # {text}" if text else ""


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _one_line(text: str) -> str:
    """A line with a comment: the names in it must not begin one of their own, which could be a limit."""
    return " ".join(text.splitlines())
