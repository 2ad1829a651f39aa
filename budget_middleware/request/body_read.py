"""What admission needs to know of a request's body, whatever brought it."""

from typing import Protocol

from budget_middleware.headers import HeaderTable


class BodyRead(Protocol):
    """What was read of a request; its fields are those of `RequestBody`."""

    headers: HeaderTable
    document: object
    why_unread: str
    is_client_gone: bool

    def length(self) -> int: ...
