"""Shows text that a client may have written: escaped, its direction isolated, invisible characters by number.

Names of accounts and models, reasons and traces are chosen by others. A right-to-left override in one of them must not
turn the figure beside it around, and a name with a zero-width space must not look like another one.
"""

from typing import Any, Final
from urllib.parse import unquote

from markupsafe import Markup

_SHOWN_MAX: Final = 300


def shown(text: str) -> str:
    """Plain text in which control, format and lone surrogate characters have become ``⟨U+202E⟩``; not yet escaped."""
    if text.isprintable() and len(text) <= _SHOWN_MAX:
        return text
    cut = f"{text[:_SHOWN_MAX]}…" if len(text) > _SHOWN_MAX else text
    return "".join(letter if letter.isprintable() else f"⟨U+{ord(letter):04X}⟩" for letter in cut)


def name(text: object) -> Markup:
    """A name as HTML, whose direction ends with it."""
    return Markup("<bdi>{}</bdi>").format(shown(str(text)))


def decoded(account: str) -> str:
    """An account as its clients wrote it: what it is named by is percent-encoded, and stays what is shown first."""
    return unquote(account)


def finalized(value: Any) -> Any:
    """What stands for a value in every ``{{ … }}``, also in attributes; markup of ours stays."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
