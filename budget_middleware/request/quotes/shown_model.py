"""Names of models as others spell them, as messages and spans show them."""

SHOWN_CHARS = 128


def short(model: str | None) -> str:
    """A name that is not long; empty if there is none."""
    return model[:SHOWN_CHARS] if model else ""


def shown_model(name: str) -> str:
    """A name as a span may show it: not long, and without what UTF-8 cannot hold."""
    shown = name[:SHOWN_CHARS]
    return shown if shown.isascii() else shown.encode("utf-8", "backslashreplace").decode()
