"""The server and the proxy of tests/faults, here too."""

from tests.faults.fixtures import proxy, server  # noqa: F401
