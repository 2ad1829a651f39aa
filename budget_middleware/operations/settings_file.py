"""The text of a settings file: what matters first is set, everything else is a comment with its default.

A shell reads it (`set -a; . ./budget.env`), and so does systemd (`EnvironmentFile=`): each value is quoted, for limits
have spaces and semicolons. It is made of the table of settings, so that it lists each one.
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from budget_middleware.settings import SettingDoc, setting_docs

_WIDTH: Final = 110

_HEAD: Final = """\
Settings of budget-middleware. Read them into a shell, and check them:
  set -a; . ./budget.env; set +a; budget-middleware doctor
What matters first is set; everything else is a comment below, with its default. Keep this file private."""

_FIRST: Final = {
    "BUDGET_STORE_URL": "Several machines need a server: redis://HOST:PORT/DB or postgresql://USER:PASSWORD@HOST/NAME.",
    "BUDGET_LIMITS": "An account is who pays: `key` is each API key for itself, `global` is everybody together;"
    " team:research=9000/month limits one team. Units: 200000tokens/minute, 60requests/minute, 8inflight.",
    "BUDGET_MODE": "For the first week, shadow: nothing is refused, `budget-middleware shadow` tells what would be.",
    "BUDGET_TIMEZONE": "",
    "BUDGET_HASH_SECRET": "Made for this file. With another one every key is another account, so keep it.",
    "BUDGET_ADMIN_TOKEN": "Made for this file. Uncomment it for admin API and dashboard, which need the extra [admin].",
}
"""What a newcomer should know beside the meaning of a setting."""


def settings_text(*, folder: Path, hash_secret: str, admin_token: str) -> str:
    """The text of a file in ``folder``, beside which the counters are kept too."""
    values = {
        "BUDGET_STORE_URL": _file_url(folder),
        "BUDGET_LIMITS": "key=10/day; global=200/day",
        "BUDGET_MODE": "enforce",
        "BUDGET_TIMEZONE": "UTC",
        "BUDGET_HASH_SECRET": hash_secret,
    }
    docs = {doc.variable: doc for doc in setting_docs()}
    first = [_entry(docs.pop(name), hint, values.get(name), admin_token) for name, hint in _FIRST.items()]
    others = [_entry(doc, "", None, doc.default) for doc in docs.values()]
    return "\n\n".join([_comment(_HEAD), *first, _comment("Everything else."), *others]) + "\n"


def _file_url(folder: Path) -> str:
    """The store's URL from the root, so that it is the same file wherever a command runs."""
    return f"sqlite:///{quote(str(folder / 'budget.db'))}"


def _entry(doc: SettingDoc, hint: str, value: str | None, default: str) -> str:
    """A setting with its explanation; a comment itself unless it has a value."""
    assignment = f"# {doc.variable}='{default}'" if value is None else f"{doc.variable}='{value}'"
    return "\n".join([*_wrapped(f"{doc.meaning} {hint}".strip()), *_wrapped(f"Accepted: {doc.accepted}"), assignment])


def _wrapped(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in text.splitlines())
