"""Settings that may stand in a file: `@FILE` in place of a text, for what is long or secret."""

from pathlib import Path


def text_or_file(value: str) -> str:
    """The text, or that of the file which `@` names; ValueError, in one line, where that cannot be read."""
    try:
        return Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
    except OSError as unreadable:
        raise ValueError(f"cannot read the file: {unreadable.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
