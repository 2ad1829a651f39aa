"""The provider's batches and asynchronous invocations, as Bedrock has them: done as soon as somebody asks."""

import itertools
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_numbers = itertools.count(1)
_jobs: dict[str, dict[str, Any]] = {}
_TIMES = {"submitTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T01:00:00Z"}


async def create_batch(request: Request) -> Response:
    arn = f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/batch{next(_numbers):07}abcd"
    _jobs[arn] = await request.json()
    return JSONResponse({"jobArn": arn})


async def retrieve_batch(request: Request) -> Response:
    arn = request.path_params["arn"]
    counts = {"totalRecordCount": 31, "processedRecordCount": 31, "successRecordCount": 30, "errorRecordCount": 1}
    return JSONResponse({"jobArn": arn, **_jobs[arn], **_TIMES, "status": "Completed", **counts})


async def invoke(request: Request) -> Response:
    arn = f"arn:aws:bedrock:us-east-1:123456789012:async-invoke/{next(_numbers):012}"
    _jobs[arn] = await request.json()
    return JSONResponse({"invocationArn": arn})


async def retrieve_invocation(request: Request) -> Response:
    arn = request.path_params["arn"]
    model_arn = f"arn:aws:bedrock:us-east-1::foundation-model/{_jobs[arn]['modelId']}"
    into = _jobs[arn]["outputDataConfig"]
    shown = {"invocationArn": arn, "modelArn": model_arn, "status": "Completed", "outputDataConfig": into}
    return JSONResponse({**shown, **_TIMES})


ROUTES = [
    Route("/model-invocation-job", create_batch, methods=["POST"]),
    Route("/model-invocation-job/{arn:path}", retrieve_batch),
    Route("/async-invoke", invoke, methods=["POST"]),
    Route("/async-invoke/{arn:path}", retrieve_invocation),
]
