"""A text beside the ticket of a job, which any worker may change: each change is made to the text that is there."""

from collections.abc import Callable

from budget_middleware.ledger.jobs.tickets import Job, fact_name
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreUnavailable

# Few workers change the text of one job at once.
_TRIES = 16
_NAME = "text"


class JobTexts:
    """Each method raises as the store does, or TimeoutError."""

    def __init__(self, store: Store, *, timeout: SharedTimeout) -> None:
        self._store = store
        self._timeout = timeout

    async def text(self, job: Job) -> str | None:
        """The text beside a ticket; None if there is none."""
        with self._timeout.timeout():
            return (await self._store.texts(_shelf(job))).get(_NAME)

    async def change(self, job: Job, edit: Callable[[str | None], str], *, keep_ms: int) -> str:
        """Put what ``edit`` makes of the text in its place, and return that; ``edit`` may be called several times."""
        for _ in range(_TRIES):
            before = await self.text(job)
            after = edit(before)
            if after == before:
                return after
            with self._timeout.timeout():
                if await self._store.swap_text(_shelf(job), _NAME, before=before, after=after, keep_ms=keep_ms):
                    return after
        raise StoreUnavailable(f"others changed the text of a job {_TRIES} times meanwhile")


def _shelf(job: Job) -> str:
    return fact_name("beside", job.api, job.id)
