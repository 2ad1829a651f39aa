"""What a request's path says: which LLM API it calls, that it is free, or that it is unknown.

Each reading of the path (see `apis.routes.paths`) is judged by itself, and the dearest judgement stands: what is
metered in any reading is metered, and only what is free in all of them is free. Readings that are plain go before those
that are still odd, such as `/v1/chat//completions`, which no router takes for a route by itself.

The last word of a path does not make a route one of ours where others use that word too: `/mcp/sse/messages`,
`/forms/7/responses`. There the segment before it must say so (a version as in `/v1/messages`, or whose API it is as in
`/anthropic/messages`), or else the body: a readable body without a single field of that API, behind such a path, is
somebody else's request. What cannot be read is ours.
"""

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from starlette.types import Scope

from budget_middleware.apis import APIS, api_at, is_free_route
from budget_middleware.apis.bodies.reading import UNREADABLE, PartialBody
from budget_middleware.apis.jobs.batches import ANTHROPIC_BATCH, OPENAI_BATCH, batch_api_at
from budget_middleware.apis.jobs.looks import job_api_at
from budget_middleware.apis.jobs.realtime_direct import realtime_direct_at
from budget_middleware.apis.json_rpc.calls import RpcApi
from budget_middleware.apis.json_rpc.messages import may_be_rpc
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.routes.paths import ends_in, is_plain, readings_of
from budget_middleware.setting_types import RouteRule

# Paths are hostile input: so many are remembered, and no long ones.
_REMEMBERED: Final = 256
_REMEMBERED_CHARS: Final = 1_024

_SHARED_WORDS: Final = re.compile(
    r"/(?:messages|responses|interactions|decisions|containers)/*+\Z", re.IGNORECASE | re.ASCII
)
_OUR_PREFIX: Final = re.compile(
    r"(?:\A|/)(?:v[0-9][a-z0-9]*|anthropic|openai|azure|azure_ai|bedrock|claude|litellm|llm|openrouter|vertex_ai"
    r"|vertex-ai|xai|(?:deployments|engines|locations)/[^/]+)/[a-z]+/*+\Z",
    re.IGNORECASE | re.ASCII,
)
# How a body says that it is a call of the API, where the path does not.
_ALWAYS: Final = frozenset({"model", "prompt", "stream", "tools"})
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "anthropic-messages": _ALWAYS | {"messages", "system", "max_tokens", "max_tokens_to_sample"},
    ANTHROPIC_BATCH: frozenset({"requests"}),
    # Azure's may lie in a storage of its own.
    OPENAI_BATCH: frozenset({"input_file_id", "input_blob"}),
    "openai-videos": frozenset({"prompt", "model", "input_reference", "seconds"}),
    "openai-evals": frozenset({"data_source"}),
    "openai-containers": frozenset({"memory_limit", "expires_after", "file_ids"}),
    "gemini-interactions": _ALWAYS | {"agent", "input"},
    "gemini-decisions": frozenset({"model", "questions"}),
    "openai-responses": _ALWAYS
    | {"input", "instructions", "previous_response_id", "conversation", "max_output_tokens"},
}
# In a path whose `?` is encoded.
_FIELD_MASK: Final = re.compile(
    r"[?&;#]\s*(?:\$?(?:(?:fields|callback)\s*=|alt\s*=(?!\s*(?:json|sse|media)\b))|\$(?:req|ct|http[a-z]+)\s*=)",
    re.IGNORECASE,
)
# Of a list, such as a batch of JSON-RPC, so many items are looked at; a longer one is not understood.
_MOST_ITEMS: Final = 100


class RouteKind(IntEnum):
    """What a path is to the budget, the dearest last."""

    FREE = 0
    """Known to cost nothing."""
    EXEMPT = 1
    """Taken out by BUDGET_ROUTES."""
    UNKNOWN = 2
    UNCLEAR = 3
    """Its readings are too many, or call different models: what it would cost cannot be known."""
    SHARED = 4
    """Metered if the body says so."""
    METERED = 5


SHARED: Final = RouteKind.SHARED
UNCLEAR: Final = RouteKind.UNCLEAR
"""Each request asks for these, and a member of an enum takes ten times as long as a constant, in Python 3.11."""


class Route(NamedTuple):
    """What a path says. `path` is the reading that the API knows.

    What is no call of `api` may be one of `rpc`, which is at the same path.
    """

    kind: RouteKind
    path: str
    api: Api | None = None
    rpc: RpcApi | None = None


class Router:
    """Finds the route of a request: by the rules of BUDGET_ROUTES, then by `own_apis`, then by the built-in APIs."""

    def __init__(self, rules: Sequence[RouteRule], *, own_apis: Sequence[Api] = ()) -> None:
        self._own_apis = own_apis
        known = {api.name: api for api in (*own_apis, *APIS)}
        self._rules = [(pattern_of(rule), rule, known.get(rule.api or "")) for rule in rules]
        self._remembered = lru_cache(_REMEMBERED)(self._find)

    def route_of(self, scope: Scope) -> Route:
        path, raw_path, root_path = scope["path"], scope.get("raw_path") or b"", scope.get("root_path") or ""
        # Where nothing is encoded it says nothing else, and the query stands behind it at some servers.
        if b"%" not in raw_path:
            raw_path = b""
        if path.startswith(root_path):
            root_path = ""
        find = self._find if len(path) + len(raw_path) > _REMEMBERED_CHARS else self._remembered
        return find(path, raw_path.partition(b"?")[0], root_path)

    def _find(self, path: str, raw_path: bytes, root_path: str) -> Route:
        readings = readings_of(path, raw_path=raw_path, root_path=root_path)
        if readings is None:
            return Route(RouteKind.UNCLEAR, path)
        routes = [self._decide(reading) for reading in readings]
        if len(routes) == 1:
            return routes[0]
        plain = [route for route in routes if is_plain(route.path)]
        called = [route for route in plain if route.api] or [route for route in routes if route.api]
        costliest = max(called or plain or routes, key=_kind)
        if any(_FIELD_MASK.search(reading) for reading in readings):
            # Google's servers would leave out of the answer what it has cost (`request.bodies.field_masks`).
            return costliest._replace(kind=RouteKind.UNCLEAR) if called else costliest
        calls = {_call(route.api, route.path) for route in called if route.api is not None}
        return costliest if len(calls) <= 1 else costliest._replace(kind=RouteKind.UNCLEAR)

    def _decide(self, path: str) -> Route:
        for pattern, rule, api in self._rules:
            if pattern.search(path) and api is not None:
                return Route(RouteKind.METERED, path, api)
            if pattern.search(path):
                # An API whose calls have no price is unknown.
                return Route(RouteKind.EXEMPT if rule.api is None else RouteKind.UNKNOWN, path)
        for api in self._own_apis:
            if api.matches(path):
                is_shared = isinstance(api, RpcApi) and api.is_shared_at(path)
                return Route(RouteKind.SHARED if is_shared else RouteKind.METERED, path, api)
        direct = realtime_direct_at(path)
        if direct is not None:
            return Route(RouteKind.METERED, path, direct)
        batches = batch_api_at(path)
        if batches is not None:
            # Others have batches too.
            return Route(RouteKind.SHARED if batches.name in _FIELDS else RouteKind.METERED, path, batches)
        job = job_api_at(path)
        if job is not None:
            return Route(RouteKind.SHARED if job.name in _FIELDS else RouteKind.METERED, path, job)
        api = api_at(path)
        if api is not None:
            is_shared = _SHARED_WORDS.search(path) is not None and _OUR_PREFIX.search(path) is None
            kind = RouteKind.SHARED if is_shared else RouteKind.METERED
            return Route(kind, path, api, self._rpc_at(path) if is_shared else None)
        return Route(RouteKind.FREE if is_free_route(path) else RouteKind.UNKNOWN, path)

    def _rpc_at(self, path: str) -> RpcApi | None:
        return next((api for api in self._own_apis if isinstance(api, RpcApi) and api.may_be_at(path)), None)


def pattern_of(rule: RouteRule) -> re.Pattern[str]:
    """The pattern of a rule, in which `*` stands for one segment."""
    segments = rule.suffix.strip("/").split("/")
    return ends_in("".join("/[^/]+" if segment == "*" else f"/{re.escape(segment)}" for segment in segments))


def route_by_body(route: Route, scope: Scope, *, document: object, n_bytes: int) -> Route | None:
    """The route of a request whose path two APIs have; None if its body may be a call of either."""
    if route.rpc is None:
        return route
    if not is_call(route, scope, document=document, n_bytes=n_bytes):
        return route._replace(api=route.rpc, rpc=None)
    # What cannot be read is one of the API's whose calls mostly cost more.
    is_read = document is not UNREADABLE and not isinstance(document, PartialBody)
    return None if is_read and _has_call(document) else route._replace(rpc=None)


def _has_call(document: object) -> bool:
    items = document if isinstance(document, list) else [document]
    return any(isinstance(item, dict) and may_be_rpc(item) for item in items)


def is_call(route: Route, scope: Scope, *, document: object, n_bytes: int) -> bool:
    """Whether a body makes a request at a shared path a call of the API there; what cannot be read does."""
    if route.kind is RouteKind.SHARED and isinstance(route.api, RpcApi):
        return n_bytes > 0 and may_be_rpc(document)
    fields = _FIELDS.get(route.api.name) if route.api is not None else None
    if route.kind is not RouteKind.SHARED or fields is None:
        return True
    if document is UNREADABLE or isinstance(document, PartialBody):
        return n_bytes > 0
    if fields & _names_in(scope.get("query_string", b"")):
        return True
    items = document if isinstance(document, list) else [document]
    return len(items) > _MOST_ITEMS or any(isinstance(item, dict) and _has_one(item, fields) for item in items)


def _has_one(item: Mapping[str, object], fields: frozenset[str]) -> bool:
    """Whether an item has one of these fields, in capitals or not: some servers do not tell these apart."""
    return not fields.isdisjoint(item) or any(name.lower() in fields for name in item)


def _names_in(query: bytes) -> set[str]:
    return {name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)} if query else set()


def _kind(route: Route) -> RouteKind:
    return route.kind


def _call(api: Api, path: str) -> tuple[str, str | None]:
    """The API and the model that a reading of the path names."""
    model = api.read_request({}, path=path, n_bytes=0).model
    return api.name, unquote(model) if model else None
