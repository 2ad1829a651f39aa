"""The provider's videos, training and evaluations, as OpenAI and Google have them: done as soon as somebody asks."""

import itertools
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_numbers = itertools.count(1)
_jobs: dict[str, dict[str, Any]] = {}


async def create_video(request: Request) -> Response:
    form = await request.form() if "form" in request.headers["content-type"] else await request.json()
    source = _jobs.get(request.path_params.get("id", ""), {})
    shape = {name: form.get(name) or source.get(name) for name in ("model", "seconds", "size")}
    id_ = f"video_{next(_numbers)}"
    _jobs[id_] = {"id": id_, "object": "video", "created_at": 1, "progress": 0, "status": "queued", **shape}
    return JSONResponse(_jobs[id_])


async def retrieve_video(request: Request) -> Response:
    job = _jobs[request.path_params["id"]]
    is_bad = job["seconds"] == "12"
    job |= {"status": "failed", "error": {"code": "x", "message": "y"}} if is_bad else {"status": "completed"}
    return JSONResponse(job)


async def content(_: Request) -> Response:
    return Response(b"film", media_type="video/mp4")


async def create_tuning(request: Request) -> Response:
    asked = await request.json()
    id_ = f"ftjob-{next(_numbers)}"
    plain = {"object": "fine_tuning.job", "created_at": 1, "organization_id": "o", "result_files": [], "seed": 1}
    _jobs[id_] = {"id": id_, **plain, "status": "queued", "hyperparameters": {"n_epochs": 1}, "trained_tokens": None}
    _jobs[id_] |= {"model": asked["model"], "training_file": asked["training_file"]}
    return JSONResponse(_jobs[id_])


async def retrieve_tuning(request: Request) -> Response:
    job = _jobs[request.path_params["id"]]
    return JSONResponse(job | {"status": "succeeded", "trained_tokens": 30, "finished_at": 2})


async def vertex_model(request: Request) -> Response:
    """An operation, or how it stands with it, of which one of six seconds is blocked; or pictures."""
    model, _, method = request.path_params["call"].rpartition(":")
    asked = await request.json()
    if method == "predictLongRunning":
        seconds = asked["parameters"]["durationSeconds"]
        return JSONResponse({"name": f"publishers/google/models/{model}/operations/op{next(_numbers)}-{seconds}"})
    if method == "predict":
        picture = {"bytesBase64Encoded": "AAAA", "mimeType": "image/png"}
        blocked = {"raiFilteredReason": "x"}
        wanted = asked["parameters"].get("sampleCount", 4)
        return JSONResponse({"predictions": [picture] * (wanted - 1) + [blocked]})
    made = {"videos": [{"gcsUri": "gs://x", "mimeType": "video/mp4"}]}
    all_blocked = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["x"]}
    name = asked["operationName"]
    return JSONResponse({"name": name, "done": True, "response": all_blocked if name.endswith("-6") else made})


async def create_run(request: Request) -> Response:
    return JSONResponse(_run(await request.json(), "queued"))


async def retrieve_run(_: Request) -> Response:
    counts = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110, "cached_tokens": 0}
    used = [{"model_name": "test-model", "invocation_count": 1, **counts}]
    return JSONResponse(_run({"data_source": {}}, "completed", per_model_usage=used))


def _run(asked: dict[str, Any], status: str, **fields: Any) -> dict[str, Any]:
    plain = {"id": "evalrun_1", "object": "eval.run", "eval_id": "eval_1", "created_at": 1, "model": "test-model"}
    return {**plain, "status": status, "data_source": asked["data_source"], **fields}


async def create_container(request: Request) -> Response:
    asked = await request.json()
    memory = asked.get("memory_limit", "1g")
    plain = {"object": "container", "created_at": 0, "status": "running"}
    return JSONResponse({"id": "cntr_1", **plain, "name": asked["name"], "memory_limit": memory})


ROUTES = [
    Route("/v1/evals/{id}/runs", create_run, methods=["POST"]),
    Route("/v1/evals/{id}/runs/{run}", retrieve_run),
    Route("/v1/containers", create_container, methods=["POST"]),
    Route("/v1/videos", create_video, methods=["POST"]),
    Route("/v1/videos/{id}/remix", create_video, methods=["POST"]),
    Route("/v1/videos/{id}/content", content),
    Route("/v1/videos/{id}", retrieve_video),
    Route("/v1/fine_tuning/jobs", create_tuning, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{id}", retrieve_tuning),
    Route("/v1beta1/publishers/google/models/{call}", vertex_model, methods=["POST"]),
]
