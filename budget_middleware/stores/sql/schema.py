"""The tables of ledgers in a database, as numbered steps: see ``databases.migrations``.

One database may hold several ledgers: every table begins with the number of one (``budget_ledgers.id``), and no
statement looks at another's. Names begin with ``budget_``, since other tables may be there. Figures are integers of
their unit, amounts and targets the words of ``stores/records/``.
"""

from budget_middleware.databases.migrations import Steps

COMPONENT = "ledger"

_LEDGERS = """
create table budget_ledgers (
    id bigint primary key,
    namespace text not null unique,
    generation text not null,
    limits_version bigint not null,
    seq bigint not null,
    bookings bigint not null,
    entries bigint not null,
    forget_voided_ms bigint not null,
    voided_steps bigint not null,
    lineage text not null,
    limits_logged_from bigint not null
)"""

# What is pending is little, and read and written by every verb; what has ended is much, and hardly read.
_PENDING = """
create table budget_pending (
    ledger bigint not null,
    id text not null,
    targets text not null,
    asked text not null,
    held text not null,
    charge text not null,
    created_ms bigint not null,
    deadline_ms bigint not null,
    trace text not null,
    reserve_seq bigint not null,
    primary key (ledger, id)
){without_rowid}"""
_DUE = "create index budget_pending_due on budget_pending (ledger, deadline_ms, id)"

_ENDED = """
create table budget_ended (
    ledger bigint not null,
    id text not null,
    state text not null,
    targets text not null,
    asked text,
    charge text not null,
    actual text not null,
    created_ms bigint not null,
    forget_ms bigint not null,
    primary key (ledger, id)
){without_rowid}"""
_ENDED_FORGET = "create index budget_ended_forget on budget_ended (ledger, forget_ms)"

_ADJUSTMENTS = """
create table budget_adjustments (
    ledger bigint not null,
    id text not null,
    targets text not null,
    amount text not null,
    n_sources bigint not null,
    as_of bigint not null,
    forget_ms bigint not null,
    primary key (ledger, id)
){without_rowid}"""
_ADJUSTMENTS_FORGET = "create index budget_adjustments_forget on budget_adjustments (ledger, forget_ms)"

_COUNTERS = """
create table budget_counters (
    ledger bigint not null,
    name text not null,
    spent bigint not null,
    reserved bigint not null,
    adjusted bigint not null,
    repaired_at_seq bigint not null,
    keep_until_ms bigint,
    primary key (ledger, name)
){without_rowid}"""
_COUNTERS_FORGET = (
    "create index budget_counters_forget on budget_counters (ledger, keep_until_ms) where keep_until_ms is not null"
)

_TOTALS = """
create table budget_totals (
    ledger bigint not null,
    unit text not null,
    kind text not null,
    reserved bigint not null,
    primary key (ledger, unit, kind)
){without_rowid}"""

# Steps whose reservation came to nothing lie apart, so that the others are trimmed from their oldest end.
_STEPS = """
create table budget_{name} (
    ledger bigint not null,
    last_seq bigint not null,
    bookings bigint not null,
    entries bigint not null,
    time_ms bigint not null,
    op text not null,
    reservation_id text not null,
    status text not null,
    targets text not null,
    figures text not null,
    trace text not null,
    reserve_trace text not null,
    reason text not null,
    bill text not null,
    primary key (ledger, last_seq)
){without_rowid}"""

_LIMITS = """
create table budget_limits (
    ledger bigint not null,
    pattern text not null,
    field text not null,
    value text not null,
    primary key (ledger, pattern, field)
){without_rowid}"""
_LIMIT_LOG = """
create table budget_limit_log (
    ledger bigint not null,
    pattern text not null,
    field text not null,
    version bigint not null,
    known_at bigint,
    primary key (ledger, pattern, field)
){without_rowid}"""
_LIMIT_LOG_ORDER = "create index budget_limit_log_order on budget_limit_log (ledger, version)"
_LIMIT_SHAPES = """
create table budget_limit_shapes (
    ledger bigint not null,
    shape text not null,
    primary key (ledger, shape)
){without_rowid}"""

_LEARNT = """
create table budget_learnt (
    ledger bigint not null,
    name text not null,
    sums text not null,
    forget_ms bigint not null,
    primary key (ledger, name)
){without_rowid}"""
_LEARNT_FORGET = "create index budget_learnt_forget on budget_learnt (ledger, forget_ms)"

_NOTES = """
create table budget_notes (
    ledger bigint not null,
    topic text not null,
    note text not null,
    time_ms bigint not null,
    primary key (ledger, topic, note)
){without_rowid}"""

_REFUSALS = """
create table budget_refusals (
    ledger bigint not null,
    number bigint not null,
    time_ms bigint not null,
    record text not null,
    primary key (ledger, number)
){without_rowid}"""
_REFUSALS_TIME = "create index budget_refusals_time on budget_refusals (ledger, time_ms)"

_SHADOW_SUMS = """
create table budget_shadow_sums (
    ledger bigint not null,
    day text not null,
    name text not null,
    sums text not null,
    primary key (ledger, day, name)
){without_rowid}"""

_FIRST = (
    _LEDGERS,
    _PENDING,
    _DUE,
    _ENDED,
    _ENDED_FORGET,
    _ADJUSTMENTS,
    _ADJUSTMENTS_FORGET,
    _COUNTERS,
    _COUNTERS_FORGET,
    _TOTALS,
    _STEPS.replace("{name}", "journal"),
    _STEPS.replace("{name}", "voided"),
    _LIMITS,
    _LIMIT_LOG,
    _LIMIT_LOG_ORDER,
    _LIMIT_SHAPES,
    _LEARNT,
    _LEARNT_FORGET,
    _NOTES,
    _REFUSALS,
    _REFUSALS_TIME,
    _SHADOW_SUMS,
)
_FACTS = """
create table budget_facts (
    ledger bigint not null,
    name text not null,
    fact text not null,
    forget_ms bigint not null,
    primary key (ledger, name)
){without_rowid}"""
_FACTS_FORGET = "create index budget_facts_forget on budget_facts (ledger, forget_ms)"

_SECOND = (_FACTS, _FACTS_FORGET)

_TEXTS = """
create table budget_texts (
    ledger bigint not null,
    shelf text not null,
    name text not null,
    value text not null,
    keep_until_ms bigint not null,
    primary key (ledger, shelf, name)
){without_rowid}"""
_TEXTS_FORGET = "create index budget_texts_forget on budget_texts (ledger, keep_until_ms)"

_THIRD = (_TEXTS, _TEXTS_FORGET)


def steps(*, text: str, without_rowid: str) -> Steps:
    """The steps in the words of a database: its type of text, and what makes a table one found by its key only.

    Text is compared character by character, whatever language the database speaks.
    """
    return [
        [statement.replace(" text", f" {text}").replace("{without_rowid}", without_rowid) for statement in step]
        for step in (_FIRST, _SECOND, _THIRD)
    ]


SQLITE_STEPS = steps(text="text", without_rowid=" without rowid")
POSTGRES_STEPS = steps(text='text collate "C"', without_rowid="")
