"""A FastAPI gateway that traces itself, as `FASTAPI_OTEL_AUTO_CONFIGURE` has it."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from budget_middleware import BudgetMiddleware

app = FastAPI()
app.add_middleware(BudgetMiddleware)


@app.post("/v1/chat/completions")
async def chat(request: dict[str, Any]) -> Any:
    words = request["metadata"]["words"]
    usage = {"prompt_tokens": request["metadata"]["prompt"], "completion_tokens": words}
    if not request.get("stream"):
        return {"model": request["model"], "choices": [], "usage": usage}

    async def events():
        for _ in range(words):
            yield 'data: {"choices": [{"index": 0, "delta": {"content": "word"}}]}\n\n'
        yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
