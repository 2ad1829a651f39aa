"""A dialect of one's own: Hugging Face's text-generation-inference, which has neither OpenAI's routes nor its shapes.

    export BUDGET_LIMITS='key=10/day' BUDGET_UNKNOWN_MODEL=0.10/0.40
    uvicorn own_dialect:app

`POST /generate` answers at once, `POST /generate_stream` with an event for each token. One server has one model, which
no request names. The app at the end stands for that server, or for a gateway to it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from budget_middleware import BudgetMiddleware
from budget_middleware.apis import Ask, BadRequestError, JsonApi, OrdinaryEvent, Refusal, Seen, Usage, ends_in

MODEL = "my-model"


class Token(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    id: int = 0
    logprob: float | None = 0
    special: bool = False


class TokenEvent(OrdinaryEvent, forbid_unknown_fields=True):
    """What nearly every event is. It is read several times as fast as by `read_json`, and may be left out."""

    token: Token
    index: int = 0
    generated_text: None = None
    details: None = None

    def add_to(self, seen: Seen) -> None:
        seen.take_text(len(self.token.text.encode()))


class TextGeneration(JsonApi):
    name = "text-generation-inference"
    provider = "huggingface"
    path = ends_in("(?<!/api)/generate(?:_stream)?")  # /api/generate is Ollama's.
    input_fields: ClassVar[tuple[str, ...]] = ("inputs",)
    ordinary_event = TokenEvent

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """What is reserved: the input and the most output, at the price of the model."""
        ask = super().read_request(body, path=path, n_bytes=n_bytes, query=query)
        ask.model = MODEL
        return ask

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        match body:
            case {"parameters": {"max_new_tokens": int(tokens)}} if tokens > 0:
                return tokens
            case {"parameters": {"max_new_tokens": value}} if value is not None:
                raise BadRequestError("max_new_tokens must be a whole number above 0")
        return None

    def read_json(self, document: object, seen: Seen) -> None:
        """What is booked: by a whole answer, or by an event of a stream. Any JSON may come."""
        match document:
            case {"token": {"text": str(text)}}:
                seen.take_text(len(text.encode()))
            case {"generated_text": str(text)}:  # In a stream it repeats what came token by token.
                seen.take_text(len(text.encode()))
        match document:
            case {"details": {"generated_tokens": int(output), "input_length": int(input_)}}:
                seen.take_usage(Usage(input_tokens=input_, output_tokens=output))
                seen.terminal = True

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        return {"error": refusal.message, "error_type": str(refusal.reason)}


# The app.

WORDS = ("A", " guard", " that", " shows", " each", " figure")
DETAILS = {"finish_reason": "eos_token", "generated_tokens": len(WORDS), "input_length": 7}


async def generate(_: Request) -> Response:
    return JSONResponse({"generated_text": "".join(WORDS), "details": DETAILS})


async def generate_stream(_: Request) -> Response:
    return StreamingResponse(events(), media_type="text/event-stream")


def events() -> Iterator[str]:
    for index, word in enumerate(WORDS, start=1):
        is_last = index == len(WORDS)
        event = {
            "index": index,
            "token": {"id": index, "text": word, "logprob": -0.5, "special": False},
            "generated_text": "".join(WORDS) if is_last else None,
            "details": DETAILS if is_last else None,
        }
        yield f"data:{json.dumps(event)}\n\n"


app = Starlette(
    routes=[
        Route("/generate", generate, methods=["POST"]),
        Route("/generate_stream", generate_stream, methods=["POST"]),
    ]
)
app.add_middleware(BudgetMiddleware, apis=[TextGeneration()])
