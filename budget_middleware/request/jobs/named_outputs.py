"""Files that say by their name which batch they are the results of.

    GET /files ──> {"data": [{"id", "purpose": "batch_output", "filename": "BATCH_output.jsonl"}]}: kept under its id

Else a client could learn from files alone where its results are, and never ask for the batch itself, which says where
they are (`batch_results`). A name proves less than that: such results cost what was estimated at least. Who asks for a
file by its id has learnt that already, so this is not looked at: others have such routes for downloads of any length.
"""

from functools import partial
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from budget_middleware.apis.jobs.batch_states import NamedOutput, outputs_named_in
from budget_middleware.apis.jobs.batches import OPENAI_BATCH
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.ledger import Job, Ledger
from budget_middleware.ledger.jobs.tickets import KEPT_LONGER_MS, fact_name
from budget_middleware.request.bodies.field_masks import without_other_request
from budget_middleware.request.jobs.plain_answers import KeptAnswer, pass_and_read
from budget_middleware.request.jobs.upload_plans import keep_plan
from budget_middleware.request.quotes.batches import FILE_KEPT_MS
from budget_middleware.stores.errors import NO_ANSWER

_FILES: Final = ends_in("/files")


def lists_files(path: str) -> bool:
    """Whether a GET of this path lists files."""
    return _FILES.search(path) is not None


def named_fact(file_id: str) -> str:
    """The name under which the batch is kept that a file is named after."""
    return fact_name("named-output", file_id)


async def pass_file_list(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, ledger: Ledger, max_body_bytes: int
) -> None:
    """Let the app list files, and keep which of them are the results of which batch."""
    answer = KeptAnswer(max_body_bytes)
    keep = partial(_keep, ledger, answer)
    # Its `fields` stay: those who name files after batches know none, and others list files of their own there.
    meant = without_other_request(scope)
    await pass_and_read(app, meant, receive, send, feed=answer.feed, at_end=keep, reads_on=True)


async def _keep(ledger: Ledger, answer: KeptAnswer) -> None:
    outputs = outputs_named_in(bytes(answer.body))
    if not outputs:
        return
    job_of: dict[NamedOutput, str] = {each: Job(OPENAI_BATCH, each.batch).fact_name for each in outputs}
    try:
        # Most were told of before, or are of batches that nobody holds anything for.
        known = await ledger.tickets.look_up_facts([*job_of.values(), *(named_fact(each.file) for each in outputs)])
    except NO_ANSWER:
        return
    for output, job in job_of.items():
        if job in known and named_fact(output.file) not in known:
            await keep_plan(ledger, named_fact(output.file), output.batch, keep_ms=FILE_KEPT_MS + KEPT_LONGER_MS)
