"""A Litestar gateway; the one line goes around it."""

from typing import Any

from litestar import Litestar, Request, Response, post
from litestar.response import Stream

from budget_middleware import BudgetMiddleware
from tests.gateways.spoken import completion, events


@post("/v1/chat/completions", status_code=200)
async def chat_completions(request: Request) -> Response:
    failure = request.headers.get("x-provider-fail")
    if failure:
        return Response({"error": {"message": "failed"}}, status_code=int(failure))
    asked = await request.json()
    if asked.get("stream"):
        return Stream(events(asked), media_type="text/event-stream")
    return Response(completion(asked))


# Its messages have types of their own, which are dictionaries all the same.
litestar: Any = Litestar([chat_completions])
app = BudgetMiddleware(litestar)
