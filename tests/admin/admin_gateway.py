"""The tokens of the tests' operators, and the gateway that their servers run."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from budget_middleware import BudgetMiddleware

WRITE = "write-token-of-the-tests-0123456789"
READ = "read-token-of-the-tests-0123456789"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


async def complete(request: Request) -> JSONResponse:
    """A completion, whatever was asked."""
    await request.body()
    usage = {"prompt_tokens": 1_000, "completion_tokens": 1_000, "total_tokens": 2_000}
    return JSONResponse({"object": "chat.completion", "model": "test-model", "choices": [], "usage": usage})


app = BudgetMiddleware(Starlette(routes=[Route("/{path:path}", complete, methods=["GET", "POST"])]))
