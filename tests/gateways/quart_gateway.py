"""A Quart gateway; the one line goes around it, or around its `asgi_app` as here, which keeps `app` a Quart."""

from typing import Any

from quart import Quart, request

from budget_middleware import BudgetMiddleware
from tests.gateways.spoken import completion, events

# Its messages have types of their own, which are dictionaries all the same.
app: Any = Quart(__name__)
app.asgi_app = BudgetMiddleware(app.asgi_app)


@app.post("/v1/chat/completions")
async def chat_completions():
    if failure := request.headers.get("x-provider-fail"):
        return {"error": {"message": "failed"}}, int(failure)
    asked = await request.get_json()
    if asked.get("stream"):
        return events(asked), {"content-type": "text/event-stream"}
    return completion(asked)
