"""The tools that a provider runs by itself: how requests declare them, how answers show them, what they are billed by.

Where a provider bills a use in one of two ways (a search by itself or the request that was grounded in it, code by its
container or by its run), both are counted, and the price of the model decides. Functions and tools that the client runs
have no fee; nor have those of `_FREE_CALLS`, whose work is in the tokens. A tool that is not known here is noted.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from budget_middleware.apis.bodies.reading import list_of, mapping_of, name_in, text_in, token_count
from budget_middleware.apis.protocol.base import DeclaredTool
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.usage import UsageClass

_SEARCH: Final = (UsageClass.WEB_SEARCH, UsageClass.GROUNDED_REQUEST)
_CODE: Final = (UsageClass.CODE_CONTAINER, UsageClass.CODE_EXECUTION)
# How the type of a declared tool begins.
_DECLARED_TYPES: Final = {
    "web_search": _SEARCH,
    "x_search": (UsageClass.SOCIAL_SEARCH,),
    "file_search": (UsageClass.FILE_SEARCH,),
    # Those of Gemini's interactions.
    "google_search": _SEARCH,
    "google_maps": (UsageClass.MAPS_REQUEST,),
    "retrieval": (UsageClass.FILE_SEARCH,),
    "collections_search": (UsageClass.FILE_SEARCH,),
    "code_interpreter": _CODE,
    "code_execution": _CODE,
}
# Google names a tool by its field, in two ways.
_DECLARED_FIELDS: Final = {
    "googlesearch": _SEARCH,
    "googlesearchretrieval": _SEARCH,
    "enterprisewebsearch": _SEARCH,
    "googlemaps": (UsageClass.MAPS_REQUEST,),
    "filesearch": (UsageClass.FILE_SEARCH,),
    "retrieval": (UsageClass.FILE_SEARCH,),
}
# The items of a response that show a use.
_SEARCH_CALLS: Final = {
    "web_search_call": UsageClass.WEB_SEARCH,
    "x_search_call": UsageClass.SOCIAL_SEARCH,
    "file_search_call": UsageClass.FILE_SEARCH,
    "collections_search_call": UsageClass.FILE_SEARCH,
}
_CODE_CALLS: Final = frozenset({"code_interpreter_call", "shell_call"})
_FREE_CALLS: Final = frozenset(
    {
        *("function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call"),
        # What it draws is billed by its tokens, beside the response.
        *("mcp_call", "tool_search_call", "image_generation_call"),
    }
)
# At Anthropic, where the usage reports the searches.
_FREE_SERVER_TOOLS: Final = frozenset({"web_fetch", "advisor", "memory"})
_MOST_USES: Final = 10_000


def declared_tools(body: Mapping[str, object]) -> tuple[DeclaredTool, ...]:
    """The tools of a request that may cost a fee."""
    tools = body.get("tools")
    if not tools and body.get("web_search_options") is None:
        return ()
    uses: dict[UsageClass, DeclaredTool] = {}
    if body.get("web_search_options") is not None:
        uses |= {unit: DeclaredTool(unit) for unit in _SEARCH}
    for tool in map(mapping_of, list_of(tools)):
        at_worst = _most_uses(tool, body)
        for unit in _units_of(tool):
            uses[unit] = DeclaredTool(unit, expected=min(1, at_worst), at_worst=at_worst)
    return tuple(uses.values())


def _units_of(tool: Mapping[str, object]) -> Iterator[UsageClass]:
    kind = (text_in(tool, "type") or "").rpartition(":")[2]
    if kind == "builtin_function":
        # Moonshot's.
        kind = str(mapping_of(tool.get("function")).get("name")).lstrip("$")
    for beginning, units in _DECLARED_TYPES.items():
        if kind.startswith(beginning):
            yield from units
    if not kind:
        for field in tool:
            yield from _DECLARED_FIELDS.get(field.replace("_", "").lower(), ())


def _most_uses(tool: Mapping[str, object], body: Mapping[str, object]) -> int:
    bounds = (token_count(tool.get("max_uses")), token_count(body.get("max_tool_calls")))
    limits = [limit for limit in bounds if limit is not None]
    # Without a limit, one: nothing says how often a model will go on to use it.
    return min(*limits, _MOST_USES) if limits else 1


def modes_of(source: Mapping[str, object]) -> tuple[str, ...]:
    """What the tools of a request change in prices, or of an answer that repeats them."""
    modes: list[str] = []
    options = source.get("web_search_options")
    for tool in (*list_of(source.get("tools")), options):
        if not isinstance(tool, dict):
            continue
        if str(tool.get("type")).startswith("web_search_preview"):
            modes.append("web_search_preview")
        if size := name_in(tool, "search_context_size"):
            modes.append(f"search_{size}")
        if memory := name_in(mapping_of(tool.get("container")), "memory_limit"):
            modes.append(f"container_{memory}")
    return tuple(dict.fromkeys(modes))


def take_item(item: Mapping[str, object], index: object, seen: Seen) -> None:
    """Take over the use that an item of a response shows; its place among the others tells it from them."""
    kind = item.get("type")
    if not isinstance(kind, str) or not kind.endswith("_call"):
        return
    if kind in _SEARCH_CALLS:
        # To open a page that was found, and to look for words in it, is no search.
        if mapping_of(item.get("action")).get("type", "search") == "search":
            seen.take_use(_SEARCH_CALLS[kind], index)
    elif kind in _CODE_CALLS:
        container = item.get("container_id") or mapping_of(item.get("environment")).get("container_id")
        if kind == "code_interpreter_call" or container:
            seen.take_use(UsageClass.CODE_CONTAINER, container or index)
            seen.take_use(UsageClass.CODE_EXECUTION, index)
    elif kind not in _FREE_CALLS:
        seen.take_tool(kind)


def take_executed(tools: Iterable[object], seen: Seen) -> None:
    """Take over what Groq's compound systems have used."""
    for place, tool in enumerate(map(mapping_of, tools)):
        index, kind = tool.get("index", place), tool.get("type")
        if kind in ("search", "web_search", "browser_search"):
            seen.take_use(UsageClass.WEB_SEARCH, index)
        elif kind in ("python", "code_interpreter"):
            seen.take_use(UsageClass.CODE_EXECUTION, index)
        else:
            seen.take_tool(kind)


def take_called(calls: Iterable[Mapping[str, object]], seen: Seen) -> None:
    """Take over the searches of Moonshot, which look as if functions of the client were called."""
    for place, call in enumerate(calls):
        if mapping_of(call.get("function")).get("name") == "$web_search":
            seen.take_use(UsageClass.WEB_SEARCH, call.get("index", place))


def take_server_tool(name: object, id_: object, seen: Seen) -> None:
    """Take over the use of a tool that Anthropic runs. All code of a message runs in one container."""
    if name == "web_search":
        seen.take_use(UsageClass.WEB_SEARCH, id_)
    elif isinstance(name, str) and name.endswith("code_execution"):
        seen.take_use(UsageClass.CODE_CONTAINER, "container")
        seen.take_use(UsageClass.CODE_EXECUTION, id_)
    elif not isinstance(name, str) or (name not in _FREE_SERVER_TOOLS and not name.startswith("tool_search")):
        seen.take_tool(name)


def take_grounding(metadata: Mapping[str, object], seen: Seen) -> None:
    """Take over what Gemini was grounded in: each query, and the request; a chunk may repeat what earlier ones had."""
    # The text of a query is not kept.
    queries = {
        hash(query)
        for field in ("webSearchQueries", "imageSearchQueries")
        for query in list_of(metadata.get(field))
        if isinstance(query, str) and query
    }
    sources = {kind for chunk in list_of(metadata.get("groundingChunks")) for kind in mapping_of(chunk)}
    if queries or "web" in sources or "image" in sources:
        seen.take_use(UsageClass.GROUNDED_REQUEST, "")
        for query in queries:
            seen.take_use(UsageClass.WEB_SEARCH, query)
        if not queries and all(unit is not UsageClass.WEB_SEARCH for unit, _ in seen.uses):
            seen.take_use(UsageClass.WEB_SEARCH, "untold")
    if "maps" in sources or metadata.get("googleMapsWidgetContextToken"):
        seen.take_use(UsageClass.MAPS_REQUEST, "")
    if "retrievedContext" in sources or metadata.get("retrievalQueries"):
        seen.take_use(UsageClass.FILE_SEARCH, "")
