"""A gateway with tools (MCP at /mcp, and by its older transport at /sse and /messages/) and an agent (A2A at
/a2a/planner and by REST), as their SDKs serve them.

The tool `slow` is done when its client has left: `GET /done` tells how often.
"""

import asyncio
from typing import Any

from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.routes.rest_routes import create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventMessage, EventStore
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from budget_middleware import BudgetMiddleware

DONE: list[str] = []


class Events(EventStore):
    """All events of all streams, in a list."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        after = int(last_event_id)
        stream_id = self._events[after - 1][0]
        for number, (stream, message) in enumerate(self._events[after:], after + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


tools = MCPServer("tools")


@tools.tool()
def search(words: str) -> str:
    """Finds words."""
    return words.upper()


@tools.tool()
def fails() -> str:
    """Runs, and fails by itself."""
    raise ValueError("no luck")


@tools.tool()
async def slow() -> str:
    """Takes its time."""
    await asyncio.sleep(0.3)
    DONE.append("slow")
    return "at last"


class Planner(AgentExecutor):
    """Answers with a task of two updates."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        task = new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        await updater.complete(new_text_message("a plan", context_id=task.context_id, task_id=task.id))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


def card_at(url: str, *, binding: str = "JSONRPC", version: str = "1.0") -> AgentCard:
    return AgentCard(
        name="planner",
        description="Plans.",
        version="1",
        supported_interfaces=[AgentInterface(url=url, protocol_binding=binding, protocol_version=version)],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text"],
        default_output_modes=["text"],
    )


async def done(_: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(DONE)))


handler = DefaultRequestHandler(Planner(), InMemoryTaskStore(), card_at("http://planner"))
gateway = tools.streamable_http_app(event_store=Events())
gateway.router.routes += [
    Route("/done", done),
    *tools.sse_app().router.routes,
    *create_jsonrpc_routes(handler, "/a2a/planner", enable_v0_3_compat=True),
    *create_rest_routes(handler, enable_v0_3_compat=True, path_prefix="/a2a/planner"),
]
app = BudgetMiddleware(gateway)
