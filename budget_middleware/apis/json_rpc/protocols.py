"""The protocols whose calls have prices: where their calls go, and which of their messages cost nothing.

MCP and A2A are spoken by JSON-RPC, at a path of their own. Beside that A2A has a *REST binding*, and LiteLLM one for
MCP's tools: there each request is a call.
"""

import re
from typing import Final, NamedTuple

from budget_middleware.apis.routes.paths import ends_in


class RpcProtocol(NamedTuple):
    """``path`` and ``rest_path`` are those of JSON-RPC and of the REST binding; either may name the ``agent``.

    ``shared_path``: further ones that some gateway serves the protocol at, and others something else. LiteLLM's servers
    have names with slashes in them, and take whatever stands behind `/mcp`. ``other_path``: those that another API of
    ours has too.
    At a path that ``names_call`` even a message that would be free elsewhere may be taken for a call. ``has_tools``: a
    call names what it calls in its parameters.
    """

    name: str
    path: re.Pattern[str]
    shared_path: re.Pattern[str]
    rest_path: re.Pattern[str]
    other_path: re.Pattern[str] | None
    names_call: re.Pattern[str] | None
    free: frozenset[str]
    has_tools: bool

    def agent_at(self, path: str) -> str | None:
        """The agent that a path names."""
        for pattern in (self.path, self.rest_path, self.shared_path):
            if "agent" in pattern.groupindex and (found := pattern.search(path)) is not None:
                return found["agent"]
        return None

    def is_at(self, path: str) -> bool:
        """Whether a request to this path may be a call."""
        return any(pattern.search(path) for pattern in (self.path, self.rest_path, self.shared_path))

    def may_be_at(self, path: str) -> bool:
        """Whether a request to this path, which another API of ours has, may be a call."""
        return self.other_path is not None and self.other_path.search(path) is not None

    def is_shared_at(self, path: str) -> bool:
        """Whether the body has to say so."""
        return self.path.search(path) is None and self.rest_path.search(path) is None


MCP: Final = RpcProtocol(
    name="mcp",
    path=ends_in("/mcp"),
    # Also those of the transport before streamable HTTP, whose answers come by a GET; its SDKs mostly take `/messages`.
    shared_path=ends_in(r"(?:/mcp/.+|/sse/messages|/message)"),
    other_path=ends_in("/messages"),
    # LiteLLM's.
    rest_path=ends_in("/mcp-rest/tools/call"),
    names_call=None,
    free=frozenset({
        *("initialize", "server/discover", "ping", "logging/setLevel", "subscriptions/listen"),
        *("tools/list", "prompts/list", "resources/list", "resources/templates/list"),
        *("resources/subscribe", "resources/unsubscribe"),
        *("tasks/get", "tasks/list", "tasks/result", "tasks/cancel"),
        *("notifications/initialized", "notifications/cancelled", "notifications/progress"),
        *("notifications/roots/list_changed", "notifications/tasks/status"),
    }),
    has_tools=True,
)  # fmt: skip
A2A: Final = RpcProtocol(
    name="a2a",
    path=ends_in(r"/a2a(?:/(?P<agent>[^/]+)(?:/message/(?:send|stream))?)?"),
    shared_path=ends_in("/a2a/(?P<agent>[^/]+)/.+"),
    other_path=None,
    # With a version or a tenant before it.
    rest_path=ends_in(r"(?:/a2a/(?P<agent>[^/]+)(?:/[^/]+){0,2})?/message:(?:send|stream)"),
    names_call=ends_in("/message/(?:send|stream)"),
    free=frozenset({
        *("tasks/get", "tasks/list", "tasks/cancel", "tasks/resubscribe", "agent/getAuthenticatedExtendedCard"),
        *("tasks/pushNotificationConfig/set", "tasks/pushNotificationConfig/get"),
        *("tasks/pushNotificationConfig/list", "tasks/pushNotificationConfig/delete"),
        # As version 1.0 names them.
        *("GetTask", "ListTasks", "CancelTask", "SubscribeToTask", "GetExtendedAgentCard"),
        *("CreateTaskPushNotificationConfig", "GetTaskPushNotificationConfig"),
        *("ListTaskPushNotificationConfigs", "DeleteTaskPushNotificationConfig"),
    }),
    has_tools=False,
)  # fmt: skip
RPC_PROTOCOLS: Final = (MCP, A2A)
