"""Every reading of a path: what a router or an upstream could make of it, in little time."""

from collections.abc import Callable
from functools import partial
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.routing import Match, Mount, Route

from budget_middleware.apis import APIS, is_free_route
from budget_middleware.apis.bodies.reading import UNREADABLE, PartialBody
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.routes.paths import MOST_CHARS, readings_of
from budget_middleware.request.unmetered.unmetered import template_of
from budget_middleware.routing import RouteKind, Router, is_call
from budget_middleware.setting_types import RouteRule
from tests.apis.timing import cpu_ms, grows_linearly
from tests.examples import examples

CHAT = "/v1/chat/completions"
ROUTER = Router([])


def route_of(path: str, *rules: RouteRule, **fields):
    router = Router(rules) if rules else ROUTER
    return router.route_of({"type": "http", "path": path, **fields})


# As a server gives them to the app: decoded once.
SPELLINGS = {
    "a dot": f"{CHAT}/.",
    "two dots": f"{CHAT}/x/..",
    "many dots": "/v1/x/../y/./../chat/completions/a/b/../../",
    "a question mark": f"{CHAT}?x",
    "a fragment": f"{CHAT}#x",
    "a parameter": f"{CHAT};x=1",
    "a parameter and more": f"{CHAT};x/y",
    "a parameter of another segment": "/v1;a=b/chat;c/completions;d",
    "encoded twice": "/v1/chat%2Fcompletions",
    "encoded thrice": "/v1/chat%252Fcompletions",
    "a question mark, twice": f"{CHAT}%3Fx",
    "a question mark, four times": f"{CHAT}%2525253Fx",
    "mixed case": f"{CHAT}%3fx%3F",
    "dots, twice": f"{CHAT}/x/%2e%2E",
    "half a dot": f"{CHAT}/x/.%2e",
    "a letter": "/v1/ch%61t/completions",
    "digits of the encoding encoded": "/v1/ch%%36%31t/completions",
    "slashes": "//v1//chat///completions//",
    "backslashes": "/v1\\chat\\completions",
    "a zero byte": f"{CHAT}\x00.png",
    "a zero byte, twice": f"{CHAT}%00",
    "a line's end": f"{CHAT}\r\nx: y",
    "a line's end within": "/v1/chat/comple\ntions",
    "a tab within": "/v1/chat/comple\ttions",
    "a space": f"{CHAT} ",
    "a no-break space": f"{CHAT}\u00a0",
    "a dot at the end": f"{CHAT}.",
    "capitals": "/V1/Chat/COMPLETIONS",
    "another route behind it": f"{CHAT}?/v1/files",
    "a free route behind it": f"{CHAT}#/../files",
    "a step back over nothing": f"{CHAT}//..",
    "a step back over a parameter": f"{CHAT}/;x/..",
    "a step back over nothing, before it": "/v1//../chat/completions",
    "a free route before it": "/v1/files/../chat/completions",
}


@pytest.mark.parametrize("path", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("prefix", ["", "/openai", "/eu/gateway"])
def test_a_route_is_metered_however_it_is_spelled(prefix, path):
    route = route_of(prefix + path)
    assert (route.kind, route.api and route.api.name) == (RouteKind.METERED, "openai-chat")


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-pro:generateContent",
        "/v1beta/tunedModels/mine:generateContent",
        "/v1beta/dynamic/mine:streamGenerateContent",
        "/v1/projects/p/locations/l/endpoints/123:generateContent",
        "/endpoints/llm/v1beta/models/gemini-pro:generateContent",
    ],
)
def test_a_model_of_ones_own_is_metered_as_others(path):
    route = route_of(path)
    assert (route.kind, route.api and route.api.name) == (RouteKind.METERED, "gemini")
    assert route.api is not None
    ask = route.api.read_request({"contents": "hi"}, path=path, n_bytes=20)
    assert ask.model == path.rsplit("/", 1)[1].split(":")[0]


def test_what_is_only_like_it_is_not():
    for path in ("/v1/chat/completions/chatcmpl-1", "/v1/chat/completionsx", "/chat/%63", "/..", "/%", "/a%zz?", "/?"):
        assert route_of(path).kind is RouteKind.UNKNOWN


def test_an_ordinary_path_is_its_only_reading():
    for path in (CHAT, "/", "/v1/models/gemini-2.5-pro:generateContent", "/v1/files/a.b"):
        assert readings_of(path, raw_path=path.encode()) == (path,)


def test_the_path_as_it_was_sent_is_one_more():
    """An encoded slash is one for the server, and none for an upstream that gets the path as it was sent."""
    sent = b"/v1/chat/completions/a%2Fb/.."
    path = "/v1/chat/completions/a/b/.."
    assert route_of(path).kind is RouteKind.UNKNOWN
    assert route_of(path, raw_path=sent).kind is RouteKind.METERED
    # What a layer outside has rewritten is no reading of this request.
    assert route_of("/echo", raw_path=sent).kind is RouteKind.UNKNOWN
    assert route_of("/chat/completions", raw_path=b"/v1/chat/completions%20?a=b").kind is RouteKind.METERED


def test_where_the_app_is_mounted():
    assert route_of("/completions", root_path="/v1/chat").api.name == "openai-chat"
    assert route_of("/v1/chat/completions", root_path="/v1").api.name == "openai-chat"
    assert route_of("/messages", root_path="/anthropic").kind is RouteKind.METERED
    assert route_of("/messages", root_path="/forum").kind is RouteKind.SHARED


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/files/.", RouteKind.FREE),
        ("/v1//files", RouteKind.FREE),
        # One reading is no free route.
        ("/v1/agents?/v1/files", RouteKind.UNKNOWN),
        ("/v1/files?x", RouteKind.FREE),
        ("/v1/files%3F/../agents", RouteKind.UNKNOWN),
        ("/v1/responses/../cancel", RouteKind.UNKNOWN),
    ],
)
def test_free_is_what_is_free_in_every_reading(path, kind):
    assert route_of(path).kind is kind


EU = RouteRule("/eu/chat/completions", None)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/eu/chat/completions", RouteKind.EXEMPT),
        ("/eu/chat/completions/", RouteKind.EXEMPT),
        ("/eu//chat/completions", RouteKind.METERED),
        ("/v1/chat/completions?/eu/chat/completions", RouteKind.METERED),
        ("/eu/../v1/chat/completions", RouteKind.METERED),
    ],
)
def test_a_route_that_is_taken_out_is_so_in_every_reading(path, kind):
    assert route_of(path, EU).kind is kind


def test_a_star_is_one_segment():
    rules = (RouteRule("/agents/*/run", "openai-chat"), RouteRule("/mcp/*/messages", None))
    assert route_of("/v1/agents/7/run", *rules).api.name == "openai-chat"
    assert route_of("/v1/agents/7/8/run", *rules).kind is RouteKind.UNKNOWN
    assert route_of("/mcp/a.b/messages", *rules).kind is RouteKind.EXEMPT


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/gpt-5-nano/chat/completions;/../../../gpt-5-pro/chat/completions",
        "/v1beta/models/gemini-2.5-flash:generateContent%3F/../gemini-2.5-pro:generateContent",
        "/v1/embeddings%3F/../chat/completions",
        "/v1/embeddings;/../chat/completions",
    ],
)
def test_readings_that_call_different_models_are_unclear(path):
    assert route_of(path).kind is RouteKind.UNCLEAR


def test_the_spelling_of_a_model_is_no_other_model():
    path = "/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-pro-v1:0/converse"
    sent = path.replace(":", "%3A").replace("profile/", "profile%2F").encode()
    route = route_of(path, raw_path=sent)
    assert route.kind is RouteKind.METERED
    assert route.api.read_request({}, path=route.path, n_bytes=2).model == path[7:-9]


def test_an_odd_path_that_is_too_long_is_read_by_nobody():
    assert route_of("/a/.." * MOST_CHARS).kind is RouteKind.UNCLEAR
    assert route_of("/" + "a" * 10 * MOST_CHARS + CHAT).kind is RouteKind.METERED
    assert route_of("/a", raw_path=b"/%61" + b"%20" * MOST_CHARS).kind is RouteKind.UNCLEAR


# Against what real parsers make of the same path.

PIECES = st.sampled_from(
    [
        "/",
        "//",
        "/..",
        "v1",
        "x",
        "..",
        ".",
        "%2e",
        "%2F",
        "%3F",
        "%252e",
        "%5c",
        "%23",
        "%09",
        "?",
        "#",
        ";",
        "\\",
        " ",
    ]
)
PATHS = st.builds(
    lambda *parts: "".join(["/v1", *parts[0], "/chat/completions", *parts[1]]),
    st.lists(PIECES, max_size=4),
    st.lists(PIECES, max_size=6),
)
PARSERS = {
    "httpx": lambda path: httpx.URL(path).path,
    "httpx, joined": lambda path: httpx.URL("https://upstream/").join(httpx.URL(path)).path,
    "urllib": lambda path: urlsplit(f"https://upstream{path}").path,
    "urllib, joined": lambda path: urljoin("https://upstream/", urlsplit(path).path),
}


@given(PATHS)
@settings(max_examples=examples(1_000))
@example("/v1/chat/completions/x/%2e%2e")
@example("/v1/chat/completions//..")
@example("/v1/chat/completions/.../..")
@example("/v1/chat/completions/..\\/..")
@example("/v1 /chat/completions?")
@example("/v1%3F/chat/completions%2F?")
@example("/v1%253F/chat/completions%252F?x")
def test_what_clients_send_to_an_upstream_is_one_of_the_readings(path):
    """As gateways do that pass requests on: the path that was decoded, read as a URL, and decoded there once more."""
    assert_read_as_clients_do(path)


def assert_read_as_clients_do(path: str) -> None:
    for name, parse in PARSERS.items():
        try:
            forwarded = parse(path)
        except (ValueError, httpx.InvalidURL):
            continue
        if any(reading.rstrip("/").endswith("/chat/completions") for reading in (forwarded, unquote(forwarded))):
            assert route_of(path).kind >= RouteKind.UNCLEAR, name


@given(PATHS)
def test_what_starlette_routes_is_one_of_the_readings(path):
    routes = [Mount(prefix, routes=[Route("/chat/completions", lambda _: None)]) for prefix in ("/v1", "/{any:path}")]
    scope = {"type": "http", "path": path, "method": "POST", "headers": []}
    for mount in routes:
        match, child = mount.matches(scope)
        if match is Match.FULL and mount.routes[0].matches({**scope, **child})[0] is not Match.NONE:
            assert route_of(path).kind >= RouteKind.UNCLEAR


# Time.

UNITS = ["/", "1", "a", "a_", "1!", "-", ":", "%", "%25", "%2e", "../", "./", ";", "?", "\\", " ", "\n", "é", "A"]
STARTS = ["/a_", "/model/", "/models/"]
WORDS = ["/models/", "/model/a", "/models/a:", "/threads/a/messages/", "/messages/", "/invoke/", "/completions//"]


def model_read_by(api: Api) -> Callable[[str], object]:
    return lambda text: api.read_request({}, path=text, n_bytes=0)


PATTERNS: dict[str, Callable[[str], object]] = {
    **{api.name: api.matches for api in APIS},
    **{f"{api.name}, its model": model_read_by(api) for api in APIS},
    "free": is_free_route,
    "readings": readings_of,
    "template": template_of,
    "route": route_of,
}


@pytest.mark.parametrize("name", PATTERNS)
def test_f43_a_pattern_takes_seconds(name):
    """Right is less than 10 ms at 64 kB, and what is quadratic takes seconds; others use this machine too."""
    matches = PATTERNS[name]
    for end in ("!", "/invoke", ":generateContentx"):
        for start, unit in [*((start, unit) for start in STARTS for unit in UNITS), *(("/", word) for word in WORDS)]:
            text = start + unit * (65_536 // len(unit)) + end
            if cpu_ms(partial(matches, text), runs=1) > 20:
                assert grows_linearly(matches, unit, start=start, end=end), (start, unit)


def test_f43_the_request_that_stopped_a_worker_for_seconds():
    for size in (16_384, 32_768):
        path = "/a_" + "1" * (size // 2) + "!" * (size // 2)
        assert cpu_ms(partial(route_of, path)) < 50
        assert cpu_ms(partial(template_of, path)) < 50


# Somebody else's.

RPC = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}
ANSWERS = {"answers": {"name": "Alice"}}
SHARED = ["/mcp/sse/messages", "/messages", "/messages/", "/forms/7/responses", "/responses", "/api/rooms/5/messages"]
OURS = [
    "/v1/messages",
    "/v1beta/responses",
    "/anthropic/messages",
    "/azure/openai/responses",
    "/openai/deployments/gpt-4o/responses",
    "/responses/compact",
]


@pytest.mark.parametrize("path", OURS)
def test_a_prefix_says_so(path):
    route = route_of(path)
    assert route.kind is RouteKind.METERED
    assert is_call(route, {}, document=RPC, n_bytes=2)


def speaks(path, document, *, n_bytes=1, query=b"") -> bool:
    route = route_of(path)
    assert route.kind is RouteKind.SHARED
    return is_call(route, {"query_string": query}, document=document, n_bytes=n_bytes)


@pytest.mark.parametrize("path", SHARED)
@pytest.mark.parametrize("document", [RPC, [RPC, RPC], ANSWERS, {}, [], "text", None, 7])
def test_f55_somebody_elses_route(path, document):
    assert not speaks(path, document)


@pytest.mark.parametrize("path", SHARED)
def test_f55_a_body_says_so(path):
    for document in ({"model": "m"}, {**RPC, "model": None}, {"prompt": {"id": "p"}}, [{"model": "m"}], [RPC] * 101):
        assert speaks(path, document), document
    field = "messages" if "messages" in path else "input"
    assert speaks(path, {field: []})


@pytest.mark.parametrize("path", SHARED)
def test_f55_what_cannot_be_read_is_ours(path):
    assert speaks(path, UNREADABLE)
    assert speaks(path, PartialBody(n_texts=0, n_lists=0))
    assert speaks(path, RPC, query=b"model=gpt-4o")
    # Nothing at all is no call.
    assert not speaks(path, UNREADABLE, n_bytes=0)
