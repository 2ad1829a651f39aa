"""The provider's batches: files, batch objects and results, as OpenAI and Anthropic have them."""

import itertools
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_numbers = itertools.count(1)
_files: dict[str, bytes] = {}
_uploads: dict[str, dict[str, Any]] = {}
_batches: dict[str, dict[str, Any]] = {}
_message_batches: dict[str, list[dict[str, Any]]] = {}
_gemini_batches: dict[str, list[dict[str, Any]]] = {}
_OUTPUT_TOKENS = 100
_USAGE = {"prompt_tokens": 10, "completion_tokens": _OUTPUT_TOKENS, "total_tokens": 10 + _OUTPUT_TOKENS}


async def upload(request: Request) -> Response:
    form = await request.form()
    content = await form["file"].read()  # type: ignore[union-attr]
    return JSONResponse(_file_object(content, str(form["purpose"])))


def _file_object(content: bytes, purpose: str) -> dict[str, Any]:
    id_ = f"file-{next(_numbers)}"
    _files[id_] = content
    fields = {"created_at": 0, "filename": "f.jsonl", "purpose": purpose, "status": "processed"}
    return {"id": id_, "object": "file", "bytes": len(content), **fields}


async def begin_upload(request: Request) -> Response:
    asked = await request.json()
    id_ = f"upload_{next(_numbers)}"
    _uploads[id_] = {"id": id_, "object": "upload", "created_at": 0, "expires_at": 3_600, **asked, "status": "pending"}
    return JSONResponse(_uploads[id_])


async def upload_part(request: Request) -> Response:
    form = await request.form()
    id_ = f"part_{next(_numbers)}"
    _files[id_] = await form["data"].read()  # type: ignore[union-attr]
    upload_id = request.path_params["id"]
    return JSONResponse({"id": id_, "object": "upload.part", "created_at": 0, "upload_id": upload_id})


async def complete_upload(request: Request) -> Response:
    parts = (await request.json())["part_ids"]
    upload = _uploads[request.path_params["id"]]
    file = _file_object(b"".join(_files[part] for part in parts), upload["purpose"])
    return JSONResponse({**upload, "status": "completed", "file": file})


async def content(request: Request) -> Response:
    return Response(_files[request.path_params["id"]], media_type="application/octet-stream")


async def create(request: Request) -> Response:
    asked = await request.json()
    id_ = f"batch_{next(_numbers)}"
    plain = {"object": "batch", "created_at": 0, "endpoint": asked["endpoint"], "completion_window": "24h"}
    _batches[id_] = {"id": id_, **plain, "input_file_id": asked["input_file_id"], "status": "validating"}
    return JSONResponse(_batches[id_])


async def retrieve(request: Request) -> Response:
    """It is done as soon as somebody asks; the older form of the object, which names no usage."""
    if request.path_params["id"] in _gemini_batches:
        return await retrieve_gemini(request)
    batch = _batches[request.path_params["id"]]
    if batch["status"] == "validating":
        calls = [json.loads(line) for line in _files[batch["input_file_id"]].splitlines()]
        lines = [json.dumps(_answered(call)) for call in calls]
        output = _file_object("\n".join(lines).encode() + b"\n", "batch_output")
        counts = {"total": len(calls), "completed": len(calls), "failed": 0}
        batch |= {"status": "completed", "output_file_id": output["id"], "request_counts": counts}
    return JSONResponse(batch)


def _answered(call: dict[str, Any]) -> dict[str, Any]:
    body = {"id": "c", "object": "chat.completion", "model": call["body"]["model"], "choices": [], "usage": _USAGE}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "l", "custom_id": call["custom_id"], "response": response, "error": None}


def _message_batch(id_: str, status: str) -> dict[str, Any]:
    done = status == "ended"
    counts = {"processing": 0 if done else 1, "succeeded": int(done), "errored": 0, "canceled": 0, "expired": 0}
    plain = {"type": "message_batch", "created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}
    never = dict.fromkeys(("archived_at", "cancel_initiated_at", "ended_at", "results_url"))
    return {"id": id_, **plain, **never, "processing_status": status, "request_counts": counts}


async def create_messages(request: Request) -> Response:
    id_ = f"msgbatch_{next(_numbers)}"
    _message_batches[id_] = (await request.json())["requests"]
    return JSONResponse(_message_batch(id_, "in_progress"))


async def retrieve_messages(request: Request) -> Response:
    id_ = request.path_params["id"]
    url = f"{request.url}/results"
    return JSONResponse({**_message_batch(id_, "ended"), "results_url": url})


async def message_results(request: Request) -> Response:
    usage = {"input_tokens": 10, "output_tokens": _OUTPUT_TOKENS}
    message: dict[str, Any] = {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "stop_sequence": None,
        "content": [],
    }
    lines = [
        {
            "custom_id": each["custom_id"],
            "result": {
                "type": "succeeded",
                "message": {**message, "model": each["params"]["model"], "stop_reason": "end_turn", "usage": usage},
            },
        }
        for each in _message_batches[request.path_params["id"]]
    ]
    return Response("\n".join(map(json.dumps, lines)) + "\n", media_type="application/x-jsonl")


async def create_gemini(request: Request) -> Response:
    id_ = f"gemini{next(_numbers)}"
    source = (await request.json())["batch"]["inputConfig"]
    lines = _files.get(source.get("fileName", "").removeprefix("files/"), b"").splitlines()
    _gemini_batches[id_] = source["requests"]["requests"] if "requests" in source else list(map(json.loads, lines))
    return JSONResponse({"name": f"batches/{id_}", "metadata": {"state": "BATCH_STATE_PENDING"}})


async def retrieve_gemini(request: Request) -> Response:
    id_ = request.path_params["id"]
    usage = {"promptTokenCount": 10, "candidatesTokenCount": _OUTPUT_TOKENS}
    content = {"role": "model", "parts": [{"text": "x"}]}
    answer = {"candidates": [{"content": content}], "modelVersion": "test-model", "usageMetadata": usage}
    calls = _gemini_batches[id_]
    output: dict[str, Any] = {"inlinedResponses": {"inlinedResponses": [{"response": answer} for _ in calls]}}
    if any("key" in each for each in calls):
        answers = [json.dumps({"key": each["key"], "response": answer}) for each in calls]
        output = {"responsesFile": f"files/{_file_object(chr(10).join(answers).encode(), 'batch')['id']}"}
    metadata = {"state": "BATCH_STATE_SUCCEEDED", "output": output}
    return JSONResponse({"name": f"batches/{id_}", "metadata": metadata, "done": True, "response": output})


async def upload_gemini(request: Request) -> Response:
    """A resumable upload: the address first, then the bytes of it."""
    if request.headers["x-goog-upload-command"] == "start":
        # A gateway has to name itself there, else the file goes around it.
        url = str(request.url.replace(query=f"upload_id={next(_numbers)}&upload_protocol=resumable"))
        return JSONResponse({}, headers={"x-goog-upload-url": url, "x-goog-upload-status": "active"})
    id_ = _file_object(await request.body(), "batch")["id"]
    return JSONResponse({"file": {"name": f"files/{id_}"}}, headers={"x-goog-upload-status": "final"})


ROUTES = [
    Route("/upload/{version}/files", upload_gemini, methods=["POST"]),
    Route("/{version}/files/{id}:download", content),
    Route("/download/{version}/files/{id}:download", content),
    Route("/v1/files", upload, methods=["POST"]),
    Route("/v1/files/{id}/content", content),
    Route("/v1/uploads", begin_upload, methods=["POST"]),
    Route("/v1/uploads/{id}/parts", upload_part, methods=["POST"]),
    Route("/v1/uploads/{id}/complete", complete_upload, methods=["POST"]),
    Route("/v1/batches", create, methods=["POST"]),
    Route("/{version}/batches/{id}", retrieve),
    Route("/v1/messages/batches", create_messages, methods=["POST"]),
    Route("/v1/messages/batches/{id}/results", message_results),
    Route("/v1/messages/batches/{id}", retrieve_messages),
]
