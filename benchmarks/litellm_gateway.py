"""The LiteLLM proxy without database and Redis, alone and guarded: `uvicorn benchmarks.litellm_gateway:NAME`.

It runs in an environment of its own, whose interpreter `--litellm` names.
"""

import os
from functools import cache

from starlette.types import ASGIApp

from benchmarks.answers import TOKEN
from benchmarks.guarded import guard

_ENVIRONMENT = {
    "CONFIG_FILE_PATH": "examples/litellm_config.yaml",
    # Its price list is asked for over the internet otherwise.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MASTER_KEY": TOKEN,
    "UPSTREAM_V1_URL": f"{os.environ['BENCH_UPSTREAM_URL']}/v1",
    "UPSTREAM_API_KEY": "sk-upstream",
}


# uvicorn asks more than once.
@cache
def __getattr__(name: str) -> ASGIApp:
    os.environ.update(_ENVIRONMENT)
    from litellm.proxy.proxy_server import app

    match name:
        case "bare":
            bare: ASGIApp = app
            return bare
        case "redis_3":
            return guard(app, accounts=3, namespace=name)
    raise AttributeError(name)
