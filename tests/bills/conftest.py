"""The benches of tests/request, here too."""

from tests.request.conftest import bench, clock, memory, open_store, prices  # noqa: F401
