"""Whether what the extra `[admin]` installs is there."""

from importlib.util import find_spec
from typing import Final

_MODULES: Final = ("fastapi", "jinja2")


def missing_extra() -> str:
    """One line that says what is missing and how to install it; empty where nothing is."""
    missing = [name for name in _MODULES if find_spec(name) is None]
    if not missing:
        return ""
    is_missing = "is" if len(missing) == 1 else "are"
    return f'{" and ".join(missing)} {is_missing} not installed: pip install "budget-middleware[admin]"'
