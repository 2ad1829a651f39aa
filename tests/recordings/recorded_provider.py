"""The provider that recordings are made with: that of tests/sdk, chat, responses and realtime on a WebSocket."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from tests.apis.cuts import as_events
from tests.sdk import provider
from tests.sdk.provider import MODEL, OPENAI_USAGE, TEXT
from tests.sessions.realtime_gateway import talk
from tests.sessions.responses_gateway import respond


async def chat(request: Request) -> Response:
    asked = await request.json()
    shared = {"id": "c", "created": 0, "model": MODEL}
    if not asked.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        return JSONResponse({**shared, "object": "chat.completion", "choices": [choice], "usage": OPENAI_USAGE})
    choice = {"index": 0, "delta": {"role": "assistant", "content": TEXT}, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    named = {**shared, "object": "chat.completion.chunk"}
    usage = [{**named, "choices": [], "usage": OPENAI_USAGE}] if asked.get("stream_options") else []
    return provider.stream(
        request,
        as_events({**named, "choices": [choice]}),
        as_events({**named, "choices": [last]}, *usage) + b"data: [DONE]\n\n",
    )


async def completions(request: Request) -> Response:
    if not (await request.json()).get("stream"):
        return await provider.completions(request)
    named = {"id": "c", "object": "text_completion", "created": 0, "model": MODEL}
    choice = {"index": 0, "text": TEXT, "finish_reason": None, "logprobs": None}
    return provider.stream(
        request,
        as_events({**named, "choices": [choice]}),
        as_events({**named, "choices": [], "usage": OPENAI_USAGE}) + b"data: [DONE]\n\n",
    )


_COUNTED = {"input_tokens": 10, "output_tokens": provider.OUTPUT_TOKENS, "total_tokens": 110}


async def images(request: Request) -> Response:
    if not (await request.json()).get("stream"):
        return await provider.images(request)
    drawn = {"b64_json": "AAAA", "background": "auto", "created_at": 0, "output_format": "png", "quality": "low"}
    named = {**drawn, "size": "1024x1024"}
    partial = {"type": "image_generation.partial_image", "partial_image_index": 0, **named}
    last = {"type": "image_generation.completed", "usage": _COUNTED, **named}
    return provider.stream(request, as_events(partial), as_events(last))


async def speech(request: Request) -> Response:
    if (await request.json()).get("stream_format") != "sse":
        return await provider.speech(request)
    last = {"type": "speech.audio.done", "usage": _COUNTED}
    return provider.stream(request, as_events({"type": "speech.audio.delta", "audio": "AAAA"}), as_events(last))


async def transcriptions(request: Request) -> Response:
    if (await request.form()).get("stream") != "true":
        return await provider.transcriptions(request)
    last = {"type": "transcript.text.done", "text": TEXT, "usage": {"type": "tokens", **_COUNTED}}
    return provider.stream(request, as_events({"type": "transcript.text.delta", "delta": TEXT}), as_events(last))


async def ollama(request: Request) -> Response:
    if (await request.json()).get("stream", True):
        return await provider.ollama(request)
    message = {"role": "assistant", "content": TEXT}
    counts = {"prompt_eval_count": 10, "eval_count": provider.OUTPUT_TOKENS}
    return JSONResponse({"model": MODEL, "message": message, "done": True, **counts})


async def tool(request: Request) -> Response:
    """A server of MCP that answers `tools/call` by events, but for the tool `look`, and all else by a document."""
    asked = await request.json()
    answer = {"jsonrpc": "2.0", "id": asked.get("id"), "result": {"content": [{"type": "text", "text": TEXT}]}}
    if asked["method"] != "tools/call" or asked["params"]["name"] == "look":
        return JSONResponse(answer)
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1, "progressToken": 1}}
    return provider.stream(request, as_events(progress), as_events(answer))


async def agent(request: Request) -> Response:
    """An agent of A2A, whose task is completed at once."""
    asked = await request.json()
    task = {"id": "t", "contextId": "c", "kind": "task", "status": {"state": "completed"}}
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": task}
    if asked["method"] == "message/send":
        return JSONResponse(answer)
    working = {"kind": "status-update", "taskId": "t", "status": {"state": "working"}, "final": False}
    return provider.stream(request, as_events({**answer, "result": working}), as_events(answer))


app = Starlette(
    routes=[
        Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/images/generations", images, methods=["POST"]),
        Route("/v1/audio/speech", speech, methods=["POST"]),
        Route("/v1/audio/transcriptions", transcriptions, methods=["POST"]),
        Route("/api/chat", ollama, methods=["POST"]),
        Route("/mcp", tool, methods=["POST"]),
        Route("/a2a/planner", agent, methods=["POST"]),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        WebSocketRoute("/v1/responses", respond),
        WebSocketRoute("/v1/realtime", talk),
        *provider.gateway.routes,
    ]
)
