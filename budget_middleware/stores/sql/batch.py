"""Verbs of one moment, decided in one transaction: no I/O, so that every driver runs it.

Theory of operation. `decide` is a generator. It yields what is to be read (`Wanted`), is sent what was found
(`Loaded`), and returns what is to be written and the answer of each verb:

    driver                                   decide
    BEGIN, lock the ledger, read the clock
      <── Wanted: what the verbs name        likely_reads
      ──> Loaded, with the ledger's row
      <── Wanted: only what they lead to     counters of what is released; seldom more
      ──> Loaded
      <── Decided                            the engine ran each verb over the working set
    write, COMMIT, share out the answers

Most batches read once: what a verb will need follows from what it names.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Target
from budget_middleware.core.verbs import Adjust, Expire, Extend, Finalize, Grow, Release, Repair, Reserve, Transfer
from budget_middleware.stores.engine.counters_read import buckets_counted
from budget_middleware.stores.engine.engine import Engine
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.batch_data import DUE_AT_ONCE, Loaded, Wanted, Writes
from budget_middleware.stores.sql.changes import NotLoaded
from budget_middleware.stores.sql.working_set import WorkingSet


@dataclass(frozen=True, slots=True)
class Sweep:
    """``Store.sweep`` as a verb."""

    at_most: int
    trace: str = ""


_METHODS = {
    each: each.__name__.lower()
    for each in (Reserve, Finalize, Release, Extend, Grow, Expire, Adjust, Transfer, Repair)
}  # fmt: skip
Verb = Reserve | Finalize | Release | Extend | Grow | Expire | Adjust | Transfer | Repair | Sweep


@dataclass(slots=True)
class Decided:
    """The answer or error of each verb, in their order, and what to write before anybody hears of it."""

    answers: list[Answer | StoreRefused]
    writes: Writes


def likely_reads(verbs: Sequence[Verb]) -> Wanted:
    """What verbs will need, as far as they name it."""
    wanted = Wanted(due=DUE_AT_ONCE)
    for verb in verbs:
        match verb:
            case Reserve() | Finalize():
                wanted.reservations.add(verb.id)
                _want_counters(wanted, verb.targets)
            case Release() | Extend() | Grow() | Expire():
                wanted.reservations.add(verb.id)
            case Adjust() | Transfer():
                wanted.adjustments.add(verb.id)
                _want_counters(wanted, verb.targets)
            case Repair():
                _want_counters(wanted, (verb.target,))
                wanted.pending_on.add(verb.target.counter)
            case Sweep():
                wanted.due = max(wanted.due, verb.at_most + 1)
    return wanted


def _want_counters(wanted: Wanted, targets: Sequence[Target]) -> None:
    for target in targets:
        wanted.counters.add(target.counter)
        if target.carry:
            wanted.counters.add(target.counter._replace(window=target.carry.previous))


def decide(verbs: Sequence[Verb], retention: Retention) -> Generator[Wanted, Loaded, Decided]:
    """Decide verbs in their order, each as if it were alone."""
    tables = WorkingSet()
    yield from _read(tables, likely_reads(verbs))
    yield from _read(tables, _counters_led_to(tables, verbs))
    engine = Engine(tables, retention)
    answers: list[Answer | StoreRefused] = []
    for verb in verbs:
        answer = yield from _decide(verb, engine, tables)
        answers.append(answer)
    return Decided(answers, tables.writes())


def _read(tables: WorkingSet, wanted: Wanted | None) -> Generator[Wanted, Loaded, None]:
    while wanted is not None and wanted != Wanted():
        wanted = tables.take(wanted, (yield wanted))


def _counters_led_to(tables: WorkingSet, verbs: Sequence[Verb]) -> Wanted:
    """Counters on which those hold that are named by their id only, or are over; and the buckets of rolling limits."""
    ids = [verb.id for verb in verbs if isinstance(verb, Release | Grow | Expire)]
    held = [target for known in (*tables.known(ids), *tables.maybe_due()) for target in known.targets]
    asked = [target for verb in verbs if isinstance(verb, Reserve | Transfer) for target in verb.targets]
    counters = {target.counter for target in held}
    for target in (*held, *asked):
        if target.is_rolling:
            counters.update(buckets_counted(target.series, now_ms=tables.now_ms))
    return tables.missing_counters(Wanted(counters=counters))


def _decide(verb: Verb, engine: Engine, tables: WorkingSet) -> Generator[Wanted, Loaded, Answer | StoreRefused]:
    while True:
        tables.begin()
        try:
            return _run(verb, engine, now_ms=tables.now_ms)
        except NotLoaded as missing:
            tables.undo()
            yield from _read(tables, missing.wanted)
        except StoreRefused as error:
            tables.undo()
            return error
        except (ValueError, KeyError) as error:
            tables.undo()
            return StoreRefused(f"a row cannot be read: {error}")


def _run(verb: Verb, engine: Engine, *, now_ms: int) -> Answer:
    match verb:
        case Sweep():
            return engine.sweep(at_most=verb.at_most, trace=verb.trace, now_ms=now_ms)
        case _:
            method: Callable[..., Answer] = getattr(engine, _METHODS[type(verb)])
            return method(verb, now_ms=now_ms)
