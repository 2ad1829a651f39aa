"""The provider's batches and tuning, as Vertex AI has them: done as soon as somebody asks."""

import itertools
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_PLACE = "projects/p/locations/l"
_numbers = itertools.count(1)
_jobs: dict[str, dict[str, Any]] = {}


async def create(request: Request) -> Response:
    kind = request.url.path.rpartition("/")[2]
    id_ = str(next(_numbers))
    plain = {"name": f"{_PLACE}/{kind}/{id_}", "state": "JOB_STATE_PENDING", "createTime": "2026-01-01T00:00:00Z"}
    _jobs[id_] = {**await request.json(), **plain}
    return JSONResponse(_jobs[id_])


async def retrieve(request: Request) -> Response:
    stats = {
        "completionStats": {"successfulCount": "30", "failedCount": "1", "incompleteCount": "0"},
        "tuningDataStats": {"supervisedTuningDataStats": {"totalBillableTokenCount": "15"}},
    }
    of_kind = list(stats.items())["tuningJobs" in request.url.path]
    return JSONResponse({**_jobs[request.path_params["id"]], "state": "JOB_STATE_SUCCEEDED", **dict([of_kind])})


ROUTES = [
    Route(f"/{version}/{kind}", create, methods=["POST"])
    for version in ("v1beta1", "v1beta1/projects/p/locations/l")
    for kind in ("batchPredictionJobs", "tuningJobs")
] + [
    Route(f"/{version}/{kind}/{{id}}", retrieve)
    for version in ("v1beta1", "v1beta1/projects/p/locations/l")
    for kind in ("batchPredictionJobs", "tuningJobs")
]
