"""Fields of Google's APIs, which take each in two spellings, `maxOutputTokens` and `max_output_tokens`."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from budget_middleware.apis.bodies.reading import mapping_of

_CONFIG = "generationConfig"
_MODELS = "models/"


@lru_cache(256)  # Names of fields stand in the code.
def both(name: str) -> tuple[str, str]:
    """Both spellings of a field that is named by the first."""
    return name, re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def in_camel_case(name: str) -> str:
    """The API's spelling of a field, by that of Google's SDKs."""
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def has_any(body: Mapping[str, object], *names: str) -> bool:
    """Whether one of the fields is there, in either spelling, and not null."""
    return any(body.get(spelling) is not None for name in names for spelling in both(name))


def values_of(body: Mapping[str, object], name: str) -> Iterator[object]:
    """What a field holds, in each spelling in which it is there."""
    return (body[spelling] for spelling in both(name) if spelling in body)


def bare_model(name: str) -> str:
    """A model's name without the collection that it may be written in."""
    return name.removeprefix(_MODELS)


def configs_of(body: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The objects that say how an answer is to be generated: nobody knows which of two spellings would count."""
    return map(mapping_of, values_of(body, _CONFIG))
