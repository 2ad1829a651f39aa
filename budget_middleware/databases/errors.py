"""Why a database did not do what it was asked."""


class DatabaseFault(Exception):
    """A database that cannot do the work until somebody changes that, or a statement that it refused.

    Nothing was applied. ``cause`` says what it is, ``fix`` what an operator can do about it; one line each.
    """

    def __init__(self, cause: str, fix: str, *, reply: str = "") -> None:
        super().__init__(cause, fix, reply)
        self.cause = cause
        self.fix = fix
        self.reply = " ".join(reply.split())

    def __str__(self) -> str:
        return f"{self.cause} ({self.reply}); {self.fix}" if self.reply else f"{self.cause}; {self.fix}"


class DatabaseAway(DatabaseFault):
    """A database that gives no answer now, and may give one soon: another process has it locked, a server is down.

    Whether it applied what it was asked is unknown.
    """
