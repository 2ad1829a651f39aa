"""Its fixtures stand in a module of their own, for tests/rolling has some of them too."""

from tests.faults.fixtures import proxy, server, start_gateway, store  # noqa: F401
