"""Checks the admin API: its tokens, and what it needs to be installed."""

from typing import Final

from pydantic import SecretStr

from budget_middleware.operations.admin_extra import missing_extra
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.settings import Settings

SHORT_CHARS: Final = 32
"""A random token of so many letters, as `openssl rand -hex 16` prints one, is guessed by nobody."""


def admin_findings(settings: Settings) -> list[Finding]:
    """What is wrong with the admin API; nothing where there is none. Equal tokens are no settings at all."""
    return [_finding(settings)] if settings.has_admin_token else []


def _finding(settings: Settings) -> Finding:
    if missing := missing_extra():
        return Finding("admin", Health.FAIL, f"the admin API stops the gateway: {missing}", "install it")
    tokens = {"BUDGET_ADMIN_TOKEN": settings.admin_token, "BUDGET_ADMIN_READ_TOKEN": settings.admin_read_token}
    if short := [name for name, token in tokens.items() if _is_short(token)]:
        have = "has" if len(short) == 1 else "have"
        message = f"{' and '.join(short)} {have} fewer than {SHORT_CHARS} characters: it may be guessed"
        return Finding("admin", Health.WARN, message, "set what `openssl rand -hex 32` prints")
    may = "reads" if not settings.admin_token.get_secret_value() else "reads and writes"
    return Finding("admin", Health.OK, f"the admin API at {settings.admin_path} {may}")


def _is_short(token: SecretStr) -> bool:
    return 0 < len(token.get_secret_value()) < SHORT_CHARS
