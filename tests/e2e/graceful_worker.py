"""gunicorn's worker as its users should set it up: it stops requests itself, before gunicorn kills it."""

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class GracefulWorker(UvicornWorker):  # type: ignore[misc]
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**UvicornWorker.CONFIG_KWARGS, "timeout_graceful_shutdown": 1}
