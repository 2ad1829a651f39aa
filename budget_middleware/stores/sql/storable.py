"""Text that no database takes: it is refused before it spoils the transaction of others."""

from collections.abc import Iterator

from budget_middleware.core.verbs import Repair
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.sql.batch import Sweep, Verb


def require_storable(verb: Verb) -> None:
    """StoreRefused for text with half a character (a lone surrogate) or a NUL."""
    text = "".join(_texts(verb))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreRefused(str(error)) from error
    if "\0" in text:
        raise StoreRefused("text with a NUL character cannot be stored")


def _texts(verb: Verb) -> Iterator[str]:
    yield verb.trace
    if isinstance(verb, Sweep):
        return
    yield verb.id
    yield getattr(verb, "reason", "")
    yield getattr(verb, "bill", "")
    targets = (verb.target,) if isinstance(verb, Repair) else getattr(verb, "targets", ())
    for target in targets:
        yield target.account
