"""How settings are read: from the call, else the environment, else the defaults; and the line for a wrong one.

A variable that is set to nothing counts as not set. No line shows a secret.
"""

import difflib
import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from budget_middleware.core.limits.grammar import masked_limits
from budget_middleware.core.payers.accounts import MASK
from budget_middleware.setting_types import redact_url
from budget_middleware.settings import PREFIX, Settings, SettingsError, accepted_values

_SHOWN_CHARS = 80
_log = logging.getLogger("budget_middleware")


def load(**overrides: Any) -> Settings:
    """Read the settings: `overrides`, else `BUDGET_*`, else the defaults. Raises only `SettingsError`.

    A `BUDGET_*` variable that is no setting may belong to another program: it is logged once, as a warning.
    """
    for name in overrides.keys() - Settings.model_fields.keys():
        raise SettingsError(f"{name}: no such setting; {_closest(name)}")
    try:
        return Settings(**_from_environment() | overrides)
    except ValidationError as invalid:
        raise SettingsError(_one_line(invalid.errors())) from None


def _from_environment() -> dict[str, str]:
    named: dict[str, str] = {}
    for variable, text in os.environ.items():
        name = variable.lower().removeprefix(PREFIX.lower())
        if name in Settings.model_fields and name != variable.lower():
            if text:
                named[name] = text
        elif variable.startswith(PREFIX):
            _warn_of_unknown(variable)
    return named


@cache
def _warn_of_unknown(variable: str) -> None:
    closest = _closest(variable.removeprefix(PREFIX).lower(), prefix=PREFIX)
    _log.warning("%s is set, but there is no such setting; %s", variable, closest)


def _closest(name: str, *, prefix: str = "") -> str:
    """The settings that may be meant, as keywords; with the prefix of variables as these."""
    close = difflib.get_close_matches(name, Settings.model_fields, n=3)
    if prefix:
        close = [prefix + each.upper() for each in close]
    return f"closest: {', '.join(close)}" if close else "none is close to it"


def _one_line(errors: list[ErrorDetails]) -> str:
    first, *others = errors
    line = _error_line(first) if first["loc"] else str(first["ctx"]["error"])
    more = f" (and {len(others)} more)" if others else ""
    return " ".join(line.splitlines()) + more


def _error_line(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    reason = str(error.get("ctx", {}).get("error", "")) or f"accepted: {accepted_values(name)}"
    return f"{PREFIX}{name.upper()}{_shown(name, error['input'])}: {reason}"


def _shown(name: str, value: object) -> str:
    if Settings.model_fields[name].annotation is SecretStr:
        return ""
    text = _SHOW.get(name, str)(value) if isinstance(value, str) else str(value)
    return f"={text!r}" if len(text) <= _SHOWN_CHARS else f"={text[:_SHOWN_CHARS]!r}…"


def _shown_limits(text: str) -> str:
    return text if text.startswith("@") else masked_limits(text)


def _shown_secrets(text: str) -> str:
    return text if text.startswith("@") else MASK


# Settings in whose value a secret may stand, and how they are shown.
_SHOW: Mapping[str, Callable[[str], str]] = {
    "history_url": redact_url,
    "store_url": redact_url,
    "limits": _shown_limits,
    "alerts": _shown_secrets,
    "webhooks": _shown_secrets,
}
