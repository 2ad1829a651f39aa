"""The error that every reader of a request may raise."""


class BadRequestError(ValueError):
    """A request that no estimate can be made for; the message is one line for its sender."""
