"""Where a request names its model: in the path, in the body, in the query.

Gateways differ in which of them counts, and some have a list of models to fall back to. All named models are returned,
so that the dearest is estimated and the limits of all bind.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.extra_body import EXTRA
from budget_middleware.apis.bodies.reading import MAX_ID, list_of, mapping_of, text_in
from budget_middleware.core.fast import maker_of

# The model of Azure's OpenAI, and of gateways that route by path: all that is before the API's own path, for LiteLLM
# takes slashes too.
_DEPLOYMENT: Final = re.compile(r"/(?:deployments|engines)/(?P<model>.+)", re.DOTALL | re.IGNORECASE | re.ASCII)
_SEGMENT: Final = re.compile(r"/(?:deployments|engines)/(?P<model>[^/]+)/", re.IGNORECASE | re.ASCII)
# The models to fall back to, of LiteLLM and of OpenRouter; and where LiteLLM takes these from, too.
_FALLBACKS: Final = ("fallbacks", "models", "context_window_fallbacks", "content_policy_fallbacks")
_HOLDERS: Final = (EXTRA, "router_settings_override")
_ELSEWHERE: Final = frozenset({*_FALLBACKS, *_HOLDERS})
# Of more to fall back to, only the first are looked at: nobody falls back so often.
_MAX_NAMES: Final = 16
_TOO_LONG: Final = f"the request names a model by more than {MAX_ID} characters"
_GEMINI_PREFIX: Final = "models/"


class Names(NamedTuple):
    """The model that is named first, the others that some gateway takes, and what may be a model's name."""

    model: str | None
    others: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()


_names_of_fields = maker_of(Names)


def names_of(body: Mapping[str, object], *, path: str, query: bytes, pattern: re.Pattern[str]) -> Names:
    """The models that a request names; `pattern` is that of the API's paths, with a group `model` if it is in them.

    BadRequestError where the path, the body and the query name too many, or the body a very long one.
    """
    in_path, is_its_place = model_in_path(pattern, path)
    in_body = body.get("model")
    if not isinstance(in_body, str) or not in_body:
        in_body = None
    elif len(in_body) > MAX_ID:
        # It would be kept as long as its answer takes.
        raise BadRequestError(_TOO_LONG)
    if not query and in_path is None and _ELSEWHERE.isdisjoint(body):
        return _names_of_fields((in_body, (), ()))
    in_query = [value for name, value in _fields(query) if name == "model" and value]
    in_extra = _name_in_extra(body)
    named = [name for name in (in_path, None if is_its_place else in_body, *in_query, in_extra) if name]
    # The one in the body first: names to fall back to must not push it out.
    maybe = [*([in_body] if is_its_place and in_body else ()), *_fallbacks(body)]
    model = named[0] if named else None
    others = _others(model, named[1:])
    # Apps take the first or the last of a repeated parameter, so none of them may be left out.
    if len(others) > _MAX_NAMES:
        raise BadRequestError(f"the request names more than {_MAX_NAMES} models")
    return Names(model, others, _others(model, maybe, others)[:_MAX_NAMES])


@lru_cache(256)  # Paths are hostile input: so many of them are remembered.
def model_in_path(pattern: re.Pattern[str], path: str) -> tuple[str | None, bool]:
    """The model that a path names, and whether that is where the API has it."""
    found = pattern.search(path)
    if found is not None and "model" in pattern.groupindex and found["model"]:
        return found["model"], True
    # At a route of the operator's own nobody knows where the API's path begins, and some patterns take in all of it.
    begins = 0 if found is None else found.start()
    deployment = _DEPLOYMENT.search(path, 0, begins) if begins else _SEGMENT.search(path)
    return (deployment["model"], False) if deployment else (None, False)


def _fields(query: bytes) -> Iterable[tuple[str, str]]:
    # As ASGI frameworks read it; what is not UTF-8 is no model's name.
    return parse_qsl(query.decode("latin-1"), errors="replace") if b"model" in query or b"%" in query else ()


def _name_in_extra(body: Mapping[str, object]) -> str | None:
    """The model that LiteLLM may send to the provider in place of the body's own."""
    name = text_in(mapping_of(body.get(EXTRA)), "model")
    if name is not None and len(name) > MAX_ID:
        raise BadRequestError(_TOO_LONG)
    return name


def _fallbacks(body: Mapping[str, object]) -> Iterator[str]:
    for source in (body, *[mapping_of(body.get(holder)) for holder in _HOLDERS]):
        for field in _FALLBACKS:
            for name in _names_in(list_of(source.get(field))):
                if len(name) <= MAX_ID:
                    yield name


def _names_in(entries: list[object]) -> Iterator[str]:
    """The models of a list to fall back to: names, requests with one, and lists by the name that falls back."""
    for entry in entries[:_MAX_NAMES]:
        fields = mapping_of(entry)
        if isinstance(entry, str):
            yield entry
        elif "model" in fields:
            yield from filter(None, (text_in(fields, "model"),))
        else:
            for names in islice(fields.values(), _MAX_NAMES):
                yield from (name for name in list_of(names)[:_MAX_NAMES] if isinstance(name, str) and name)


def _others(model: str | None, names: Iterable[str], known: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names that are not the first one by another spelling, each once."""
    seen = dict.fromkeys(map(_bare, known))
    first = None if model is None else _bare(model)
    others: list[str] = []
    for name in names:
        bare = _bare(name)
        if bare != first and bare not in seen and len(others) <= _MAX_NAMES:
            seen[bare] = None
            others.append(name)
    return tuple(others)


def _bare(name: str) -> str:
    return name.removeprefix(_GEMINI_PREFIX).lower()
