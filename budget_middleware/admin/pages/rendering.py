"""Renders templates: every value is escaped, and text of others is made harmless before that."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from budget_middleware.admin.pages.figures import amount, amounts, instant, moment, span
from budget_middleware.admin.pages.hostile_text import decoded, finalized, name
from budget_middleware.core.limits.texts import rule_text
from budget_middleware.operations.values import OMITTED

_MEDIA_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of ours that pages load."""

    content: bytes
    media_type: str


def _static_files() -> dict[str, StaticFile]:
    folder = files("budget_middleware.admin.pages") / "static"
    return {
        each.name: StaticFile(each.read_bytes(), _MEDIA_TYPES[each.name.rpartition(".")[2]])
        for each in folder.iterdir()
        if each.name.rpartition(".")[2] in _MEDIA_TYPES
    }


STATIC_FILES: Final = _static_files()
STATIC_VERSION: Final = hashlib.sha256(
    b"".join(STATIC_FILES[each].content for each in sorted(STATIC_FILES))
).hexdigest()[:12]
"""Stands in the address of each static file, so that browsers may keep it for ever."""


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("budget_middleware.admin.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "amount": amount,
        "amounts": amounts,
        "decoded": decoded,
        "instant": instant,
        "moment": moment,
        "name": name,
        "rule_text": rule_text,
        "span": span,
    }
    made.tests["given"] = lambda value: value is not OMITTED and value is not None
    made.globals["static_version"] = STATIC_VERSION
    return made


_ENVIRONMENT: Final = _environment()


def render(template: str, **values: Any) -> str:
    return _ENVIRONMENT.get_template(template).render(**values)


def render_macro(template: str, macro: str, *arguments: Any) -> str:
    """What a macro of a template makes of its arguments: a part of a page, for whoever sees it live."""
    return str(getattr(_ENVIRONMENT.get_template(template).module, macro)(*arguments))
