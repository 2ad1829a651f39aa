"""What is kept in a database beside the counters: notes, refusals, shadow and learnt sums, facts of jobs, texts."""

import json
from collections.abc import Mapping, Sequence

from budget_middleware.core.costs.learning import NO_ANSWERS, AnswerGroup, Sums, merge
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.limits.shadow import ShadowDay, ShadowLimit, ShadowSum, day_of
from budget_middleware.stores.base import LEARNT_MS, SHADOW_LIMITS_MAX
from budget_middleware.stores.facts import Fact
from budget_middleware.stores.notes import Note, Topic
from budget_middleware.stores.records.learnt_sums import pack_sums, unpack_sums
from budget_middleware.stores.records.refusals import pack_refusal, unpack_refusal
from budget_middleware.stores.records.shadow_sums import LEFT_OUT, pack_shadow_limit, pack_shadow_sum, unpack_shadow_day
from budget_middleware.stores.retention import Retention
from budget_middleware.stores.sql.scripts import At, Query, Script, ask, in_list, padded

_PUT_LEARNT = (
    "insert into budget_learnt (ledger, name, sums, forget_ms) values (?, ?, ?, ?)"
    " on conflict (ledger, name) do update set sums = excluded.sums, forget_ms = excluded.forget_ms"
)
_PUT_NOTE = (
    "insert into budget_notes (ledger, topic, note, time_ms) values (?, ?, ?, ?)"
    " on conflict (ledger, topic, note) do update set time_ms = excluded.time_ms"
)
_KEEP_FACT = (
    "insert into budget_facts (ledger, name, fact, forget_ms) values (?, ?, ?, ?) on conflict (ledger, name) do nothing"
)
_PUT_SHADOW = (
    "insert into budget_shadow_sums (ledger, day, name, sums) values (?, ?, ?, ?)"
    " on conflict (ledger, day, name) do update set sums = excluded.sums"
)

_PUT_TEXT = (
    "insert into budget_texts (ledger, shelf, name, value, keep_until_ms) values (?, ?, ?, ?, ?)"
    " on conflict (ledger, shelf, name) do update set value = excluded.value, keep_until_ms = excluded.keep_until_ms"
)


def learn(at: At, newer: Mapping[AnswerGroup, Sums]) -> Script[Mapping[AnswerGroup, Sums]]:
    names = padded([group.name for group in newer])
    select = (
        f"select name, sums from budget_learnt where ledger = ? and forget_ms > ? and name in {in_list(len(newer))}"
    )
    known: dict[str, str] = dict((yield from ask(select, at.ledger, at.now_ms, *names)))
    merged: dict[AnswerGroup, Sums] = {}
    puts: list[Query] = []
    for group, added in newer.items():
        before = unpack_sums(known.get(group.name, ""))
        sums = merge(before or NO_ANSWERS, added) if added.is_sound else before or NO_ANSWERS
        if before is not None:
            merged[group] = sums
        if added.is_sound:
            puts.append(Query(_PUT_LEARNT, (at.ledger, group.name, pack_sums(sums), at.now_ms + LEARNT_MS)))
    yield [*puts, Query("delete from budget_learnt where ledger = ? and forget_ms <= ?", (at.ledger, at.now_ms))]
    return merged


def add_note(at: At, topic: Topic, text: str, retention: Retention) -> Script[None]:
    yield [
        Query(_PUT_NOTE, (at.ledger, topic.value, text, at.now_ms)),
        Query("delete from budget_notes where ledger = ? and time_ms <= ?", (at.ledger, _since_ms(at, retention))),
    ]


def notes(at: At, retention: Retention) -> Script[Sequence[Note]]:
    select = "select topic, note, time_ms from budget_notes where ledger = ? and time_ms > ?"
    found = yield from ask(select, at.ledger, _since_ms(at, retention))
    kept = [Note(Topic(topic), text, time_ms) for topic, text, time_ms in found if topic in list(Topic)]
    return sorted(kept, key=lambda note: (note.topic, note.text))


def keep_fact(at: At, name: str, text: str, keep_ms: int) -> Script[str]:
    _, _, ((kept,),) = yield [
        Query("delete from budget_facts where ledger = ? and forget_ms <= ?", (at.ledger, at.now_ms)),
        Query(_KEEP_FACT, (at.ledger, name, text, at.now_ms + keep_ms)),
        Query("select fact from budget_facts where ledger = ? and name = ?", (at.ledger, name)),
    ]
    return str(kept)


def kept_facts(at: At, names: Sequence[str]) -> Script[Mapping[str, str]]:
    select = f"select name, fact from budget_facts where ledger = ? and forget_ms > ? and name in {in_list(len(names))}"
    return dict((yield from ask(select, at.ledger, at.now_ms, *padded(names))))


def all_facts(at: At) -> Script[Sequence[Fact]]:
    select = "select name, fact, forget_ms from budget_facts where ledger = ? and forget_ms > ?"
    found = yield from ask(select, at.ledger, at.now_ms)
    return [Fact(name, text, forget_ms - at.now_ms) for name, text, forget_ms in found]


def log_refusals(at: At, refusals: Sequence[LoggedRefusal], retention: Retention) -> Script[None]:
    select = "select coalesce(max(number), 0) from budget_refusals where ledger = ?"
    ((last,),) = yield from ask(select, at.ledger)
    put = "insert into budget_refusals (ledger, number, time_ms, record) values (?, ?, ?, ?)"
    rows = enumerate(refusals, start=last + 1)
    oldest_kept = last + len(refusals) - retention.refusals_max
    drop = "delete from budget_refusals where ledger = ? and (number <= ? or time_ms <= ?)"
    yield [
        *(Query(put, (at.ledger, number, each.time_ms, json.dumps(pack_refusal(each)))) for number, each in rows),
        Query(drop, (at.ledger, oldest_kept, _since_ms(at, retention))),
    ]


def refusals(at: At, since_ms: int, retention: Retention) -> Script[Sequence[LoggedRefusal]]:
    since_ms = max(since_ms, _since_ms(at, retention) + 1)
    select = "select record from budget_refusals where ledger = ? and time_ms >= ? order by time_ms, number"
    found = yield from ask(select, at.ledger, since_ms)
    return [unpack_refusal(json.loads(record)) for (record,) in found]


def add_shadow_sums(at: At, day: str, sums: Mapping[ShadowLimit, ShadowSum], retention: Retention) -> Script[None]:
    newer = {pack_shadow_limit(limit): each for limit, each in sums.items()}
    (counted, found) = yield [
        Query("select count(*) from budget_shadow_sums where ledger = ? and day = ? and name <> ?",
              (at.ledger, day, LEFT_OUT)),
        Query("select name, sums from budget_shadow_sums where ledger = ? and day = ?"
              f" and name in {in_list(len(newer) + 1)}", (at.ledger, day, *padded([*newer, LEFT_OUT]))),
    ]  # fmt: skip
    ((room,),) = counted
    texts: dict[str, str] = dict(found)
    _, known, left_out = unpack_shadow_day(day, texts)
    puts: list[Query] = []
    for limit, each in sums.items():
        name = pack_shadow_limit(limit)
        if name not in texts and room >= SHADOW_LIMITS_MAX:
            left_out += each.requests
            continue
        room += name not in texts
        merged = known[limit].plus(each) if limit in known else each
        puts.append(Query(_PUT_SHADOW, (at.ledger, day, name, pack_shadow_sum(merged))))
    if left_out:
        puts.append(Query(_PUT_SHADOW, (at.ledger, day, LEFT_OUT, str(left_out))))
    past = Query("delete from budget_shadow_sums where ledger = ? and day < ?", (at.ledger, _first_day(at, retention)))
    yield [*puts, past]


def shadow_sums(at: At, since_day: str, retention: Retention) -> Script[Sequence[ShadowDay]]:
    since_day = max(since_day, _first_day(at, retention))
    select = "select day, name, sums from budget_shadow_sums where ledger = ? and day >= ? order by day"
    days: dict[str, dict[str, str]] = {}
    for day, name, text in (yield from ask(select, at.ledger, since_day)):
        days.setdefault(day, {})[name] = text
    return [unpack_shadow_day(day, fields) for day, fields in days.items()]


def texts(at: At, shelf: str) -> Script[Mapping[str, str]]:
    select = "select name, value from budget_texts where ledger = ? and shelf = ? and keep_until_ms > ?"
    return dict((yield from ask(select, at.ledger, shelf, at.now_ms)))


def swap_text(at: At, shelf: str, name: str, *, before: str | None, after: str | None, keep_ms: int) -> Script[bool]:
    yield [Query("delete from budget_texts where ledger = ? and keep_until_ms <= ?", (at.ledger, at.now_ms))]
    select = "select value from budget_texts where ledger = ? and shelf = ? and name = ?"
    found = yield from ask(select, at.ledger, shelf, name)
    if (found[0][0] if found else None) != before:
        return False
    if after is None:
        yield [Query("delete from budget_texts where ledger = ? and shelf = ? and name = ?", (at.ledger, shelf, name))]
    else:
        yield [Query(_PUT_TEXT, (at.ledger, shelf, name, after, at.now_ms + keep_ms))]
    return True


def neighbours(at: At) -> Script[Sequence[str]]:
    found = yield from ask("select namespace from budget_ledgers where id <> ?", at.ledger)
    return sorted(namespace for (namespace,) in found)


def _since_ms(at: At, retention: Retention) -> int:
    return at.now_ms - retention.counters_ms


def _first_day(at: At, retention: Retention) -> str:
    return day_of(_since_ms(at, retention))
