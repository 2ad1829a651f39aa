"""Lists of jobs: what they show of jobs that are over is booked, as if each had been asked for alone.

Else a client could learn from lists alone where its results are, and never ask for what books them. The store is asked
once for all jobs of a list that are over, and then for those that it knows.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.jobs.batch_states import read_batch
from budget_middleware.apis.jobs.created import Stage
from budget_middleware.apis.jobs.lists import Listed, items_in
from budget_middleware.ledger import Job, Ledger
from budget_middleware.request.bodies.field_masks import without_field_mask
from budget_middleware.request.jobs.batch_results import book_batch
from budget_middleware.request.jobs.job_states import book_shown
from budget_middleware.request.jobs.plain_answers import KeptAnswer, pass_and_read
from budget_middleware.stores.errors import NO_ANSWER


async def pass_and_book_list(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, listed: Listed, ledger: Ledger, max_body_bytes: int
) -> None:
    """Let the app answer with its list of jobs, and book those that it shows to be over."""
    answer = KeptAnswer(max_body_bytes)
    book = partial(_book_each, ledger, listed, answer)
    await pass_and_read(app, without_field_mask(scope), receive, send, feed=answer.feed, at_end=book, reads_on=True)


async def _book_each(ledger: Ledger, listed: Listed, answer: KeptAnswer) -> None:
    items = items_in(answer.document)
    ended = [(job, item) for item in items for job in _ended_in(listed, item)]
    known = await _known_of(ledger, [job for job, _ in ended])
    for job, item in ended:
        if job in known and listed.jobs is None:
            await book_batch(ledger, (job.api,), item, id_=job.id)
        elif job in known and listed.jobs is not None:
            await book_shown(ledger, listed.jobs, listed.jobs.state(item), id_=job.id)


async def _known_of(ledger: Ledger, jobs: Sequence[Job]) -> Collection[Job]:
    """Those of many jobs that may have an open ticket; none if the store does not answer in time."""
    closed, texts = ledger.tickets.closed, {}
    asked = {job.fact_name: job for job in jobs if not closed.has(job.fact_name)}
    if asked:
        with suppress(*NO_ANSWER):
            texts = dict(await ledger.tickets.look_up_facts(list(asked)))
            for unknown in asked.keys() - texts.keys():
                closed.add_unknown(unknown)
    return {asked[name] for name in texts}


def _ended_in(listed: Listed, item: object) -> Iterator[Job]:
    """The jobs that an item may be, if it is one that is over."""
    for api in listed.batches:
        batch = read_batch(api, item)
        if batch is not None and (batch.is_over or batch.output_file):
            yield Job(api, batch.id)
    job = listed.jobs.state(item) if listed.jobs is not None else None
    if listed.jobs is not None and job is not None and job.id and job.stage is not Stage.RUNNING:
        yield Job(listed.jobs.name, job.id)
